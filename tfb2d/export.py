"""Writes a trained student as what runs it: a SavedModel for servers, TensorFlow Lite for small devices.

  python -m tfb2d.export --source=runs/shop --output=saved_models/shop               # the next version, edge form inside
  python -m tfb2d.export --source=runs/shop --output=edge/shop --forms=edge          # that alone
  python -m tfb2d.export --source=runs/shop --output=edge/exact --forms=edge --tables=float
  python -m tfb2d.export --source=runs/shop --output=android --forms=edge,flex       # and text_scorer.tflite

tfb2d.train exports by itself; this is for another place or another form. --source is a run folder, of which the compressed
student is taken where there is one, or a student's folder (student.json, weights.safetensors).

Forms: saved_model  `<output>/<next number>` with string signatures, calibration and warm-up requests
       edge         scorer.tflite, built-in ops alone, spec.json and, of a student with a vocabulary, vocabulary.i64;
                    python: tfb2d.edge.EdgeScorer(folder).score(texts)
       flex         text_scorer.tflite: strings in, for runtimes that link TensorFlow's Select (Flex) ops, as those of
                    Android, iOS and C++ can; the Python packages of TensorFlow Lite cannot run it
With saved_model the others go into its version, under assets.extra/edge.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

FORMS = ("saved_model", "edge", "flex")

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
    from tfb2d.serving.forms import export_forms

    try:
        for path, size in export_forms(Path(_SOURCE.value), Path(_OUTPUT.value), _FORMS.value, _TABLES.value):
            print(f"{size / 1e6:8.1f} MB  {path}")
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["source", "output"])
    app.run(main)


if __name__ == "__main__":
    run()
