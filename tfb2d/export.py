"""Writes a trained student as what runs it: a SavedModel for servers, TensorFlow Lite for small devices.

  python -m tfb2d.export --source=runs/shop --output=saved_models/shop               # the next version, edge form inside
  python -m tfb2d.export --source=runs/shop --output=edge/shop --forms=edge          # scorer.tflite and spec.json alone
  python -m tfb2d.export --source=runs/shop --output=edge/exact --forms=edge --tables=float
  python -m tfb2d.export --source=runs/shop --output=android --forms=edge,flex       # and text_scorer.tflite

tfb2d.train exports by itself; this is for another place or another form. --source is a run folder, of which the compressed
student is taken where there is one, or a student's folder (student.json, weights.safetensors).

Forms: saved_model  `<output>/<next number>` with string signatures, calibration and warm-up requests
       edge         scorer.tflite, built-in ops alone, and spec.json; python: tfb2d.edge.EdgeScorer(folder).score(texts)
       flex         text_scorer.tflite: strings in, for runtimes that link TensorFlow's Select (Flex) ops, as those of
                    Android, iOS and C++ can; the Python packages of TensorFlow Lite cannot run it
With saved_model the others go into its version, under assets.extra/edge.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

if TYPE_CHECKING:
    from tfb2d.students.model import Student

FORMS = ("saved_model", "edge", "flex")
EDGE = "assets.extra/edge"

_SOURCE = flags.DEFINE_string("source", None, "A run folder or a student's folder.")
_OUTPUT = flags.DEFINE_string("output", None, "Where to: of a SavedModel the model's folder, which holds its versions.")
_FORMS = flags.DEFINE_list("forms", ["saved_model", "edge"], f"What to write: {', '.join(FORMS)}.")
_TABLES = flags.DEFINE_enum(
    "tables",
    "int8",
    ["int8", "float"],
    "Of the edge form. int8: scores within 0.01 of the student's; float: within 0.00001, four times the size.",
)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    unknown = sorted(set(_FORMS.value) - set(FORMS))
    if unknown or not _FORMS.value:
        raise app.UsageError(f"--forms takes {', '.join(FORMS)}, not {', '.join(unknown) or 'nothing'}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)
    from tfb2d.data.errors import DataError

    try:
        for path, size in export_forms(Path(_SOURCE.value), Path(_OUTPUT.value), _FORMS.value, _TABLES.value):
            print(f"{size / 1e6:8.1f} MB  {path}")
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")


def export_forms(source: Path, output: Path, forms: Sequence[str], tables: str = "int8") -> list[tuple[Path, int]]:
    """Writes forms of a student.

    Args:
      source: a run folder or a student's.
      output: the model's folder with "saved_model" among the forms, otherwise the folder of the files.
      forms: of `FORMS`.
      tables: "int8" or "float", of the edge form.

    Returns:
      What was written, each with its size in bytes.

    Raises:
      DataError: there is no student, or no calibration beside it.
    """
    folder = student_folder(source)
    calibration = _calibration(folder)
    from tfb2d.compress.tflite import TEXT_SCORER, convert_text, write_edge
    from tfb2d.data.files import write_atomic
    from tfb2d.students.model import load_student

    student = load_student(folder)
    scale, bias = calibration["scale"], calibration["bias"]
    found = []
    if "saved_model" in forms:
        version = _saved_model(student, folder, output, calibration, forms, tables)
        found.append((version, sum(path.stat().st_size for path in version.rglob("*") if path.is_file())))
        output = version / EDGE
    elif "edge" in forms:
        write_edge(student, output, scale, bias, tables)
    if "edge" in forms:
        found += [(path, path.stat().st_size) for path in (output / "scorer.tflite", output / "spec.json")]
    if "flex" in forms:
        model = convert_text(student, scale, bias)
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(output / TEXT_SCORER, model)
        found.append((output / TEXT_SCORER, len(model)))
    return found


def student_folder(source: Path) -> Path:
    """The folder of the student that a run serves: the compressed one, else the trained one; or the folder itself.

    Raises:
      DataError: there is no student.
    """
    from tfb2d.data.errors import DataError

    for folder in (source, source / "compress", source / "student"):
        if (folder / "student.json").is_file() and (folder / "stage.json").is_file():
            return folder
    raise DataError(
        f"{source}: no finished student in it, nor in compress/ or student/ below it; tfb2d.train makes one"
    )


def _calibration(folder: Path) -> dict[str, Any]:
    from tfb2d.data.errors import DataError
    from tfb2d.data.files import read_json

    found = read_json(folder / "stage.json")["outcome"].get("calibration")
    if not found:
        raise DataError(f"{folder / 'stage.json'} has no calibration; train the student again")
    return found


def _saved_model(
    student: "Student", folder: Path, output: Path, calibration: dict[str, Any], forms: Sequence[str], tables: str
) -> Path:
    import hashlib

    from tfb2d import __version__
    from tfb2d.data.tables import iter_batches
    from tfb2d.serving.export import export
    from tfb2d.stages import fingerprint
    from tfb2d.students.model import WEIGHTS

    fields = student.task.fields
    transfer = folder.parent / "data/transfer"
    warmup = [["warm up"] for _ in fields]
    if transfer.is_dir():
        rows = next(iter_batches(transfer, fields, 32))
        warmup = [rows.column(name).to_pylist() for name in fields]
    weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    edge = tables if "edge" in forms else ""
    made_of = fingerprint(weights, calibration, __version__, edge, "flex" in forms)
    where = output.resolve()
    scale, bias = calibration["scale"], calibration["bias"]
    return export(student, where, scale=scale, bias=bias, warmup=warmup, fingerprint=made_of, edge=edge)


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["source", "output"])
    app.run(main)


if __name__ == "__main__":
    run()
