"""Writes a run's student as a SavedModel, an edge form or a text form."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tfb2d import __version__
from tfb2d.atomic import write_atomic
from tfb2d.compress.tflite import TEXT_SCORER, convert_text, write_edge
from tfb2d.edge.spec import SCORER, SPEC_FILE, VOCABULARY
from tfb2d.errors import DataError
from tfb2d.model_folder import EDGE
from tfb2d.outcomes import Calibration, DecisionNumbers
from tfb2d.resume import fingerprint, is_finished, read_record
from tfb2d.runs import Run, run_of
from tfb2d.serving.export import export
from tfb2d.serving.version_folder import warmup_texts
from tfb2d.students.model import WEIGHTS, Student, load_student
from tfb2d.students.spelling import SPELLING
from tfb2d.students.text_spec import SPEC


def export_forms(source: Path, output: Path, forms: Sequence[str], tables: str = "int8") -> list[tuple[Path, int]]:
    """Writes forms of the student in a run folder or a student's: "saved_model", "edge", "flex".

    With "saved_model" `output` is the model's folder, otherwise the folder of the files. `tables`, "int8" or "float",
    are those of the edge form. Returns what was written, each with its size in bytes. Raises DataError where there is
    no student, or no calibration beside it.
    """
    folder = student_folder(source)
    calibration, decision = _learnt_on_validation(folder)
    student = load_student(folder)
    scale, bias = calibration.scale, calibration.bias
    written = []
    flex = convert_text(student, scale, bias) if "flex" in forms else b""  # first: not every student has this form
    if "saved_model" in forms:
        edge = tables if "edge" in forms else ""
        version = export_saved_model(
            student, folder, output, calibration, edge, decision=decision, flex="flex" in forms
        )
        written.append((version, sum(path.stat().st_size for path in version.rglob("*") if path.is_file())))
        output = version / EDGE
    elif "edge" in forms:
        write_edge(student, output, scale, bias, tables)
    if "edge" in forms:
        names = [SCORER, SPEC_FILE]
        names += [VOCABULARY] * bool(student.config.vocabulary) + [SPELLING] * bool(student.dictionary)
        written += [(output / name, (output / name).stat().st_size) for name in names]
    if flex:
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(output / TEXT_SCORER, flex)
        written.append((output / TEXT_SCORER, len(flex)))
    return written


def student_folder(source: Path) -> Path:
    """Returns the folder itself, or that of the student that a run serves; raises DataError where there is none."""
    if (source / "student.json").is_file() and is_finished(source):
        return source
    served = Run(source).served_student()
    if served is None:
        raise DataError(
            f"{source}: no finished student in it, nor in compress/ or student/ below it; tfb2d train makes one"
        )
    return served[0]


def _learnt_on_validation(folder: Path) -> tuple[Calibration, DecisionNumbers | None]:
    """Returns calibration and threshold of the student in a folder; a threshold belongs to binary tasks alone."""
    record = read_record(folder)
    outcome = (record.outcome or {}) if record is not None else {}
    if not (numbers := outcome.get("calibration")):
        raise DataError(f"{folder} has no calibration; train the student again")
    decision = outcome.get("decision")
    return Calibration(numbers["scale"], tuple(numbers["bias"])), decision and DecisionNumbers(**decision)


def export_saved_model(
    student: Student,
    folder: Path,
    output: Path,
    calibration: Calibration,
    edge: str = "",
    warmup_rows: int = 32,
    decision: DecisionNumbers | None = None,
    flex: bool = False,
) -> Path:
    """Writes a finished student, of `folder`, as the next version of a model, unless the last version is this very one.

    Where the folder belongs to a run, warm-up requests are rows of the run's transfer set. `calibration`, `edge` and
    `decision` are those of `export`. `flex` says whether the text form will be added. Returns the version's folder.
    """
    run = run_of(folder)
    warmup = warmup_texts(None if run is None else run.split("transfer"), student.task.fields, warmup_rows)
    scale, bias, model = calibration.scale, calibration.bias, output.resolve()
    weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    threshold = [] if decision is None else [decision.threshold]
    known = [] if student.dictionary is None else [hashlib.sha256(student.dictionary.known.tobytes()).hexdigest()]
    made_of = fingerprint(weights, scale, bias, SPEC["version"], __version__, edge, flex, *threshold, *known)
    return export(
        student, model, scale=scale, bias=bias, warmup=warmup, fingerprint=made_of, edge=edge, decision=decision
    )
