"""Trains a student from raw rows to a served model, in one command that can be stopped and goes on.

With no flags it runs the quickstart: real film reviews, a BERT teacher, ten minutes on two cores.

  python -m tfb2d.train
  python -m tfb2d.train --config=pairs --workdir=runs/shop --config.data.train=judged.tsv --config.data.unlabelled=logs/
  python -m tfb2d.train --config=my_recipe.py --config.student.dim=128 --until=student

A recipe is a Python file with `get_config()`; those in tfb2d/configs/ are called by name, and one that takes an argument (a
folder of data, say) gets it behind a colon: `--config=sst2:/data`. Any of its settings is changed by
`--config.<stage>.<setting>=<value>`; all settings, with what they mean, are in tfb2d/config.py and data_config.py. The
same command again goes on where the last one stopped, and does again only what a changed setting or file touches.
"""

import dataclasses
import difflib
import runpy
import shlex
import sys
from collections.abc import Sequence
from logging import Formatter, getLogger
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from tfb2d.config import Config, ConfigError, DataConfig
from tfb2d.data.errors import DataError

RECIPES = Path(__file__).parent / "configs"
_TYPED = sys.argv[1:]
_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe: a file, or a name below. [default: quickstart]")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run folder. [default: runs/<recipe's name>]")
_UNTIL = flags.DEFINE_string(
    "until", "", "The stage after which to stop (data, teachers/NAME, logits/NAME, student, ...)."
)
_FORCE = flags.DEFINE_list("force", [], "Stages to do anew, and what follows from them, though nothing has changed.")
_MAX_REJECTED = flags.DEFINE_float(
    "max_rejected", None, "Share of bad rows at which to stop; short for --config.data.max_rejected.", 0.0, 1.0
)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    logging.get_absl_handler().setFormatter(Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    getLogger("tensorflow").setLevel("ERROR")  # it would tell of every saved file and every traced function
    settings = _CONFIG.value
    if _MAX_REJECTED.value is not None:
        settings.data.max_rejected = _MAX_REJECTED.value
    try:
        config = Config.from_dict(settings)
        from tfb2d import pipeline
        from tfb2d.outcomes import ReportOutcome
        from tfb2d.runs import Run
        from tfb2d.teachers.memory import keep_freed_memory

        keep_freed_memory()
        workdir = Path(_WORKDIR.value or Path("runs") / config.name)
        run = Run(workdir, command=shlex.join(["python", "-m", "tfb2d.train", *_TYPED]))
        outcome = pipeline.run(run, config, _UNTIL.value, _FORCE.value)
    except (ConfigError, DataError, OSError, FloatingPointError) as error:
        logging.debug("", exc_info=True)
        sys.exit(f"error: {error}")
    if isinstance(outcome, ReportOutcome):
        print(f"\n{outcome.table}\n")
        print(f"pictures   {outcome.report}")
        print(f"next       python -m tfb2d.score --model={outcome.model} --input=FILE --output=scored.tsv")
        served = Path(outcome.model).resolve().parent
        print(f"           python -m tfb2d.serve --model_name={config.model_name} --model_base_path={served}")


def run() -> None:
    """The command line: recipes go by name, and a wrong setting is answered with the nearest right one."""
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("[a-z]*.py")))
    flags.FLAGS["config"].help += f" Recipes: {names}."
    if "--config" in sys.argv[:-1]:
        at = sys.argv.index("--config")
        sys.argv[at : at + 2] = [f"--config={sys.argv[at + 1]}"]
    # What is served is often set by itself: `--compress.max_megabytes=8` is `--config.compress.max_megabytes=8`.
    sys.argv = [word.replace("--compress.", "--config.compress.", 1) for word in sys.argv]
    sys.argv = [part for word in sys.argv for part in _one_each(word)]
    given = any(word.startswith("--config=") for word in sys.argv)
    # Overrides (--config.x.y=) are read from sys.argv, and only once the recipe is known.
    sys.argv = [sys.argv[0], *map(_named_recipe, ([] if given else ["--config=quickstart"]) + sys.argv[1:])]
    app.run(main, sys.argv, flags_parser=_parse)


def _one_each(word: str) -> list[str]:
    # `--config.data.train=a.tsv,b.tsv` names two files; the flag takes one a time, or Python's ("a.tsv", "b.tsv").
    name, _, value = word.partition("=")
    lists = {field.name for field in dataclasses.fields(DataConfig) if "str, ..." in str(field.type)} | {"logits"}
    if name.startswith("--config.") and name.split(".")[-1] in lists and "," in value and value[0] not in "('\"":
        return [f"{name}={part}" for part in value.split(",")]
    return [word]


def _parse(argv: Sequence[str]) -> list[str]:
    recipe = next(word.removeprefix("--config=") for word in argv if word.startswith("--config="))
    file, colon, argument = recipe.partition(":")
    if colon and Path(file).is_file():
        try:  # absl would put a traceback around what a recipe says of its argument
            runpy.run_path(file)["get_config"](argument)
        except ConfigError as error:
            sys.exit(f"error: {error}")
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError) as error:
        settings = _paths(runpy.run_path(file)["get_config"](*[argument] * bool(colon)))
        for word in argv:
            path = word.split("=")[0].removeprefix("--config.")
            if word.startswith("--config.") and path not in settings:
                near = difflib.get_close_matches(path, settings, 1, 0.5)
                sys.exit(f"error: there is no setting {path}" + (f"; did you mean {near[0]}?" if near else ""))
        sys.exit(f"error: {error}")


def _paths(settings: ConfigDict, before: str = "") -> list[str]:
    found: list[str] = []
    for key, value in settings.items():
        inner = isinstance(value, ConfigDict)
        found += _paths(value, f"{before}{key}.") if inner else [before + key]
    return found


def _named_recipe(word: str) -> str:
    name, *argument = word.removeprefix("--config=").split(":", 1)
    if not word.startswith("--config=") or "/" in name or name.endswith(".py"):
        return word
    known = sorted(path.stem for path in RECIPES.glob("[a-z]*.py"))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        sys.exit(
            f"error: no recipe {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}")
        )
    return f"--config={':'.join([f'{RECIPES / name}.py', *argument])}"


if __name__ == "__main__":
    run()
