"""A small run that twins learn from: pairs of made-up words, and scores that a teacher would give them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.teachers.harness import WORDS, write_table
from tfb2d.config import Config, DataConfig, DistillConfig, LabelConfig, TeacherConfig
from tfb2d.config.twin import TwinConfig
from tfb2d.data.task import Task
from tfb2d.runs import Run

DATA = DataConfig(fields=("query", "title"), train=(__file__,))  # a file that is there; no test reads it
TASK = Task(("query", "title"))
SMALL = TwinConfig(
    layers=1,
    query_length=8,
    title_length=16,
    hidden=32,
    heads=2,
    intermediate=64,
    letter_buckets=300,
    buckets=512,
    width=16,
    dim=16,
    max_tokens=16,
    epochs=2,
    look_up_epochs=2,
    batch_size=24,
    learning_rate=5e-3,
    head_learning_rate=5e-3,
)


def settings(**changes: Any) -> TwinConfig:
    """Returns SMALL with changes."""
    return dataclasses.replace(SMALL, **changes)


def config(twin: TwinConfig, **distill: Any) -> Config:
    """Returns a run's settings; the teacher "model" has no folder unless a test makes one."""
    return Config(
        models=("twin",),
        data=DATA,
        teachers={"model": TeacherConfig(preset="unused")},
        label=LabelConfig(rows_per_shard=32),
        distill=DistillConfig(**distill),
        twin=twin,
    )


def pairs(rows: int, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    """Makes pairs: queries of two words, three titles each; returns queries, titles and whether a title has both words."""
    rng = np.random.default_rng(seed)
    queries, titles, labels = [], [], []
    while len(queries) < rows:
        query = rng.choice(WORDS, 2, replace=False)
        for relevant in (True, rng.random() < 0.5, False):
            others = [word for word in WORDS if word not in query]
            words = [*query, *rng.choice(others, 2)] if relevant else list(rng.choice(others, 4))
            queries.append(" ".join(query))
            titles.append(" ".join(rng.permutation(words)))
            labels.append(float(relevant))
    return queries[:rows], titles[:rows], np.array(labels[:rows], np.float32)


def write_logits(folder: Path, queries: list[str], titles: list[str], logits: np.ndarray) -> None:
    """Writes a table of logits as labelling does."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"query": queries, "title": titles, "logit": pa.array(logits, pa.float32())})
    pq.write_table(table, folder / "part-00000.parquet")


def write_run(folder: Path, rows: int = 240, teacher: str = "model") -> Run:
    """Writes what the stages before `twin` leave: the splits and a teacher's logits; 40 transfer rows have labels."""
    run = Run(folder, progress=False)
    for seed, (split, size) in enumerate((("transfer", rows), ("valid", 90), ("test", 90), ("train", 40))):
        queries, titles, labels = pairs(size, seed)
        noise = np.random.default_rng(seed).normal(0, 0.3, size)
        shown = [*labels[:40].tolist(), *([float("nan")] * (size - 40))] if split == "transfer" else labels.tolist()
        write_table(run.split(split), {"query": queries, "title": titles, "label": shown})
        if split != "train":
            write_logits(run.logits(teacher, split), queries, titles, 6 * labels - 3 + noise)
    return run
