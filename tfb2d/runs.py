"""A run folder: its layout, what its stages left, and its lock. All code reads a run through `Run`."""

import dataclasses
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfb2d.atomic import read_json, write_json
from tfb2d.config import Config
from tfb2d.errors import RunBusyError, RunError
from tfb2d.outcomes import (
    Calibration,
    CompressOutcome,
    DataOutcome,
    ExportOutcome,
    OutcomeT,
    StudentOutcome,
    TeacherOutcome,
    TwinOutcome,
)
from tfb2d.resume import Record, is_finished, read_record

CONFIG = "config.json"
SPLITS = ("transfer", "valid", "test")  # what teachers label


class _Below:
    """A path below the run folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, run: "Run", _: type) -> Path:
        return run.folder / self._path


@dataclass(frozen=True)
class Run:
    """Knows a run folder's layout, and reads what its stages left.

    Example:
      >>> run = Run(Path("runs/quickstart"))
      >>> run.student_outcome().calibration.scale
    """

    folder: Path  # each stage has a folder of its own below it
    progress: bool = True  # whether to show progress bars
    command: str = ""  # what the user typed, for the report

    # Layout. Without a comment, these are the stages' folders.
    data = _Below("data")  # tables, `task.json`, `stats.json`, `rejected.jsonl`
    words = _Below("words/word_vectors.safetensors")  # of the teacher
    spelling = _Below("rows/spelling.i64")  # the words that a student knows which corrects queries
    student = _Below("student")
    labels_only = _Below("labels_only")  # the student that learnt from labels alone
    labels_only_logits = _Below("labels_only/logits.safetensors")  # "valid" and "test", `[n, k]` float32
    compressed = _Below("compress")  # the student that is served
    twin = _Below("twin")
    twin_transformer = _Below("twin_transformer")  # the transformer twin that an asymmetric one was made from
    report_file = _Below("report.json")
    report_page = _Below("report.html")
    test_logits = _Below("report/test_logits.parquet")  # of every model, see `evaluation/test_logits.py`

    def split(self, name: str) -> Path:
        """Returns the table "train", "valid", "test" or "transfer": text fields, `label`, perhaps `group`."""
        return self.data / name

    def adapted(self, teacher: str) -> Path:
        """Returns the folder of an adapted encoder."""
        return self.folder / "adapted" / teacher

    def teacher(self, name: str) -> Path:
        """Returns a saved teacher's folder."""
        return self.folder / "teachers" / name

    def logits(self, teacher: str, split: str = "transfer") -> Path:
        """Returns the table of a teacher's logits for "transfer", "valid" or "test", in the split's order."""
        folder = self.folder / "logits" / teacher
        return folder if split == "transfer" else folder / split

    def rows(self, split: str) -> Path:
        """Returns the folder of a split's hashed rows."""
        return self.folder / "rows" / split

    def cross_pairs(self, teacher: str) -> Path:
        """Returns the table of a teacher's logits of cross pairs, which twins learn from as well."""
        return self.folder / "cross_pairs" / teacher

    # Outcomes of the stages.

    def exists(self) -> bool:
        """Says whether this is a run folder."""
        return (self.folder / CONFIG).exists()

    def config(self) -> Config:
        """Returns the settings of the last start; raises RunError where this is no run folder of this version."""
        if not self.exists():
            raise RunError(f"{self.folder} has no {CONFIG}; it is not a run folder")
        self.check_version()
        return Config.from_dict(read_json(self.folder / CONFIG))

    def record(self, stage: str) -> Record | None:
        """Returns what a stage's folder says of itself; None where it was never started."""
        return read_record(self.folder / stage)

    def seconds(self, stages: Sequence[str]) -> dict[str, float]:
        """Returns the seconds that each of these stages took, if it is finished."""
        records = {stage: self.record(stage) for stage in stages}
        return {stage: record.seconds for stage, record in records.items() if record is not None and record.finished}

    def finished(self, stage: str) -> bool:
        """Says whether a stage is done."""
        return is_finished(self.folder / stage)

    def finished_record(self, stage: str) -> Record:
        """Returns what a stage's folder says of itself; raises RunError if the stage is not finished."""
        record = self.record(stage)
        if record is None or not record.finished:
            self.check_version()
            advice = f"tfb2d train --workdir={self.folder} finishes it"
            raise RunError(f"{self.folder}: stage {stage} is not finished; {advice}")
        return record

    def outcome(self, stage: str, kind: type[OutcomeT]) -> OutcomeT:
        """Returns what a stage left; raises RunError if it is not finished."""
        return kind.from_json(self.finished_record(stage).outcome or {})

    def data_outcome(self) -> DataOutcome:
        """Returns the rows of the splits."""
        return self.outcome("data", DataOutcome)

    def teacher_outcome(self, name: str) -> TeacherOutcome:
        """Returns how a teacher's fine-tuning went."""
        return self.outcome(f"teachers/{name}", TeacherOutcome)

    def student_outcome(self, stage: str = "student") -> StudentOutcome:
        """Returns how the training of "student" or "labels_only" went."""
        return self.outcome(stage, StudentOutcome)

    def compress_outcome(self) -> CompressOutcome:
        """Returns what compression did."""
        return self.outcome("compress", CompressOutcome)

    def export_outcome(self) -> ExportOutcome:
        """Returns where the exported model lies."""
        return self.outcome("export", ExportOutcome)

    def twin_outcome(self) -> TwinOutcome:
        """Returns how the twin's training went."""
        return self.outcome("twin", TwinOutcome)

    def export_twin_outcome(self) -> ExportOutcome:
        """Returns where the exported twin lies."""
        return self.outcome("export_twin", ExportOutcome)

    def served_student(self) -> tuple[Path, Calibration] | None:
        """Returns folder and calibration of the student that the run serves: the compressed, else the trained one."""
        if self.finished("compress"):
            return self.compressed, self.compress_outcome().calibration
        if self.finished("student"):
            return self.student, self.student_outcome().calibration
        return None

    # Writing and locking.

    def write_config(self, config: Config) -> None:
        """Writes the settings of the run that starts."""
        write_json(self.folder / CONFIG, dataclasses.asdict(config))

    def check_version(self) -> None:
        """Raises RunError if this is a run folder of tfb2d 0.1."""
        if any((self.folder / stage / "stage.json").exists() for stage in ("data", "student", "compress", "export")):
            raise RunError(
                f"{self.folder} was made by tfb2d 0.1, which this version cannot continue; name another --workdir. "
                f"Its teachers can be used again: --config.teachers.NAME.preset={self.folder}/teachers/NAME"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run folder for this process; the lock goes with the process, however it ends.

        Raises RunBusyError where another process holds it.
        """
        with locked(self.folder):
            yield


@contextmanager
def locked(folder: Path, lock: Path | None = None, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process, by locking `lock` or else `.lock` in it; see `Run.locked`.

    With `wait` it waits for another process that holds the folder, instead of raising RunBusyError.
    """
    lock = lock or folder / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            message = f"{folder}: another process is at work in this folder; wait for it, or name another"
            raise RunBusyError(message) from error
        yield


def beside(folder: Path, ending: str) -> Path:
    """Returns a hidden path beside a folder, `.NAME.ENDING`; raises RunError for a folder such as "." or ".."."""
    if folder.name in ("", ".."):
        raise RunError(f"{folder}: an output folder needs a name of its own, such as {folder / 'out'}")
    return folder.with_name(f".{folder.name}.{ending}")


def run_of(folder: Path) -> Run | None:
    """Returns the run whose stage's folder this is, or None."""
    run = Run(folder.absolute().parent, progress=False)
    return run if run.exists() else None
