"""Measures labelling by either engine: rows a second, processor time and peak memory. A line of JSON a run.

  python -m results.scale_labelling FOLDER --rows=100000 --engines=local,ray --actors=2 --turns=3
  python -m results.scale_labelling FOLDER --teacher=runs/shop/teachers/bert --source=runs/shop/data/transfer

Several engines run by turns, each time in a process of its own, and a last line has the ratios to the first engine. FOLDER
gets, once, a BERT of 2 layers of 32 with random weights, and random texts of about twelve tokens. The clock runs from the
first finished shard to the last, so that loading does not count; where other programs run, processor time tells more: it is
that of the work alone, in whichever process, plus the driver's.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfb2d.config import LabelConfig, RayConfig, TeacherConfig
from tfb2d.data.tables import ShardWriter
from tfb2d.teachers import label as labelling
from tfb2d.teachers.shard_labeller import LabelJob


class MeasuredJob(LabelJob):
    """Labels shards; each writes down its processor time and its process' peak memory."""

    def start(self) -> Callable[[int], Any]:
        """Returns the function that labels a shard."""
        work = super().start()

        def measured(index: int) -> Any:
            begin = time.process_time()
            counts = work(index)
            seconds = time.process_time() - begin
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            (Path(self.out) / f"_{index}.json").write_text(json.dumps([seconds, peak / 1024, time.time()]))
            return counts

        return measured


def prepare(folder: Path, rows: int) -> tuple[Path, Path]:
    """Makes teacher and rows, where they are not there yet; returns their folders."""
    from tests.teachers.harness import PAIR, WORDS, save_encoder

    teacher, source = folder / "teacher", folder / f"rows{rows}"
    if not teacher.exists():
        from tfb2d.teachers.models import build_classifier
        from tfb2d.teachers.teacher import Teacher

        config = TeacherConfig(preset=str(save_encoder("bert", folder / "encoder")), max_length=32)
        Teacher(build_classifier(config, 1), PAIR, 32).save(teacher, {"preset": "tiny", "outcome": {}})
    if not source.exists():
        rng = np.random.default_rng(0)
        schema = pa.schema([(name, pa.string()) for name in PAIR.fields])
        with ShardWriter(source, schema) as writer:
            for begin in range(0, rows, 10_000):
                count = min(10_000, rows - begin)
                texts = [
                    [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(count)] for longest in (5, 12)
                ]
                writer.write(pa.record_batch(texts, schema))
    return teacher, source


def label(options: argparse.Namespace) -> None:
    """Labels once, in this process, and prints what it took."""
    from tfb2d.data.tables import count_rows

    teacher, source = (options.teacher, options.source) if options.teacher else prepare(options.folder, options.rows)
    rows, ray = count_rows(source), options.engines == "ray"
    out = options.folder / f"out{time.time_ns()}"
    labelling.LabelJob = MeasuredJob  # type: ignore[misc]
    config = LabelConfig(options.rows_per_shard, 4096, options.engines, RayConfig(actors=options.actors))
    begin = time.process_time()
    labelling.label_folder(teacher, source, out, config, progress=False)
    driver = time.process_time() - begin
    shards = sorted((json.loads(path.read_text()) for path in out.glob("_[0-9]*.json")), key=lambda shard: shard[2])
    loaded = options.actors if ray else 1  # shards that are not counted: the first of each process
    processor = sum(seconds for seconds, _, _ in shards) - shards[0][0] * loaded
    measured = rows * (1 - loaded / len(shards))
    figures = {
        "engine": options.engines,
        "rows": rows,
        "actors": options.actors if ray else 0,
        "load": round(os.getloadavg()[0], 1),
        "rows_per_second": round(measured / (shards[-1][2] - shards[loaded - 1][2]), 1),
        "rows_per_processor_second": round(measured / processor, 1),
        "driver_processor_seconds": round(driver, 2),
        "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "worker_peak_mb": round(max(peak for _, peak, _ in shards)),
    }
    shutil.rmtree(out)
    print(json.dumps(figures), flush=True)


def by_turns(options: argparse.Namespace) -> None:
    """Labels by one engine after the other, again and again; prints each run, and the medians' ratios to the first."""
    runs: dict[str, list[dict[str, Any]]] = {}
    names = ("rows", "teacher", "source", "actors", "rows_per_shard")
    flags = [f"--{name}={getattr(options, name)}" for name in names if getattr(options, name) is not None]
    for _ in range(options.turns):
        for engine in options.engines.split(","):
            command = [
                sys.executable,
                "-m",
                "results.scale_labelling",
                str(options.folder),
                *flags,
                f"--engines={engine}",
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            line = done.stdout.splitlines()[-1]
            print(line, flush=True)
            runs.setdefault(engine, []).append(json.loads(line))
    first, *others = runs
    for name in ("rows_per_second", "rows_per_processor_second"):
        medians = {engine: np.median([each[name] for each in each_run]) for engine, each_run in runs.items()}
        for engine in others:
            print(json.dumps({name: f"{engine} / {first}", "ratio": round(medians[engine] / medians[first], 2)}))


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Gets teacher, rows and, while they are measured, shards.")
    parser.add_argument("--rows", type=int, default=100_000, help="Random rows to label.")
    parser.add_argument("--teacher", type=Path, help="A saved teacher in place of the tiny one; goes with --source.")
    parser.add_argument("--source", type=Path, help="A folder of part-*.parquet with the teacher's fields.")
    parser.add_argument("--engines", default="local,ray", help="local, ray, or both: by turns.")
    parser.add_argument("--actors", type=int, default=2, help="Ray's actors.")
    parser.add_argument("--rows_per_shard", type=int, default=8192, help="Rows of a shard.")
    parser.add_argument("--turns", type=int, default=3, help="Runs of each engine.")
    options = parser.parse_args()
    (by_turns if "," in options.engines else label)(options)


if __name__ == "__main__":
    main()
