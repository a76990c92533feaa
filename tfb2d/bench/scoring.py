"""Measures students and their alternatives, from strings to probabilities, in one run on one machine.

  tfb2d bench --output=runs/bench
  tfb2d bench --output=runs/bench --model=saved_models/shop --data=runs/shop
  tfb2d bench --output=runs/bench --model=float=saved_models/sst2/1 --model=int8=saved_models/sst2/2 \\
      --data=dev.tsv --train=train.tsv --systems=student,fasttext,model2vec --threads=1
  tfb2d bench --serving --help      a server under load
  tfb2d bench --tflite --help       the edge form on a small device
  tfb2d bench --profile --help      the time of each op of a student

Without --data it measures on the quickstart's test films: snippets, whole plots (long text), and pairs of film and
snippet. Without a --model that reads a task's fields, it trains a student on labels alone, in seconds. Peers
(BERT-Base, TinyBERT-4L-312 and MiniLM-L6 in ONNX Runtime int8 and in KerasHub, fastText, Model2Vec) need
pip install 'tfb2d[bench]'.

Each system runs in its own process, pinned to --threads cores. Systems take turns, --rounds times a cell, and figures are
medians over the rounds. Times include tokenization. Transformers have random weights, so they have no accuracy. fastText
and Model2Vec are trained on the task's training rows.

Writes into --output: bench.json (a list: system, task, batch, threads, p50_us, p99_us, rows_per_s, peak_mb, file_mb,
accuracy, costs, and batch_shift, the change of a row's score with its batch; batch "rank" is 100 titles for one query),
about.json (machine, versions, notes), ratios.json, bench.txt, bench.svg.
"""

import datetime
import platform
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfb2d.bench.measure import BenchError, Costs, Worker, cores, parse_batches, result
from tfb2d.bench.modes import add_modes
from tfb2d.bench.systems import DEFAULT, PEERS, STUDENT
from tfb2d.cli.arguments import Parser

if TYPE_CHECKING:
    from tfb2d.bench.cells import Settings
    from tfb2d.bench.work import Work

PACKAGES = ("tensorflow", "keras-hub", "onnxruntime", "tokenizers", "fasttext-numpy2", "model2vec", "numpy")
BATCHES = (1, 16, "rank", 1024)


def add_arguments(parser: Parser) -> None:
    """Adds this mode's flags."""
    what = parser.group("what is measured")
    what.flag("model", "A student that tfb2d exported; may be repeated.", repeated=True, metavar="[NAME=]DIR")
    what.flag(
        "data",
        "A run's folder (its test split), or labelled files; may be repeated, a task each. [default: films]",
        repeated=True,
        metavar="DIR|FILE",
    )
    what.words("train", "Labelled files to train fastText and Model2Vec on, where --data names files.")
    what.words("fields", "Text columns of the files. [default: the model's]")
    what.flag("label", "Their label column. [default: the model's]", "")
    what.words("classes", "Names of the classes. [default: the model's]")
    what.words("systems", f"What to measure: {STUDENT}, {', '.join(PEERS)}.", DEFAULT)
    what.flag("output", "The folder for results.", required=True, metavar="DIR")
    how = parser.group("how")
    how.numbers("threads", "Numbers of cores of a system, measured in turn.", (1, 2))
    how.words("batches", "Rows a call; rank is 100 titles for one query.", [str(batch) for batch in BATCHES])
    how.real("seconds", "Least seconds of a round of a cell.", 1.0, 0.0)
    how.integer("rounds", "Turns of each system in a cell.", 3, 1)
    how.real("limit", "Most seconds of a call; slower cells are left out.", 60.0, 0.0)
    how.integer("max_length", "Tokens that Transformers read of a text.", 256, 8, most=512)
    how.integer("training_rows", "Rows for the speed of hashing and training; 0 leaves it out.", 200_000, 0)
    how.integer("training_buckets", "Rows of the table that is trained.", 2**20, 1)
    how.integer("training_batch", "Rows of a training step.", 512, 1)
    how.switch("mixed_precision", "Measure students with matrix products in bfloat16, too.", False)
    how.switch("progress", "Show a progress bar.", True)
    costs = parser.group("costs")
    costs.real("watts_per_core", "Watts of one busy core with its share of the machine.", Costs.watts, 0.0)
    costs.real("price_per_core_hour", "Price of a core for an hour.", Costs.price, 0.0)
    add_modes(parser)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tqdm import tqdm

    from tfb2d.atomic import write_atomic, write_json
    from tfb2d.bench.cells import Settings, measure
    from tfb2d.bench.outcome import batch_lines, picture, ratio_table, ratios, tables
    from tfb2d.bench.systems import Maker
    from tfb2d.bench.work import load

    unknown = sorted(set(options.systems) - {STUDENT, *PEERS})
    if unknown:
        raise BenchError(f"--systems: there is no {', '.join(unknown)}; there are {STUDENT}, {', '.join(PEERS)}")
    cores(max(options.threads))  # that there are so many
    batches = parse_batches(options.batches)
    costs = Costs(options.watts_per_core, options.price_per_core_hour)
    settings = Settings(options.threads, batches, options.seconds, options.rounds, options.limit, costs)
    out = Path(options.output)
    models = student_models(options.model, options.mixed_precision)
    tasks = tuple(task for _, task, _ in models.values())
    labels = {"label": options.label, "classes": options.classes}
    works = load(options.data, tasks, train=options.train, fields=options.fields, **labels)
    maker = Maker(models, out / "work", max(settings.threads), options.max_length, _shape(models))
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    notes: dict[str, str] = {}
    students: list[str] = []
    with tqdm(desc="making systems", unit=" cell", disable=not options.progress) as bar:
        for group in grouped(works):
            ready = maker.students(group[0]) if STUDENT in options.systems else []
            students += [system.name for system in ready if system.name not in students]
            ready += [maker.peer(name, group[0]) for name in options.systems if name != STUDENT]
            notes |= {system.name: system.note for system in ready}
            results += measure(ready, group, settings, bar)
            write_json(out / "bench.json", results)
        if options.training_rows and STUDENT in options.systems:
            results += _training(options, works[0], settings, out / "work" / "training", bar)
    reached = ratios(results, students)
    write_json(out / "bench.json", results)
    write_json(out / "ratios.json", reached)
    write_json(out / "about.json", _about(notes, settings, options.words))
    timed = [entry for entry in results if entry["p50_us"]]
    parts = [tables(timed), batch_lines(results), _training_lines(results), ratio_table(reached) if reached else ""]
    text = "\n\n".join(filter(None, parts))
    write_atomic(out / "bench.txt", text + "\n")
    if any(entry["batch"] == 1 for entry in timed):
        write_atomic(out / "bench.svg", picture(timed, students))
    print(f"\n{text}\n\n{settings.costs.watts:g} W a core, {settings.costs.price:g} a core-hour; results in {out}")


def _training(options: Namespace, work: "Work", settings: "Settings", folder: Path, bar: Any) -> list[dict[str, Any]]:
    rows = []
    for threads in settings.threads:
        bar.set_description(f"training speed, {threads} threads")
        with Worker(threads) as worker:
            size = {"rows": options.training_rows, "buckets": options.training_buckets, "dim": 64}
            what = {"columns": work.train.columns, "batch": options.training_batch, "folder": str(folder), **size}
            speeds = worker.run("tfb2d.bench.training:training_speed", **what)
        for name, batch in (("hashing", 4096), ("training", options.training_batch)):
            figures = {"rows_per_s": speeds["rows"] / speeds[name]["seconds"], "peak_mb": speeds["peak_mb"]}
            figures |= settings.costs.of(speeds[name]["cpu_seconds"] / speeds["rows"] * 1e6)
            rows.append(result(f"{STUDENT}-{name}", work.name, batch, threads, None, **figures))
    return rows


def _training_lines(results: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for entry in results:
        if entry["p50_us"] is None and entry["rows_per_s"]:
            seconds = 1e6 / entry["rows_per_s"]
            threads = f"{entry['threads']} thread{'s' * (entry['threads'] > 1)}"
            lines.append(f"{entry['system']}, {threads}: {entry['rows_per_s']:,.0f} rows/s, {seconds:.1f} s a million")
    return "\n".join(lines)


def student_models(flags: Sequence[str], mixed_precision: bool = False) -> dict[str, tuple[Path, Any, list[str]]]:
    """Reads the --model flags as name -> (version folder, task, forms)."""
    from tfb2d.atomic import read_json
    from tfb2d.bench.students import forms
    from tfb2d.data.task import Task
    from tfb2d.model_folder import ABOUT

    models = {}
    for entry in flags:
        name, _, folder = entry.rpartition("=")
        version_folder, kinds = forms(folder)
        if not (version_folder / ABOUT).exists():
            raise BenchError(f"--model={entry}: it has no {ABOUT}; it is not a model that tfb2d exported")
        name = name or (STUDENT if len(flags) == 1 else f"{STUDENT}-{version_folder.parent.name}-{version_folder.name}")
        if name in models or name in PEERS:
            raise BenchError(f"--model={entry}: something else is called {name}; write --model=NAME={folder}")
        kinds += ["Bfloat16"] if mixed_precision else []
        models[name] = version_folder, Task.from_json(read_json(version_folder / ABOUT)["task"]), kinds
    return models


def _shape(models: Mapping[str, tuple[Path, Any, Sequence[str]]]) -> Any:
    """Returns the table size of the first model whose settings are known, for fastText."""
    from tfb2d.atomic import read_json
    from tfb2d.bench.systems import Shape
    from tfb2d.model_folder import ABOUT

    for folder, _, _ in models.values():
        known = read_json(folder / ABOUT).get("student")
        if known:
            return Shape(known["buckets"], known["dim"], tuple(known["orders"]))
    return Shape()


def grouped(works: Sequence[Any]) -> list[list[Any]]:
    """Returns the works in groups that share their systems: the same fields and the same training rows."""
    groups: dict[Any, list[Any]] = {}
    for work in works:
        groups.setdefault((work.task.fields, id(work.train)), []).append(work)
    return list(groups.values())


def _about(notes: Mapping[str, str], settings: "Settings", words: Sequence[str]) -> dict[str, Any]:
    from tfb2d.evaluation.latency import machine

    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "command": shlex.join(["tfb2d", "bench", *words]),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": versions,
        "systems": dict(notes),
        "watts_per_core": settings.costs.watts,
        "price_per_core_hour": settings.costs.price,
    }
