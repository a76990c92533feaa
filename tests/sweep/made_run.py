"""A finished run made by hand: made-up reviews, two teachers whose logits are known, nothing trained."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from tfb2d.atomic import write_json
from tfb2d.config import Config, DataConfig, StudentConfig, TeacherConfig, TrainingConfig
from tfb2d.data.tables import ShardWriter
from tfb2d.outcomes import DataOutcome, LogitsOutcome, Outcome, WordsOutcome
from tfb2d.resume import Record, write_record
from tfb2d.runs import Run
from tfb2d.students import text_spec
from tfb2d.students.stage import hash_splits

GOOD, BAD, DULL = (
    ["fine", "lovely", "great", "warm"],
    ["poor", "awful", "flat", "cold"],
    ["film", "story", "scene", "actor", "plot"],
)
CONFIG = Config(
    name="made",
    data=DataConfig(train=("reviews.tsv",), classes=("bad", "good"), group="movie"),
    teachers={"one": TeacherConfig(preset="tiny"), "two": TeacherConfig(preset="tiny", seed=1)},
    student=StudentConfig(buckets=2**9, dim=8, ffn=(8,), max_tokens=8, dropout=0.0, ngram_dropout=0.0),
    training=TrainingConfig(epochs=3, batch_size=32, table_learning_rate=0.3, learning_rate=1e-2),
)
LABELLED, UNLABELLED, AUGMENTED = 60, 120, 40


def rows(rng: np.random.Generator, n: int) -> tuple[list[str], np.ndarray]:
    """Draws reviews, and their labels."""
    labels = rng.integers(0, 2, n)
    texts = [
        " ".join(rng.permutation([*rng.choice(GOOD if label else BAD, 2), *rng.choice(DULL, 3)])) for label in labels
    ]
    return texts, labels.astype(np.float64)


def write(folder: Path, **columns: object) -> None:
    """Writes columns as a stage writes its tables."""
    table = pa.table(columns)
    with ShardWriter(folder, table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)


def finished_run(workdir: Path) -> Path:
    """Writes what the stages before `student` leave of CONFIG; returns the run folder."""
    run = Run(workdir, progress=False)
    rng = np.random.default_rng(5)
    write_json(workdir / "config.json", dataclasses.asdict(CONFIG))
    for split, n in (("transfer", LABELLED + UNLABELLED + AUGMENTED), ("valid", 60), ("test", 80)):
        texts, labels = rows(rng, n)
        shown = labels.copy()
        if split == "transfer":
            shown[LABELLED:] = np.nan
        groups = [f"film {number % 20}" for number in range(n)]
        write(workdir / "data" / split, text=texts, label=pa.array(shown, pa.float32()), group=groups)
        for name in CONFIG.teachers:
            part = workdir / "logits" / name / (split if split != "transfer" else "")
            logits = 3 * (2 * labels - 1) + rng.normal(0, 1.5, n)
            if split == "transfer":
                logits[-5:] = np.nan  # rows that nobody scored
            write(part, text=texts, logit=pa.array(logits, pa.float32()))
    stats = {"transfer": LABELLED + UNLABELLED + AUGMENTED, "unlabelled": UNLABELLED, "augmented": AUGMENTED}
    stats |= {"train": LABELLED, "valid": 60, "test": 80, "rejected": 0}
    write_json(workdir / "data/stats.json", stats)
    words = [*GOOD, *BAD, *DULL]
    hashes = np.array([text_spec.token_hashes(word, 8)[0] for word in words])
    run.words.parent.mkdir()
    save_file({"hashes": hashes, "vectors": rng.normal(size=(len(words), 16)).astype(np.float32)}, run.words)
    shutil.copytree(run.split("valid"), run.split("train"))
    outcomes: dict[str, Outcome] = {
        "data": DataOutcome.from_stats(stats),
        "words": WordsOutcome(len(words)),
        "rows": hash_splits(run, CONFIG),
        "logits/one": LogitsOutcome({}),
        "logits/two": LogitsOutcome({}),
    }
    for stage, outcome in outcomes.items():
        write_record(workdir / stage, Record(stage.replace("/", "-") * 2, outcome=outcome.to_json()))
    return workdir
