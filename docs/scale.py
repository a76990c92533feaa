"""Measures what a row costs, and computes from that what 10^7, 10^9 and 10^11 pairs cost: the table of docs/scale.md.

  python docs/scale.py                                          # writes the table anew from results/scale.json
  python docs/scale.py --core_hour=0.03 --gpu_hour=2 --gpu_rows=20000
  python docs/scale.py --measure=labelling --run=runs/search    # measures here; also preparing, hashing, training

A measurement takes the texts of a run and repeats them, for preparing with half of the words changed; preparing and
hashing need the run's stage `data` alone. Its figures are processor seconds, all threads together, so that a busy machine
changes them little.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

PAGE, RESULT = Path(__file__).with_suffix(".md"), Path(__file__).parents[1] / "results" / "scale.json"
BEGIN, END = "<!-- table: python docs/scale.py -->\n", "<!-- end of table -->\n"
SIZES = {
    "preparing": (10**4, 10**5, 10**6),
    "labelling": (1024, 4096, 10240),
    "hashing": (10**4, 10**5, 10**6, 10**7),
    "training": (10**4, 10**5, 3 * 10**5),
}
PAIRS = (10**7, 10**9, 10**11)
EPOCHS = 5
KNOBS = {
    10**7: "none: one machine, overnight for labelling",
    10**9: "`--engine=ray` with GPU actors; `prepare --part_mb=256`; `training.strategy=multi_worker`, fewer epochs",
    10**11: "label a sample and stop where the curve of `tfb2d sweep` is flat; one epoch; larger batches",
}


def measure(kind: str, run: Path) -> dict[str, Any]:
    """Measures one kind of work at rising sizes, in this process.

    Args:
      kind: a key of SIZES.
      run: a finished run of pairs, which gives texts and teacher.

    Returns:
      The machine's load and, for each size, seconds, processor seconds and the highest memory of the process so far.
    """
    from tfb2d.bench.measure import peak_megabytes

    folder = Path(tempfile.mkdtemp())
    works: dict[str, Callable[[Path, Path, int], Callable[[], None]]] = {
        "preparing": preparing,
        "labelling": labelling,
        "hashing": hashing,
        "training": training,
    }
    sizes = []
    works[kind](run, folder / "warm", 512)()
    for rows in SIZES[kind]:
        work = works[kind](run, folder / str(rows), rows)
        began, cpu = time.perf_counter(), time.process_time()
        work()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        sizes.append(
            {
                "rows": rows,
                "seconds": round(seconds, 3),
                "cpu_seconds": round(cpu_seconds, 3),
                "peak_mb": round(peak_megabytes(), 1),
                "bytes": sum(path.stat().st_size for path in (folder / str(rows)).rglob("*") if path.is_file()),
            }
        )
        manifest = folder / str(rows) / "_manifest.json"
        if manifest.exists():
            sizes[-1]["moved"] = json.loads(manifest.read_text())["moved"]
        print(sizes[-1], flush=True)
    shutil.rmtree(folder)
    return {"date": f"{datetime.date.today()}", "load": os.getloadavg()[0], "cores": os.cpu_count(), "sizes": sizes}


def texts(run: Path, rows: int, whole: bool = False) -> list[np.ndarray]:
    """Returns the texts of so many pairs, one array a field: the run's transfer rows over and over; or just these."""
    from tfb2d.data.tables import read_table
    from tfb2d.runs import Run

    table = read_table(Run(run).split("transfer"), ["query", "title"])
    columns = [table.column(name).to_numpy(zero_copy_only=False) for name in ("query", "title")]
    return columns if whole else [np.resize(column, rows) for column in columns]


def labelling(run: Path, out: Path, rows: int) -> Callable[[], None]:
    """Returns the work of labelling pairs with the run's teacher."""
    from tfb2d.config import LabelConfig
    from tfb2d.runs import Run
    from tfb2d.teachers.label import label_folder
    from tfb2d.teachers.memory import keep_freed_memory

    keep_freed_memory()
    (teacher,) = Run(run).config().teachers
    source, config = pairs_table(run, out, rows), LabelConfig(rows_per_shard=1024)
    return lambda: (label_folder(Run(run).teacher(teacher), source, out, config, progress=False), None)[1]


def pairs_table(run: Path, out: Path, rows: int) -> Path:
    """Writes a table of the run's pairs, over and over, beside `out`; returns its folder."""
    import pyarrow as pa

    from tfb2d.data.tables import ShardWriter

    columns, source = texts(run, min(rows, 10**5)), out.with_name(f"{out.name} rows")
    batch = pa.record_batch([pa.array(column) for column in columns], ["query", "title"])
    with ShardWriter(source, batch.schema) as writer:
        for start in range(0, rows, batch.num_rows):
            writer.write(batch.slice(0, rows - start))
    return source


def preparing(run: Path, out: Path, rows: int) -> Callable[[], None]:
    """Returns the work of preparing pairs: shuffling them, and leaving repeats and near copies out.

    The pairs are the run's, and then, again and again, these with half of the title's words changed at random.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tfb2d.scale.prepare_config import PrepareConfig
    from tfb2d.scale.prepare_files import prepare_files

    queries, titles = texts(run, min(rows, len(texts(run, 1, whole=True)[0])))
    words = np.array([word for title in titles for word in title.split()])
    chance = np.random.default_rng(0)
    source = out.with_name(f"{out.name} rows")
    source.mkdir(parents=True)
    for begin in range(0, rows, 250_000):
        with pq.ParquetWriter(source / f"{begin:09d}.parquet", pa.schema([("query", "str"), ("title", "str")])) as file:
            for start in range(begin, min(rows, begin + 250_000), len(titles)):
                left = slice(0, min(rows, begin + 250_000) - start)
                some = titles if start < len(titles) else [changed(title, words, chance) for title in titles[left]]
                file.write_table(pa.table({"query": queries[left], "title": some[left]}))
    config = PrepareConfig(("query", "title"))
    return lambda: (prepare_files([str(source)], [], out, config, progress=False), None)[1]


def changed(title: str, words: np.ndarray, chance: np.random.Generator) -> str:
    """Returns a title with half of its words drawn anew."""
    own = np.array(title.split(), object)
    places = chance.permutation(len(own))[: (len(own) + 1) // 2]
    own[places] = words[chance.integers(0, len(words), len(places))]
    return " ".join(own)


def hashing(run: Path, out: Path, rows: int) -> Callable[[], None]:
    """Returns the work of hashing pairs that stand in a table."""
    from tfb2d.students.hashing import hash_table

    source = pairs_table(run, out, rows)
    return lambda: (hash_table(source, ("query", "title"), out, 256, progress=False), None)[1]


def training(run: Path, out: Path, rows: int) -> Callable[[], None]:
    """Returns the work of one epoch of a pair student of the default shape, batches of 512."""
    from tfb2d.config import StudentConfig, TrainingConfig
    from tfb2d.data.task import Task
    from tfb2d.students.model import Student
    from tfb2d.students.rows import HashedRows, TrainingRows
    from tfb2d.students.training import Trainer, ahead

    hashing(run, out, rows)()
    targets = np.random.default_rng(0).random((rows, 1), np.float32)
    learnt = TrainingRows(HashedRows(out), targets)
    trainer = Trainer(Student(Task(("query", "title")), StudentConfig()), learnt, learnt, TrainingConfig(), out / "fit")
    steps = trainer.steps
    steps.step(*steps.batch(learnt, np.arange(512)))  # makes the graph

    def epoch() -> None:
        for batch in ahead(steps.batch(learnt, index) for index in learnt.batches(512, (0, 0))):
            steps.step(*batch)

    return epoch


def marginal(sizes: list[dict[str, Any]]) -> list[float]:
    """Returns the core seconds of one more row, between each size and the next: what starting costs is left out."""
    return [
        (after["cpu_seconds"] - before["cpu_seconds"]) / (after["rows"] - before["rows"])
        for before, after in pairwise(sizes)
    ]


def row_costs(result: dict[str, Any]) -> dict[str, float]:
    """Returns core seconds of a row of each kind of work, and the bytes that it leaves."""
    costs = {kind: marginal(result[kind]["sizes"])[-1] for kind in SIZES}
    costs["preparing_moved"] = result["preparing"]["sizes"][-1]["moved"] / result["preparing"]["sizes"][-1]["rows"]
    for kind in ("preparing", "labelling", "hashing"):
        last = result[kind]["sizes"][-1]
        costs[f"{kind}_bytes"] = last["bytes"] / last["rows"]
    return costs


def lines(result: dict[str, Any], core_hour: float, gpu_hour: float, gpu_rows: float) -> Iterator[str]:
    """Yields the two tables, line by line.

    Args:
      result: of `measure`, by kind.
      core_hour, gpu_hour: prices.
      gpu_rows: rows a second that a GPU labels; 0 labels on cores.
    """
    costs = row_costs(result)
    yield "| work | rows/s of a core | of the smaller step's | peak memory, MB | bytes a row | load while measured |"
    yield "|---|---|---|---|---|---|"
    for kind in SIZES:
        sizes = result[kind]["sizes"]
        steps = marginal(sizes)
        counts = ", ".join(f"{each['rows']:,}" for each in sizes)
        memory = ", ".join(f"{each['peak_mb']:,.0f}" for each in sizes)
        size = f"{costs[f'{kind}_bytes']:,.0f}" if f"{kind}_bytes" in costs else ""
        load = f"{result[kind]['load']:.0f} on {result[kind]['cores']} cores, {result[kind]['date']}"
        speed = 1 / costs[kind]
        yield f"| {kind} ({counts} rows) | {speed:,.0f} | {steps[-1] / steps[0]:.2f} | {memory} | {size} | {load} |"
    yield ""
    device = f"GPU of {gpu_rows:,.0f} rows/s at {gpu_hour:.2f} an hour" if gpu_rows else "cores"
    yield f"Prices: {core_hour:.3f} a core hour; labelling on {device}; {EPOCHS} epochs of training."
    yield ""
    yield "| pairs | preparing | labelling | hashing | training | storage | preparing moves | cost | what to turn |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for pairs in PAIRS:
        hours = {kind: pairs * costs[kind] / 3600 * (EPOCHS if kind == "training" else 1) for kind in SIZES}
        labelled = pairs / gpu_rows / 3600 if gpu_rows else hours["labelling"]
        others = sum(hours[kind] for kind in ("preparing", "hashing", "training"))
        cost = labelled * (gpu_hour if gpu_rows else core_hour) + others * core_hour
        row = costs["labelling_bytes"] + costs["hashing_bytes"] + 4  # a target is a float
        moved = 2 * pairs * costs["preparing_moved"]  # written once, read once
        unit = "GPU h" if gpu_rows else "core h"
        yield (
            f"| 10^{len(str(pairs)) - 1} | {amount(hours['preparing'])} core h | {amount(labelled)} {unit} | "
            f"{amount(hours['hashing'])} core h | {amount(hours['training'])} core h | "
            f"{amount(pairs * row / 1e9)} GB | {amount(moved / 1e9)} GB | {amount(cost)} | {KNOBS[pairs]} |"
        )


def amount(value: float) -> str:
    """Writes a number with two digits that count."""
    digits = max(0, 1 - int(np.floor(np.log10(max(value, 1e-9)))))
    rounded = round(value, 1 - int(np.floor(np.log10(max(value, 1e-9)))))
    return f"{rounded:,.{min(digits, 3)}f}"


def page(result: dict[str, Any], core_hour: float = 0.04, gpu_hour: float = 2.5, gpu_rows: float = 0.0) -> str:
    """Returns the page's text with tables made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(lines(result, core_hour, gpu_hour, gpu_rows)) + "\n\n" + END + after


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=list(SIZES), help="Work to measure first, into results/scale.json.")
    parser.add_argument("--run", type=Path, help="A finished run of pairs; goes with --measure.")
    parser.add_argument("--core_hour", type=float, default=0.04, help="Price of a core for an hour.")
    parser.add_argument("--gpu_hour", type=float, default=2.5, help="Price of a GPU for an hour.")
    parser.add_argument("--gpu_rows", type=float, default=0.0, help="Rows a second a GPU labels; 0: cores label.")
    options = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if options.measure:
        result[options.measure] = measure(options.measure, options.run)
        result["machine"] = {"system": platform.platform(), "python": platform.python_version()}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    if all(kind in result for kind in SIZES):
        text = page(result, options.core_hour, options.gpu_hour, options.gpu_rows)
        print("\n".join(lines(result, options.core_hour, options.gpu_hour, options.gpu_rows)))
        if (options.core_hour, options.gpu_rows) == (parser.get_default("core_hour"), 0.0):
            PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
