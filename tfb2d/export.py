"""Writes a trained student as a SavedModel for servers, or as TensorFlow Lite for small devices.

  tfb2d export --source=runs/shop --output=saved_models/shop               # the next version, edge form inside
  tfb2d export --source=runs/shop --output=edge/shop --forms=edge          # the edge form alone
  tfb2d export --source=runs/shop --output=edge/exact --forms=edge --tables=float
  tfb2d export --source=runs/shop --output=android --forms=edge,flex       # and text_scorer.tflite
  tfb2d export --source=runs/shop/twin --output=saved_models/shop_twin     # a twin

tfb2d train exports by itself; this command writes to another folder or in another form. --source is a run folder or a
student's folder (student.json and what lies beside it). Of a run the compressed student is taken, where there is one.

Forms: saved_model  `<output>/<next number>` with string signatures, calibration and warm-up requests
       edge         scorer.tflite, built-in ops alone, spec.json and, of a student with a vocabulary, vocabulary.i64, or of
                    one that corrects queries, spelling.i64; python: tfb2d.edge.EdgeScorer(folder).score(texts)
       flex         text_scorer.tflite: strings in, for runtimes that link TensorFlow's Select (Flex) ops, as those of
                    Android, iOS and C++ can; the Python packages of TensorFlow Lite cannot run it. Not of a student with a
                    vocabulary, or one that corrects queries (--config.student.spelling=False trains one without)
With saved_model the others go into its version, under assets.extra/edge. A twin has the first form alone.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError

FORMS = ("saved_model", "edge", "flex")


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    files.flag("source", "A run folder, a student's or a twin's.", required=True, metavar="DIR")
    text = "Where to: of a SavedModel the model's folder, which holds its versions."
    files.flag("output", text, required=True, metavar="DIR")
    forms = parser.group("forms")
    forms.words("forms", f"What to write: {', '.join(FORMS)}.", ["saved_model", "edge"])
    text = "Of the edge form. int8: scores within 0.01 of the student's; float: within 0.00001, four times the size."
    forms.choice("tables", text, "int8", ["int8", "float"])


def run(options: Namespace) -> None:
    """Runs the command."""
    unknown = sorted(set(options.forms) - set(FORMS))
    if unknown or not options.forms:
        raise UserError(f"--forms takes {', '.join(FORMS)}, not {', '.join(unknown) or 'nothing'}")
    if (Path(options.source) / "twin.json").is_file():
        from tfb2d.twin.stage import export_folder

        if set(options.forms) - {"saved_model", "edge"} or "saved_model" not in options.forms:
            raise UserError(f"{options.source} is a twin: it has no TensorFlow Lite form, only --forms=saved_model")
        version, size = export_folder(Path(options.source), Path(options.output))
        print(f"{size:8.1f} MB  {version}")
        return
    from tfb2d.serving.forms import export_forms

    for path, size in export_forms(Path(options.source), Path(options.output), options.forms, options.tables):
        print(f"{size / 1e6:8.1f} MB  {path}")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("export")
