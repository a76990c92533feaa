"""`python -m tfb2d.bench`: measurements of four modes, each with its own flags; tfb2d/bench/scoring.py is the first."""

import importlib
import sys
from collections.abc import Sequence

from absl import app, flags

MODES = {"serving": "tfb2d.bench.serving", "tflite": "tfb2d.bench.edge", "profile": "tfb2d.bench.profile"}
SCORING = "tfb2d.bench.scoring"

_SERVING = flags.DEFINE_bool(
    "serving", False, "Measure a server and its clients instead; --serving --help has its flags."
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Say where a student's time goes instead; --profile --help has its flags."
)
_TFLITE = flags.DEFINE_bool("tflite", False, "Measure the edge form instead; --tflite --help has its flags.")


def mode(arguments: Sequence[str]) -> str:
    """Returns the module of the mode that the arguments ask for; the last one counts."""
    chosen = SCORING
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in MODES and value.lower() not in ("false", "0", "no"):
            chosen = MODES[name]
    return chosen


def run() -> None:
    """Runs a mode's module: its `define_flags()`, then its `main(flags)`, which returns an exit status or None."""
    module = importlib.import_module(mode(sys.argv[1:]))
    module.define_flags()
    flags.adopt_module_key_flags(module)  # --help shows them
    sys.modules["__main__"].__doc__ = module.__doc__  # and begins with this

    def main(argv: Sequence[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
        return module.main(flags.FLAGS)

    app.run(main)


if __name__ == "__main__":
    run()
