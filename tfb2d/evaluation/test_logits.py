"""The test split's logits of every model of a run, from which `tfb2d recount` computes the report's figures anew.

The table has a row for each row of the test split, in its order, and for each seed where several runs were recorded:

* `seed`: of the leading model's training.
* `row`: the first 16 hexadecimal digits of SHA-256 of the text fields as UTF-8, with a NUL byte between them.
* `group`: the same of the row's group, where there are groups; otherwise null.
* `label`: 0 or 1, a grade in [0, 1], or a class's index.
* a model's logits: `teacher`, `student`, `labels_only`, ..., several classes `teacher_0`, `teacher_1`, ...; NaN where a
  teacher has no score. Several teachers also have columns of their own, `teacher:NAME`.

The file's metadata, key "tfb2d", hold what turns logits into the report's scores and decisions: each seed's task, headline
measure, bootstrap, calibrations (score = sigmoid or softmax of scale * logit + bias) and thresholds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.evaluation.models import Model
from tfb2d.evaluation.results import RunResults, seed_of
from tfb2d.outcomes import Calibration
from tfb2d.probability import one_column

KEY = b"tfb2d"
OWN = "teacher:"  # before the name of each of several teachers


def write_test_logits(results: RunResults, path: Path) -> None:
    """Writes the test split's logits, labels and hashes of a run; models without logits are left out."""
    with atomic_path(path) as temporary:
        pq.write_table(_table(results), temporary, compression="zstd")


def join_test_logits(files: Sequence[Path], output: Path) -> None:
    """Writes the rows of several runs as one file."""
    tables = [pq.read_table(file) for file in files]
    about = {seed: entry for table in tables for seed, entry in _about(table).items()}
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="default")
    with atomic_path(output) as temporary:
        pq.write_table(joined.replace_schema_metadata({KEY: json.dumps(about)}), temporary, compression="zstd")


def read_test_logits(file: Path) -> dict[int, RunResults]:
    """Returns each seed's results, with hashes as texts; raises DataError of a file that this module did not write."""
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        problem = "is no Parquet file" if file.is_file() else "there is no such file"
        raise DataError(f"{file}: {problem}; test logits lie in a run folder's report/test_logits.parquet") from error
    results = {}
    for seed, entry in _about(table, file).items():
        rows = table.filter(pc.equal(table["seed"], int(seed)))
        results[int(seed)] = _results(rows, entry, int(seed))
    return results


def row_hash(fields: Sequence[str]) -> str:
    """Returns what stands for a row's texts in the file."""
    return hashlib.sha256("\0".join(fields).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _table(results: RunResults) -> pa.Table:
    models, labels = _models(results), np.asarray(results.labels)
    seed = seed_of(results.config, results.leading)
    groups = [None] * len(labels) if results.groups is None else [row_hash([group]) for group in results.groups]
    columns: dict[str, Any] = {
        "seed": pa.array(np.full(len(labels), seed, np.int32)),
        "row": pa.array([row_hash(fields) for fields in zip(*results.columns, strict=True)], pa.string()),
        "group": pa.array(groups, pa.string()),
        "label": pa.array(labels.astype(np.float32)),
    }
    for key, model in models.items():
        logits = np.asarray(model.logits, np.float32).reshape(len(labels), -1)
        columns |= dict(zip(_columns(key, results.task), map(pa.array, logits.T), strict=True))
    about = {
        "name": results.name,
        "task": results.task.to_json(),
        "headline": results.headline,
        "resamples": results.resamples,
        "seed": results.seed,
        "models": {
            key: {
                "scale": model.calibration.scale,
                "bias": list(model.calibration.bias),
                "threshold": model.threshold,
                "dtype": str(np.asarray(model.scores).dtype),
            }
            for key, model in models.items()
            if model.calibration is not None
        },
    }
    return pa.table(columns).replace_schema_metadata({KEY: json.dumps({seed: about})})


def _columns(key: str, task: Task) -> list[str]:
    """Returns the columns of a model's logits."""
    return [f"{key}_{index}" for index in range(task.n_logits)] if task.n_logits > 1 else [key]


def _models(results: RunResults) -> dict[str, Model]:
    every = {**results.models, **{f"{OWN}{name}": model for name, model in results.teachers.items()}}
    return {key: model for key, model in every.items() if model.logits is not None and model.calibration is not None}


def _about(table: pa.Table, file: Path | str = "the file") -> dict[str, Any]:
    metadata = table.schema.metadata or {}
    if KEY not in metadata:
        raise DataError(f"{file} has no metadata {KEY.decode()!r}; it does not hold test logits")
    return dict(json.loads(metadata[KEY]))


def _results(rows: pa.Table, about: Mapping[str, Any], seed: int) -> RunResults:
    task = Task.from_json(about["task"])
    models, teachers = {}, {}
    for key, entry in about["models"].items():
        logits = one_column(np.stack([rows[name].to_numpy() for name in _columns(key, task)], 1))
        scores = Calibration(entry["scale"], tuple(entry["bias"])).apply(logits).astype(entry["dtype"])
        model = Model(scores, entry["threshold"], logits=logits)
        if key.startswith(OWN):
            teachers[key.removeprefix(OWN)] = model
        else:
            models[key] = model
    groups = rows["group"].to_pylist()
    return RunResults(
        name=about["name"],
        task=task,
        columns=[rows["row"].to_pylist()] * len(task.fields),
        labels=rows["label"].to_numpy(),
        models=models,
        teachers=teachers,
        groups=None if None in groups else groups,
        headline=about["headline"],
        resamples=about["resamples"],
        seed=about["seed"],
        config={"training": {"seed": seed}, "twin": {"seed": seed}},
    )
