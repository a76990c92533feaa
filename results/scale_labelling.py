"""Measures labelling by either engine: rows a second, processor time and peak memory. A line of JSON a run.

  python -m results.scale_labelling FOLDER ENGINE ROWS [ACTORS]

ENGINE is local or ray. FOLDER gets, once, a BERT of 2 layers of 32 with random weights, and random texts of about twelve
tokens. The clock runs from the first finished shard to the last, so that loading does not count; where other programs
run, processor time tells more: it is that of the work alone, in whichever process, plus the driver's.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfb2d.config import LabelConfig, RayConfig, TeacherConfig
from tfb2d.data.tables import ShardWriter
from tfb2d.teachers import label
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


def main(folder: Path, engine: str, rows: int, actors: int) -> None:
    """Labels once and prints what it took."""
    teacher, source = prepare(folder, rows)
    out = folder / f"out{time.time_ns()}"
    label.LabelJob = MeasuredJob  # type: ignore[misc]
    config = LabelConfig(8192, 4096, engine, RayConfig(actors=actors))
    begin = time.process_time()
    label.label_folder(teacher, source, out, config, progress=False)
    driver = time.process_time() - begin
    shards = [json.loads(path.read_text()) for path in out.glob("_[0-9]*.json")]
    ends = sorted(end for _, _, end in shards)
    first = min(shards, key=lambda shard: shard[2])
    processor = sum(seconds for seconds, _, _ in shards) - first[0] * (actors if engine == "ray" else 1)
    measured = rows * (1 - len(ends[: (actors if engine == "ray" else 1)]) / len(ends))
    print(
        json.dumps(
            {
                "engine": engine,
                "rows": rows,
                "actors": actors if engine == "ray" else 0,
                "rows_per_second": round(measured / (ends[-1] - ends[0])),
                "rows_per_processor_second": round(measured / processor),
                "driver_processor_seconds": round(driver, 2),
                "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "worker_peak_mb": round(max(peak for _, peak, _ in shards)),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 2)
