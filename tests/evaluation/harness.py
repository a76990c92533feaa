"""The harness of evaluation's tests: random scores that follow labels, and the results of runs made of them."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tfb2d.data.task import Task
from tfb2d.evaluation.models import Model
from tfb2d.evaluation.results import RunResults

seeds = st.integers(0, 2**32 - 1)
NASTY = "<script>alert('x')</script> & \"quoted\" <img src=http://evil.example/a.png onerror=alert(1)> {{ 7 * 7 }}"
TIMES = {
    "single_ms": {"p50": 0.12, "p99": 0.31},
    "batch_rows": 256,
    "batch_ms": {"p50": 1, "p99": 2},
    "rows_per_second": 9e4,
}
SLOW = {
    "single_ms": {"p50": 12.0, "p99": 19.0},
    "batch_rows": 64,
    "batch_ms": {"p50": 99, "p99": 120},
    "rows_per_second": 320,
}


def labelled(seed: int, rows: int, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both sides and scores that lean their way, with ties where they take few steps."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, rows)
    labels[:2] = 0, 1
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + 1.5 * generator.normal(size=rows))))
    return labels, np.round(scores * steps) / steps if steps else scores


def labelled_classes(seed: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of every class, and scores that sum to one and lean their way."""
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(classes), generator.integers(0, classes, rows))
    scores = generator.dirichlet(np.ones(classes), len(labels))
    scores[np.arange(len(labels)), labels] += 0.3
    return labels, scores / scores.sum(1, keepdims=True)


def run_results(
    kind: str = "binary", rows: int = 120, models: dict[str, Any] | None = None, **changes: Any
) -> RunResults:
    """Returns the results of a run; `models` changes its teacher, student and labels_only, by Model or by None for none."""
    labels, student = labelled_classes(0, rows - 3, 3) if kind == "multiclass" else labelled(0, rows)
    _, teacher = labelled_classes(0, rows - 3, 3) if kind == "multiclass" else labelled(0, rows)
    teacher = teacher**2 / (teacher**2).sum(1, keepdims=True) if kind == "multiclass" else np.clip(teacher + 0.1, 0, 1)
    tasks = {
        "binary": Task(("text",), "binary", ("rotten", "fresh")),
        "graded": Task(("query", "title"), "graded", (), "grade", (1.0, 3.0)),
        "multiclass": Task(("text",), "multiclass", ("sport", "<b>politics</b>", "trade")),
    }
    texts = [f"{row} {NASTY}" for row in range(rows)]
    given: dict[str, Any] = {
        "name": "quick & <i>dirty</i>",
        "task": tasks[kind],
        "columns": [texts] * len(tasks[kind].fields),
        "labels": labels,
        "groups": [str(row // 4) for row in range(rows)],
        "data": {"train": 1000, "test": rows, "rejected": 3, "leaked": 41, "reasons": {"<NUL> byte": 3}},
        "seconds": {"data": 1.5, "student": 75.0},
        "config": {"student": {"orders": (1, 2)}, "path": Path("a"), "note": "<script>"},
        "versions": {"tfb2d": "0.1.0"},
        "command": "python -m tfb2d.train --config='a b.py'",
        "resamples": 50,
    }
    slow = [{"epoch": e, "loss": 1 / e, "valid_loss": 1.1 / e, "valid_accuracy": 0.7} for e in (1, 2, 3)]
    fast = [{"epoch": 1, "loss": 0.5, "valid_loss": float("nan"), "seconds": 3.0}]
    all_models = {
        "teacher": Model(teacher, history=slow, latency=SLOW, size_mb=90.0),
        "student": Model(student, history=fast, latency=TIMES, size_mb=17.0, folder="saved_models/quickstart/1"),
        "labels_only": Model(np.roll(student, 3, axis=0)),
    } | (models or {})
    kept = {key: model for key, model in all_models.items() if model is not None}
    return RunResults(**given | {"models": kept} | changes)


def graded_twin_and_bm25() -> RunResults:
    """Grades of pairs: a twin beside the student, and BM25, whose scores follow the labels a little."""
    labels = np.asarray(run_results("graded").labels, float)
    generator = np.random.default_rng(1)
    twin = np.clip(0.3 + 0.3 * labels + 0.2 * generator.random(120), 0, 1)
    words = np.clip(0.4 + 0.02 * labels + 0.2 * generator.random(120), 0, 1)
    return run_results(
        "graded",
        models={
            "twin": Model(
                twin, history=[{"epoch": 1, "valid_loss": 0.4}], latency=TIMES, embed_latency=TIMES, size_mb=8.0
            ),
            "bm25": Model(words),
        },
    )
