"""Measures students beside what would be used instead, from strings to probabilities: `python -m tfb2d.bench`.

python -m tfb2d.bench --output=runs/bench
python -m tfb2d.bench --serving ...     a server and its clients
python -m tfb2d.bench --tflite ...      the edge form
"""

import importlib
import sys
from collections.abc import Sequence

from absl import app, flags

MODES = {"serving": "tfb2d.bench.serving", "tflite": "tfb2d.bench.edge"}
SCORING = "tfb2d.bench.scoring"

_SERVING = flags.DEFINE_bool(
    "serving", False, "Measure a server and its clients instead; --serving --help has its flags."
)
_TFLITE = flags.DEFINE_bool("tflite", False, "Measure the edge form instead; --tflite --help has its flags.")


def mode(arguments: Sequence[str]) -> str:
    """The module of the mode that the arguments ask for; the last one counts."""
    chosen = SCORING
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in MODES and value.lower() not in ("false", "0", "no"):
            chosen = MODES[name]
    return chosen


def run() -> None:
    """The command line: a mode's module has `define_flags()` and `main(flags)`, which returns an exit status or None."""
    module = importlib.import_module(mode(sys.argv[1:]))
    module.define_flags()
    if module.__name__ != SCORING:
        sys.modules["__main__"].__doc__ = module.__doc__  # what --help begins with

    def main(argv: Sequence[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
        return module.main(flags.FLAGS)

    app.run(main)


if __name__ == "__main__":
    run()
