"""The ablations of the paper over a finished run: variants of the student, trained on its rows and logits.

  tfb2d sweep --workdir=runs/quickstart --sweep=temperature,transfer
  tfb2d sweep --workdir=runs/shop --config=pairs --sweep=interactions --seeds=3
  tfb2d sweep --workdir=runs/quickstart --sweep=all --dry_run
  tfb2d sweep --workdir=runs/quickstart --sweep=transfer,ffn --values=transfer=0,3k,10k --values=ffn=64,256-64

The run's teachers are not run again. Without --config the settings are the run's own. A recipe must have the run's data
and teachers. `--config.student.dim=32` changes a setting of all variants. Axes: temperature, transfer, teachers, targets,
orders, convolutions, convolution_width, buckets, dim, ffn, interactions (pairs), augmentation, teacher_init, vocabulary,
affixes; "all" takes those that the run can answer, and lists the others. A student that composes n-grams
(student.window) has no orders. Only such a student has convolutions, their width and affixes.

--rows=100k limits the transfer rows of all axes but transfer. That is faster, and mostly orders variants alike.

Every variant trains with each seed in <workdir>/sweep. Finished trainings are skipped, and stopped ones continue. Choices
are read on validation. The test split is looked at once, at the end, and sweep.json counts such looks. Writes sweep.json
and sweep.html there, and prints the tables.
"""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfb2d.cli.arguments import RECIPE_SETTINGS, Parser

if TYPE_CHECKING:
    from tfb2d.config import Config
    from tfb2d.runs import Run
    from tfb2d.sweep.run_data import RunData
    from tfb2d.sweep.training import Job

SETTINGS = RECIPE_SETTINGS


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to vary")
    what.flag("workdir", "The folder of a finished run.", required=True, metavar="DIR")
    what.flag("config", "A recipe's name or file. [default: the run's settings]", "", metavar="RECIPE[:ARGUMENT]")
    what.words("sweep", "The axes, separated by commas.", ["all"], metavar="AXIS,...")
    what.flag("values", "Other values of an axis; may be repeated.", repeated=True, metavar="AXIS=VALUE,...")
    rows = "Unlabelled transfer rows of every axis but `transfer`, such as 100k. [default: all]"
    what.flag("rows", rows, "", metavar="N")
    what.integer("seeds", "Seeds of every variant, from the recipe's on.", 1, 1)
    what.switch("equal_steps", "On fewer rows, train as many steps as the base: up to 10 times its epochs.")
    output = parser.group("output")
    output.flag("output", "Where variants and figures go. [default: <workdir>/sweep]", "", metavar="DIR")
    output.switch("test", "Evaluate the test split at the end; otherwise validation alone.", True)
    output.integer("resamples", "Bootstrap resamples; 0 leaves the intervals out.", 1000, 0)
    output.switch("dry_run", "List the variants and about how long they will take, and stop.")
    output.switch("progress", "Show progress bars.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.runs import Run

    print(sweep(Run(Path(options.workdir), progress=False), options))


def sweep(run: "Run", options: Namespace) -> str:
    """Trains and evaluates the variants that the flags choose; returns the text to print.

    Raises ConfigError for flags that exclude each other, or a value that cannot work; RunError where the folder is no
    finished run, or a training failed.
    """
    config = settings(run, options.config, options.settings)  # a wrong setting is reported before TensorFlow loads
    from tfb2d.config import ConfigError
    from tfb2d.runs import locked
    from tfb2d.sweep.axes import axes
    from tfb2d.sweep.run_data import RunData
    from tfb2d.sweep.settings import ALL
    from tfb2d.sweep.training import is_done, jobs
    from tfb2d.sweep.variants import count

    if options.rows and options.equal_steps:
        raise ConfigError("--rows and --equal_steps exclude each other: each sets how much a variant learns from")
    try:
        rows = count(options.rows, least=1) if options.rows else ALL
    except ValueError as problem:
        raise ConfigError(f"--rows: {problem}") from problem
    out = Path(options.output) if options.output else run.folder / "sweep"
    values = {}
    for setting in options.values:
        axis, equals, listed = setting.partition("=")
        if not equals:
            raise ConfigError(f"--values takes axis=value,value, not {setting!r}")
        values[axis] = tuple(listed.split(","))
    shown = options.progress and sys.stderr.isatty()
    run_data = RunData(run, config)
    say = partial(print, file=sys.stderr)
    chosen_axes = axes(options.sweep, config, run_data.facts, values, options.equal_steps, rows, say)
    todo = jobs(run_data, chosen_axes, options.seeds)
    if options.dry_run:
        return plan(run_data, todo, out)
    with locked(out):
        if not all(is_done(job, out) for job in todo):
            say(plan(run_data, todo, out))
        _train(run_data, todo, out, shown)
        run_data.load()
        figures = _evaluate(run, run_data, chosen_axes, todo, out, options)
    from tfb2d.sweep.table import print_tables

    return f"{print_tables(figures)}\n\npictures   {out / 'sweep.html'}"


def settings(run: "Run", recipe: str, overrides: Sequence[str]) -> "Config":
    """Reads the settings of the variants: the run's own, or a recipe with the run's data and teachers, then `overrides`.

    Raises RunError where this is no run folder; ConfigError for no such recipe or setting, or data and teachers that
    are not the run's.
    """
    from tfb2d.cli.recipes import load, override
    from tfb2d.config import Config, ConfigError

    own = run.config()
    chosen = own.to_dict()
    if recipe:
        chosen = load(recipe)
        for part in ("train", "valid", "test", "unlabelled"):  # files are the run's, wherever the recipe finds its own
            chosen.data[part] = getattr(own.data, part)
        for part in ("files", "titles"):
            chosen.data.offers[part] = getattr(own.data.offers, part)
    override(chosen, overrides)
    config = Config.from_dict(chosen)
    for part in ("data", "teachers"):
        if getattr(config, part) != getattr(own, part):
            made_with = f"{part} of the recipe is not what {run.folder} was made with"
            raise ConfigError(f"{made_with}; a sweep takes its rows and logits")
    depends = f"in {run.folder}, whose hashed rows depend on it"
    for name in ("max_tokens", "spelling"):
        if getattr(config.student, name) != getattr(own.student, name):
            raise ConfigError(f"student.{name} is {getattr(own.student, name)} {depends}")
    if config.student.affixes not in ((), own.student.affixes):
        raise ConfigError(f"student.affixes is {own.student.affixes} {depends}; () leaves them out")
    return config


def plan(run_data: "RunData", todo: Sequence["Job"], out: Path) -> str:
    """Lays out the jobs as a table, with the time that each is expected to take."""
    from tfb2d.evaluation.table import layout, long_duration
    from tfb2d.sweep.training import estimate, is_done

    rows, left = [["variant", "seed", "about"]], []
    for job, expected in zip(todo, estimate(run_data, todo, out), strict=True):
        done = is_done(job, out)
        left += [] if done else [expected]
        rows.append([" = ".join(job.names), str(job.seed), "done" if done else long_duration(expected)])
    about = f"about {long_duration(sum(left))}; variants of other shapes differ"
    return f"{layout(rows)}\n{len(todo)} trainings, {len(left)} to do, {about}"


def _train(run_data: "RunData", all_jobs: Sequence["Job"], out: Path, shown: bool) -> None:
    """Trains the jobs that are not done, a few in each process.

    TensorFlow frees the memory of a student's table only when its process ends.
    """
    from multiprocessing import get_context

    from tfb2d.errors import RunError
    from tfb2d.sweep.training import PER_PROCESS, is_done, train_all

    todo = [job for job in all_jobs if not is_done(job, out)]
    for start in range(0, len(todo), PER_PROCESS):
        group = todo[start : start + PER_PROCESS]
        arguments = (run_data.run, run_data.config, group, out, shown, start, len(todo))
        process = get_context("spawn").Process(target=train_all, args=arguments, daemon=True)
        process.start()
        process.join()
        if process.exitcode:
            raise RunError(f"a training ended with status {process.exitcode}; see its messages above")


def _evaluate(
    run: "Run", run_data: "RunData", axes: Sequence[Any], trained: Sequence["Job"], out: Path, options: Namespace
) -> dict[str, Any]:
    """Computes the figures, writes `sweep.json` and `sweep.html`, and counts the look at the test split."""
    import datetime

    from tfb2d.atomic import read_json, write_atomic, write_json
    from tfb2d.evaluation.latency import machine
    from tfb2d.evaluation.results import plain
    from tfb2d.resume import fingerprint
    from tfb2d.sweep.collisions import Collisions
    from tfb2d.sweep.page import render
    from tfb2d.sweep.results import evaluate

    figures = evaluate(run_data, axes, trained, out, test=options.test, resamples=options.resamples)
    collisions = Collisions(run_data)
    for axis, axis_figures in zip(axes, figures["axes"], strict=True):
        if axis.name in ("buckets", "orders", "vocabulary"):
            for variant, figures_of_variant in zip(axis.variants, axis_figures["variants"], strict=True):
                figures_of_variant["collisions"] = collisions.count(variant.settings)
    looks = read_json(out / "test_looks.json") if (out / "test_looks.json").exists() else []
    which, today = fingerprint(sorted(job.folder for job in trained)), datetime.date.today().isoformat()
    if options.test and which not in [look["which"] for look in looks]:
        names = [axis.name for axis in axes]
        looks.append({"which": which, "date": today, "axes": names, "trainings": len(trained)})
        write_json(out / "test_looks.json", looks)
    figures = plain(
        {
            "run": str(run.folder),
            "command": shlex.join(["tfb2d", "sweep", *options.words]),
            "date": today,
            "machine": machine(),
            "task": run_data.task.to_json(),
            "seeds": options.seeds,
            "rows": {split: len(labels) for split, labels in run_data.labels.items()},
            "test_looks": looks,
            **figures,
        }
    )
    write_json(out / "sweep.json", figures)
    write_atomic(out / "sweep.html", render(figures))
    return dict(figures)


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("sweep")
