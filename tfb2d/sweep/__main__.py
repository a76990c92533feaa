"""The ablations of the paper over a finished run: variants of the student, trained on its rows and logits.

  python -m tfb2d.sweep --workdir=runs/quickstart --sweep=temperature,transfer
  python -m tfb2d.sweep --workdir=runs/shop --config=pairs --sweep=interactions --seeds=3
  python -m tfb2d.sweep --workdir=runs/quickstart --sweep=all --dry_run
  python -m tfb2d.sweep --workdir=runs/quickstart --sweep=transfer,ffn --values=transfer=0,3k,10k --values=ffn=64,256-64

The run's teachers are not run again. Without --config the settings are the run's own; a recipe must have its data and
teachers. `--config.student.dim=32` changes a setting for all variants. Axes: temperature, transfer, teachers, targets,
orders, convolutions, convolution_width, buckets, dim, ffn, interactions (pairs), augmentation, teacher_init, vocabulary,
affixes; "all" takes those that the run can answer, and says which it leaves out. A student that composes n-grams
(student.window) has no answer to orders, one that does not none to convolutions, their width and affixes.

--rows=100k answers all axes but transfer with so many transfer rows: sooner, and mostly with the same order of variants.

Every variant trains with each seed in <workdir>/sweep; what is done is skipped, and what was stopped goes on. Choices are
read on validation; the test split is looked at once, when all of the sweep is there, and each such look is counted in
sweep.json. Writes sweep.json and sweep.html there, and prints the tables.
"""

import ast
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from tfb2d.config import Config, ConfigError

if TYPE_CHECKING:
    from tfb2d.runs import Run
    from tfb2d.sweep.material import Material
    from tfb2d.sweep.training import Job

RECIPES = Path(__file__).parent.parent / "configs"
_OVERRIDES: list[str] = []
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a finished run.")
_CONFIG = flags.DEFINE_string("config", "", "A recipe's name or file. [default: the run's settings]")
_SWEEP = flags.DEFINE_list("sweep", ["all"], "The axes, apart by commas.")
_VALUES = flags.DEFINE_multi_string("values", [], "Other values of an axis: axis=value,value; may be repeated.")
_EQUAL_STEPS = flags.DEFINE_bool(
    "equal_steps", False, "Train more epochs on fewer rows: as many steps as the base, at most 10 times the epochs."
)
_ROWS = flags.DEFINE_string(
    "rows",
    "",
    "Transfer rows of every axis but `transfer`, beyond the judged ones: 100k, to answer sooner. [default: all]",
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Seeds of every variant, from the recipe's on.", 1)
_OUTPUT = flags.DEFINE_string("output", "", "Where variants and figures go. [default: <workdir>/sweep]")
_TEST = flags.DEFINE_bool("test", True, "Look at the test split at the end; without, validation figures alone.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Of the bootstrap; 0 leaves the intervals out.", 0)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the variants and about how long they will take, and stop.")
_PROGRESS = flags.DEFINE_bool("progress", True, "Show progress bars.")


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.data.errors import DataError

    try:
        from tfb2d.runs import Run

        print(sweep(Run(Path(_WORKDIR.value), progress=False)))
    except (ConfigError, DataError, OSError, FloatingPointError) as error:
        logging.debug("", exc_info=True)
        sys.exit(f"error: {error}")


def sweep(run: "Run") -> str:
    """Does what the flags say, and returns what is printed."""
    config = settings(run, _CONFIG.value, _OVERRIDES)  # a wrong one is answered before TensorFlow is there
    from tfb2d.runs import locked
    from tfb2d.sweep.material import Material
    from tfb2d.sweep.settings import ALL
    from tfb2d.sweep.training import is_done, jobs
    from tfb2d.sweep.variants import axes, count

    if _ROWS.value and _EQUAL_STEPS.value:
        raise ConfigError("--rows and --equal_steps do not go together: as many steps as with how many rows?")
    try:
        rows = count(_ROWS.value, least=1) if _ROWS.value else ALL
    except ValueError as problem:
        raise ConfigError(f"--rows: {problem}") from problem
    out = Path(_OUTPUT.value) if _OUTPUT.value else run.folder / "sweep"
    values = {}
    for one in _VALUES.value:
        axis, equals, listed = one.partition("=")
        if not equals:
            raise ConfigError(f"--values takes axis=value,value, not {one!r}")
        values[axis] = tuple(listed.split(","))
    shown = _PROGRESS.value and sys.stderr.isatty()
    material = Material(run, config)
    asked = axes(
        _SWEEP.value,
        config,
        material.facts,
        values,
        _EQUAL_STEPS.value,
        rows,
        lambda line: print(line, file=sys.stderr),
    )
    found = jobs(material, asked, _SEEDS.value)
    if _DRY_RUN.value:
        return plan(material, found, out)
    with locked(out):
        if not all(is_done(job, out) for job in found):
            print(plan(material, found, out), file=sys.stderr)
        _train(material, found, out, shown)
        material.load()
        figures = _judge(run, material, asked, found, out)
    from tfb2d.sweep.table import print_tables

    return f"{print_tables(figures)}\n\npictures   {out / 'sweep.html'}"


def settings(run: "Run", recipe: str, overrides: Sequence[str]) -> Config:
    """The recipe of the variants.

    Args:
      run: a run folder, whose data and teachers these must be.
      recipe: name or file, and behind a colon what it takes, if it does; "" takes the run's own settings.
      overrides: `a.b=value`.

    Raises:
      RunError: this is no run folder.
      ConfigError: no such recipe or setting, or rows and teachers that are not the run's.
    """
    own = run.config()
    chosen = own.to_dict()
    if recipe:
        name, colon, argument = recipe.partition(":")
        path = Path(name) if name.endswith(".py") else RECIPES / f"{name}.py"
        if not path.exists():
            raise ConfigError(f"there is no recipe {name!r}: no file {path}")
        chosen = runpy.run_path(str(path))["get_config"](*[argument] * bool(colon))
        for part in ("train", "valid", "test", "unlabelled"):  # files are the run's, wherever the recipe finds its own
            chosen.data[part] = getattr(own.data, part)
        for part in ("files", "titles"):
            chosen.data.offers[part] = getattr(own.data.offers, part)
    for override in overrides:
        name, _, text = override.partition("=")
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = text
        try:
            chosen.update_from_flattened_dict({name: value})
        except (KeyError, TypeError) as error:
            raise ConfigError(f"--config.{name}: {error}") from error
    config = Config.from_dict(chosen)
    for part in ("data", "teachers"):
        if getattr(config, part) != getattr(own, part):
            raise ConfigError(
                f"{part} of the recipe is not what {run.folder} was made with; a sweep takes its rows and logits"
            )
    if config.student.max_tokens != own.student.max_tokens:
        raise ConfigError(
            f"student.max_tokens is {own.student.max_tokens} in {run.folder}, whose hashed rows depend on it"
        )
    if config.student.affixes not in ((), own.student.affixes):
        raise ConfigError(
            f"student.affixes is {own.student.affixes} in {run.folder}, whose hashed rows depend on it; () leaves them out"
        )
    return config


def plan(material: "Material", found: Sequence["Job"], out: Path) -> str:
    """The jobs as a table, with about how long each will take."""
    from tfb2d.evaluation.table import layout
    from tfb2d.sweep.training import estimate, is_done

    seconds = estimate(material, found, out)
    rows = [["variant", "seed", "about"]]
    left = 0.0
    for job, one in zip(found, seconds, strict=True):
        done = is_done(job, out)
        left += 0.0 if done else one
        rows.append([" = ".join(job.names), str(job.seed), "done" if done else _time(one)])
    todo = sum(not is_done(job, out) for job in found)
    return f"{layout(rows)}\n{len(found)} trainings, {todo} to do, about {_time(left)}; variants of other shapes differ"


def _train(material: "Material", found: Sequence["Job"], out: Path, shown: bool) -> None:
    """Trains what is not there, a few trainings a process: what TensorFlow keeps of a table goes with its process."""
    from multiprocessing import get_context

    from tfb2d.errors import RunError
    from tfb2d.sweep.training import PER_PROCESS, is_done, train_all

    todo = [job for job in found if not is_done(job, out)]
    for start in range(0, len(todo), PER_PROCESS):
        group = todo[start : start + PER_PROCESS]
        arguments = (material.run, material.config, group, out, shown, start, len(todo))
        process = get_context("spawn").Process(target=train_all, args=arguments, daemon=True)
        process.start()
        process.join()
        if process.exitcode:
            raise RunError(f"a training ended with status {process.exitcode}; what it said stands above")


def _judge(run: "Run", material: "Material", asked: Sequence[Any], found: Sequence["Job"], out: Path) -> dict[str, Any]:
    import datetime
    import shlex

    from tfb2d.data.files import read_json, write_atomic, write_json
    from tfb2d.evaluation.machine import machine
    from tfb2d.evaluation.results import plain
    from tfb2d.resume import fingerprint
    from tfb2d.sweep.collisions import Collisions
    from tfb2d.sweep.judging import judge
    from tfb2d.sweep.page import render

    figures = judge(material, asked, found, out, test=_TEST.value, resamples=_RESAMPLES.value)
    counted = Collisions(material)
    for axis, told in zip(asked, figures["axes"], strict=True):
        if axis.name in ("buckets", "orders", "vocabulary"):
            for one, variant in zip(axis.variants, told["variants"], strict=True):
                variant["collisions"] = counted.of(one.settings)
    looks = read_json(out / "test_looks.json") if (out / "test_looks.json").exists() else []
    which = fingerprint(sorted(job.folder for job in found))
    if _TEST.value and which not in [look["which"] for look in looks]:
        names = [axis.name for axis in asked]
        looks.append(
            {"which": which, "date": datetime.date.today().isoformat(), "axes": names, "trainings": len(found)}
        )
        write_json(out / "test_looks.json", looks)
    figures = plain(
        {
            "run": str(run.folder),
            "command": shlex.join(
                ["python", "-m", "tfb2d.sweep", *sys.argv[1:], *(f"--config.{o}" for o in _OVERRIDES)]
            ),
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "task": material.task.to_json(),
            "seeds": _SEEDS.value,
            "rows": {split: len(labels) for split, labels in material.labels.items()},
            "test_looks": looks,
            **figures,
        }
    )
    write_json(out / "sweep.json", figures)
    write_atomic(out / "sweep.html", render(figures))
    return dict(figures)


def _time(seconds: float) -> str:
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def run() -> None:
    """The command line; settings of the recipe (`--config.x.y=`) are taken out of it before flags are read."""
    flags.mark_flags_as_required(["workdir"])
    _OVERRIDES[:] = [word.removeprefix("--config.") for word in sys.argv[1:] if word.startswith("--config.")]
    sys.argv = [word for word in sys.argv if not word.startswith("--config.")]
    app.run(main)


if __name__ == "__main__":
    run()
