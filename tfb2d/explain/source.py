"""Finds the student to explain, and its calibration, from a served model, a run folder or a student's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.atomic import read_json
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.model_folder import ABOUT, version_folder
from tfb2d.outcomes import Calibration
from tfb2d.resume import read_record
from tfb2d.runs import CONFIG, Run, run_of

if TYPE_CHECKING:
    from tfb2d.students.model import Student

ABOUT_STUDENT = "student.json"
TOLERANCE = 1e-2  # relative difference of a served logit and the student's


@dataclass(frozen=True)
class Source:
    """Is a student to explain."""

    folder: Path  # holds `student.json` and the weights
    student: "Student"  # loaded from there
    calibration: Calibration  # from its logits to probabilities
    model: Path | None  # the SavedModel's version folder, or None
    run: Run | None  # the run that it comes from, or None

    def check_served(self, columns: Sequence[Sequence[str]], logits: np.ndarray) -> None:
        """Raises DataError where the served model gives other logits: the weights are not those it was made from."""
        if self.model is None:
            return
        served = Scorer(self.model).score(columns)[1].reshape(logits.shape)
        gap = float(np.abs(served - logits).max(initial=0))
        if gap > TOLERANCE * max(1.0, float(np.abs(served).max(initial=0))):
            raise DataError(
                f"{self.model} was not made from {self.folder}: their logits differ by {gap:.3g}; "
                "name the right folder by --student="
            )


def find(model: str, student: str = "") -> Source:
    """Finds the student that `model` stands for.

    Args:
      model: a student's folder, a run folder (the student that it serves), or an exported model or version of it; the
        run that exported it is looked for in `runs/` here and beside the folder of models.
      student: the student's folder, if it is elsewhere.

    Raises:
      DataError: nothing of the kind, or weights that cannot be found.
    """
    from tfb2d.students.model import load_student

    folder = Path(model)
    served: Path | None = None
    if (folder / ABOUT_STUDENT).exists() and not student:
        chosen = folder
    elif Run(folder).exists() and Run(folder).data.exists():
        chosen = Path(student) if student else _of_run(Run(folder))
    else:
        served = version_folder(folder)
        if (served / ABOUT).exists() and read_json(served / ABOUT).get("kind") == "twin":
            raise DataError(
                f"{served} is a twin: its score is of two vectors, not of n-grams that can be shown; explain takes students"
            )
        chosen = Path(student) if student else _of_run(_exporter(served))
    if not (chosen / ABOUT_STUDENT).exists():
        raise DataError(f"{chosen}: no {ABOUT_STUDENT}; it is not a student's folder")
    return Source(chosen, load_student(chosen), _calibration(chosen, served), served, run_of(chosen))


def _of_run(run: Run) -> Path:
    served = run.served_student()
    if served is None:
        raise DataError(f"{run.folder}: this run has no finished student yet")
    return served[0]


def _exporter(version: Path) -> Run:
    """Returns the run whose export is this version."""
    version = version.resolve()
    folders = [Path("runs"), *(parent / "runs" for parent in list(version.parents)[1:4])]
    for run in [Run(path.parent) for folder in folders for path in sorted(folder.glob(f"*/{CONFIG}"))]:
        if run.finished("export") and Path(run.export_outcome().model).resolve() == version:
            return run
    searched = ", ".join(dict.fromkeys(map(str, folders)))
    raise DataError(
        f"{version}: no run below {searched} exported it, and a served model does not hold what explaining needs; "
        "give the run's folder or the student's by --model=, or the student's by --student="
    )


def _calibration(student: Path, served: Path | None) -> Calibration:
    if served is not None and (served / ABOUT).exists():
        numbers = read_json(served / ABOUT).get("calibration", {})
        return Calibration(numbers.get("scale", 1.0), tuple(numbers.get("bias", (0.0,))))
    for folder in (student, student.parent / "student"):
        record = read_record(folder)
        numbers = (record.outcome or {}).get("calibration") if record is not None else None
        if numbers:
            return Calibration(numbers["scale"], tuple(numbers["bias"]), numbers["note"])
    return Calibration(note="no calibration was found; probabilities are those of the raw logit")
