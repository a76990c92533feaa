"""The machinery of stages: skipped when done, gone on with when stopped, done again when changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfb2d.data.files import fingerprint_files, read_json
from tfb2d.stages import Stage, StageRunner, file_identity, locked


class Work:
    """Counts its runs and can fail half-way."""

    def __init__(self) -> None:
        self.runs = 0
        self.fail = False
        self.found: list[str] = []

    def __call__(self, folder: Path) -> dict:
        self.runs += 1
        self.found = sorted(path.name for path in folder.iterdir())
        (folder / "half").write_text("x")
        if self.fail:
            raise OSError("disk full")
        return {"runs": self.runs}


def bring_up(workdir: Path, first: Work, second: Work, setting: int = 1, force: tuple = ()) -> list:
    runner = StageRunner(workdir)
    stages = [Stage("a", {"x": setting}, (), first), Stage("b", {}, ("a",), second)]
    runner.forget(stages, force)
    return [runner.run(stage) for stage in stages]


def test_done_is_skipped_and_its_outcome_kept(tmp_path: Path) -> None:
    first, second = Work(), Work()
    once = bring_up(tmp_path, first, second)
    assert bring_up(tmp_path, first, second) == once == [{"runs": 1}, {"runs": 1}]


def test_a_change_redoes_what_depends_on_it_from_a_clean_folder(tmp_path: Path) -> None:
    first, second = Work(), Work()
    bring_up(tmp_path, first, second)
    bring_up(tmp_path, first, second, setting=2)
    assert (first.runs, second.runs) == (2, 2)
    assert first.found == second.found == ["started.json"]


def test_a_change_taken_back_finds_the_last_good_state(tmp_path: Path) -> None:
    first, second = Work(), Work()
    once = bring_up(tmp_path, first, second)
    first.fail = True
    with pytest.raises(OSError, match="disk full"):
        bring_up(tmp_path, first, second, setting=2)
    first.fail = False
    assert bring_up(tmp_path, first, second) == once
    assert (first.runs, second.runs) == (2, 1)
    bring_up(tmp_path, first, second, setting=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_stage_that_comes_out_the_same_leaves_its_readers_done(tmp_path: Path) -> None:
    source, reads, copies = tmp_path / "rows.tsv", Work(), []

    def bring_up(text: str, time: int, size: int = 0) -> str:
        source.write_text(text)
        os.utime(source, (time, time))

        def copy(folder: Path) -> dict:
            copies.append(text)
            (folder / "rows").write_text(source.read_text().lower())
            return {"size": size}

        digest = lambda folder: fingerprint_files([folder / "rows"])  # noqa: E731
        runner = StageRunner(tmp_path / "run")
        runner.run(Stage("a", file_identity([str(source)]), (), copy, digest))
        runner.run(Stage("b", {}, ("a",), reads))
        return (tmp_path / "run/a/rows").read_text()

    assert bring_up("Good film", 1) == bring_up("Good film", 2) == bring_up("good film", 3)
    assert (len(copies), reads.runs) == (3, 1)
    bring_up("good film", 4, size=1)  # what it counted is read too
    assert reads.runs == 2
    bring_up("bad film", 5, size=1)
    assert reads.runs == 3
    bring_up("bad film", 5, size=1)
    assert reads.runs == 3


def test_who_reads_a_part_is_done_again_only_when_that_part_changes(tmp_path: Path) -> None:
    part, rest = Work(), Work()

    def bring_up(judged: str, log: str, force: tuple = ()) -> None:
        def copy(folder: Path) -> dict:
            (folder / "judged").write_text(judged)
            (folder / "log").write_text(log)
            return {}

        parts = lambda folder: {"judged": fingerprint_files([folder / "judged"])}  # noqa: E731
        stages = [
            Stage("data", [judged, log], (), copy, parts=parts),
            Stage("tunes", {}, ("data:judged",), part),
            Stage("labels", {}, ("tunes", "data"), rest),
        ]
        runner = StageRunner(tmp_path)
        runner.forget(stages, force)
        for stage in stages:
            runner.run(stage)
        assert set(runner.seconds()) == {"data", "tunes", "labels"}

    bring_up("good", "x")
    bring_up("good", "x")
    assert (part.runs, rest.runs) == (1, 1)
    bring_up("good", "x y")
    assert (part.runs, rest.runs) == (1, 2)
    bring_up("bad", "x y")
    assert (part.runs, rest.runs) == (2, 3)
    bring_up("bad", "x y", force=("data",))  # who says so has it all done again
    assert (part.runs, rest.runs) == (3, 4)


def test_a_forgotten_stage_is_redone_and_what_reads_it(tmp_path: Path) -> None:
    first, second = Work(), Work()
    bring_up(tmp_path, first, second)
    bring_up(tmp_path, first, second, force=("b",))
    assert (first.runs, second.runs) == (1, 2)
    second.fail = True
    with pytest.raises(OSError, match="disk full"):
        bring_up(tmp_path, first, second, force=("a",))
    second.fail = False
    bring_up(tmp_path, first, second)  # what was forced and stopped is still to be done
    assert (first.runs, second.runs) == (2, 4)


def test_a_stopped_stage_finds_what_it_left_less_half_written_files(tmp_path: Path) -> None:
    first, second = Work(), Work()
    second.fail = True
    with pytest.raises(OSError, match="disk full"):
        bring_up(tmp_path, first, second)
    (tmp_path / "b" / ".shard.123.tmp").write_text("cut short")
    second.fail = False
    bring_up(tmp_path, first, second)
    assert (first.runs, second.runs) == (1, 2)
    assert second.found == ["half", "started.json"]
    assert read_json(tmp_path / "b/stage.json")["seconds"] >= 0


def test_file_identity_sees_content_changes_by_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    file.write_text("a")
    before = file_identity([str(file)])
    file.write_text("ab")
    assert file_identity([str(file)]) != before
    assert file_identity(["pypi:all-minilm-l6-v2"]) == [["pypi:all-minilm-l6-v2"]]


def test_a_run_folder_is_held_by_one_process(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tfb2d.stages import locked\nwith locked(Path(sys.argv[1])): pass"
    with locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "another process is at work" in other.stderr
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
