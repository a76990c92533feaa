"""The one way to go on after a kill: done work is skipped, stopped work goes on, changed work is done again."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.killing import python, run, run_and_kill
from tfb2d.atomic import fingerprint_files
from tfb2d.config.mapping import changed_settings, without_effect
from tfb2d.data.files import file_identity
from tfb2d.errors import RunBusyError, RunError
from tfb2d.outcomes import Calibration, ExportOutcome, Outcome, Stack, StudentOutcome
from tfb2d.resume import CHECKPOINTS, RECORD, bring_up, fingerprint, is_finished, read_record, remove, set_aside
from tfb2d.runs import Run


@dataclass(frozen=True)
class Counted(Outcome):
    runs: int


class Work:
    """Counts its runs and can fail half-way."""

    def __init__(self) -> None:
        self.runs = 0
        self.fail = False
        self.found: list[str] = []

    def __call__(self, folder: Path) -> Counted:
        self.runs += 1
        self.found = sorted(path.name for path in folder.iterdir())
        (folder / "half").write_text(f"{self.runs}")
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        if self.fail:
            raise OSError("disk full")
        return Counted(self.runs)

    def stopped(self, folder: Path, made_from: str) -> None:
        self.fail = True
        with pytest.raises(OSError, match="disk full"):
            bring_up(folder, made_from, self, Counted)
        self.fail = False


def test_done_is_skipped_and_its_outcome_kept(tmp_path: Path) -> None:
    work = Work()
    once = bring_up(tmp_path / "a", "1", work, Counted)
    assert bring_up(tmp_path / "a", "1", work, Counted) == once == Counted(1)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [RECORD, "half"]  # no checkpoints


def test_a_change_starts_from_a_clean_folder(tmp_path: Path) -> None:
    work = Work()
    bring_up(tmp_path / "a", "1", work, Counted)
    bring_up(tmp_path / "a", "2", work, Counted)
    assert work.runs == 2
    assert work.found == [RECORD]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_change_taken_back_finds_its_state_finished_or_not(tmp_path: Path) -> None:
    work, folder = Work(), tmp_path / "a"
    once = bring_up(folder, "1", work, Counted)
    work.stopped(folder, "2")
    work.stopped(folder, "3")
    assert len(set_aside(folder)) == 2
    work.stopped(folder, "2")
    assert "half" in work.found  # what the first try left
    assert bring_up(folder, "1", work, Counted) == once
    assert not set_aside(folder)
    assert work.runs == 4


def test_stopped_work_finds_what_it_left_less_half_written_files(tmp_path: Path) -> None:
    work, folder = Work(), tmp_path / "a"
    work.stopped(folder, "1")
    (folder / ".shard.123.tmp").write_text("cut short")
    assert not is_finished(folder)
    bring_up(folder, "1", work, Counted)
    assert work.found == [RECORD, CHECKPOINTS, "half"]
    assert is_finished(folder)
    assert read_record(folder).seconds >= 0


def test_files_of_others_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="name another folder"):
        bring_up(tmp_path / "a", "1", Work(), Counted)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["thesis.txt"]


def test_what_was_being_deleted_at_a_kill_goes_with_the_next_try(tmp_path: Path) -> None:
    work, folder = Work(), tmp_path / "a"
    bring_up(folder, "1", work, Counted)
    (tmp_path / ".a.gone.tmp").mkdir()
    (folder / ".checkpoints.gone.tmp").mkdir()
    (tmp_path / "ab").mkdir()
    bring_up(folder, "1", work, Counted)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [RECORD, "a", "ab", "half"]
    remove(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["ab"]


def test_what_was_made_elsewhere_and_is_gone_is_made_again(tmp_path: Path) -> None:
    made = tmp_path / "models" / "1"

    def export(folder: Path) -> ExportOutcome:
        made.mkdir(parents=True)
        return ExportOutcome(str(made), 1.0)

    bring_up(tmp_path / "export", "1", export, ExportOutcome)
    bring_up(tmp_path / "export", "1", export, ExportOutcome)
    made.rmdir()
    bring_up(tmp_path / "export", "1", export, ExportOutcome)
    assert made.exists()


def test_contents_that_come_out_the_same_keep_their_identity(tmp_path: Path) -> None:
    source = tmp_path / "rows.tsv"

    def identity(text: str, time: int) -> tuple[str, str]:
        source.write_text(text)
        os.utime(source, (time, time))

        def copy(folder: Path) -> Counted:
            (folder / "rows").write_text(source.read_text().lower())
            return Counted(1)

        def contents(folder: Path, outcome: Counted) -> dict[str, str]:
            return {"": fingerprint_files([folder / "rows"]), "first": (folder / "rows").read_text()[0]}

        bring_up(tmp_path / "a", fingerprint(file_identity([str(source)])), copy, Counted, contents)
        record = read_record(tmp_path / "a")
        return record.identity(), record.identity("first")

    first = identity("Good film", 1)
    assert identity("good film", 2) == first
    changed = identity("great film", 3)
    assert changed[0] != first[0]
    assert changed[1] == first[1]


KILLED = """
import time
from pathlib import Path
from tests.test_stages import Counted
from tfb2d.resume import bring_up

def work(folder):
    steps = folder / "steps"
    done = len(steps.read_text()) if steps.exists() else 0
    for step in range(done, 40):
        (folder / ".steps.1.tmp").write_text("x" * (step + 1))
        (folder / ".steps.1.tmp").rename(steps)
        time.sleep(0.02)
    return Counted(len(steps.read_text()))

bring_up(Path({folder!r}), "1", work, Counted)
"""


def test_killed_again_and_again_it_comes_to_the_same_end(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    command = python(KILLED.format(folder=str(folder)))

    def steps() -> int:
        return len((folder / "steps").read_text()) if (folder / "steps").exists() else 0

    reached: list[int] = []
    for _ in range(2):
        enough = steps() + 5
        run_and_kill(command, lambda enough=enough: steps() > enough)
        reached.append(steps())
    assert 5 < reached[0] < reached[1] < 40
    run(command)
    assert bring_up(folder, "1", Work(), Counted) == Counted(40)


def test_file_identity_sees_content_changes_by_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    file.write_text("a")
    before = file_identity([str(file)])
    file.write_text("ab")
    assert file_identity([str(file)]) != before
    assert file_identity(["pypi:all-minilm-l6-v2"]) == [["pypi:all-minilm-l6-v2"]]


def test_outcomes_survive_json(tmp_path: Path) -> None:
    outcome = StudentOutcome(3, Calibration(2.0, (0.1, 0.2)), ({"loss": 0.5},), Stack((0.5, 0.5), (0.0,)))
    run_folder = Run(tmp_path)
    bring_up(run_folder.student, "1", lambda _: outcome, StudentOutcome)
    assert run_folder.student_outcome() == outcome
    kept = read_record(run_folder.student).outcome  # run folders of earlier versions go on: their form stays
    assert kept["calibration"] == {"scale": 2.0, "bias": [0.1, 0.2], "note": ""}
    assert kept["stack"] == {"weights": [0.5, 0.5], "bias": [0.0]}
    with pytest.raises(RunError, match=r"stage labels_only is not finished; tfb2d train"):
        run_folder.student_outcome("labels_only")
    known = {**outcome.to_json(), "stack": None, "of_a_later_version": 1}
    assert StudentOutcome.from_json(known).stack is None


def test_settings_that_change_nothing_are_no_part_of_a_fingerprint() -> None:
    @dataclass(frozen=True)
    class Inner:
        dim: int = 8

    @dataclass(frozen=True)
    class Settings:
        needed: str
        inner: Inner = Inner()
        rate: float = 0.1
        checkpoint_seconds: float = without_effect(60.0)

    assert changed_settings(Settings("a", checkpoint_seconds=1.0)) == {"needed": "a"}
    assert changed_settings(Settings("a", Inner(9), 0.2)) == {"needed": "a", "inner": {"dim": 9}, "rate": 0.2}


def test_a_run_folder_is_held_by_one_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tfb2d.runs import Run\nwith Run(Path(sys.argv[1])).locked(): pass"
    )
    with Run(tmp_path).locked():
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        with pytest.raises(RunBusyError, match="another process is at work"), Run(tmp_path).locked():
            pass
    assert "RunBusyError" in other.stderr
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_run_folders_of_the_first_version_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stage.json").write_text("{}")
    with pytest.raises(RunError, match=r"tfb2d 0\.1.*name another --workdir.*preset=") as error:
        Run(tmp_path).check_version()
    assert "\n" not in str(error.value)
