"""Compares students of one teacher on a graded test split, and keeps the logits: a reader recomputes every figure.

  python results/graded.py --output=results/graded runs/graded runs/graded-1 runs/graded-2  # trains nothing
  python results/graded.py --output=results/graded                                          # reads graded.parquet alone

The runs share data and teacher, and differ in `training.seed`. The first form writes `graded.parquet`: of each test row a
hash of query and title, a hash of the query, the label within [0, 1], and the logits of the teacher and of each student.
Both forms print the figures and write them into `graded.json`. Intervals draw queries with replacement, teacher and
student together. A label from 0.5 on is positive.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import write_json
from tfb2d.data.keys import hash64
from tfb2d.data.tables import read_table
from tfb2d.evaluation.bootstrap import Bootstrap
from tfb2d.probability import probabilities
from tfb2d.runs import Run

MEASURES = ("roc_auc", "spearman", "ndcg10")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="path of the two files, without their endings")
    options = parser.parse_args()
    table = options.output.with_suffix(".parquet")
    if options.runs:
        pq.write_table(logits_of([Run(folder, progress=False) for folder in options.runs]), table, compression="zstd")
    figures = measured(pq.read_table(table))
    for name, values in figures.items():
        print(name, values)
    write_json(options.output.with_suffix(".json"), figures)


def logits_of(runs: Sequence[Run]) -> pa.Table:
    """Returns a row a test row: `row` and `query` (16 hex digits), `label`, `teacher`, `student_0`, `labels_only_0`, ..."""
    from tfb2d.students.model import load_student, score_texts

    test = read_table(runs[0].split("test"))
    config = runs[0].config()
    columns = [test[field].to_pylist() for field in config.data.fields]
    (teacher,) = config.teachers
    logits = {"teacher": read_table(runs[0].logits(teacher, "test"), ["logit"])["logit"].to_numpy()}
    for seed, run in enumerate(runs):
        for kind, folder in (("student", run.student), ("labels_only", run.labels_only)):
            if run.finished(kind):
                logits[f"{kind}_{seed}"] = score_texts(load_student(folder).model, columns)[:, 0]
    keys = {
        "row": [f"{hash64(chr(0).join(texts)):016x}" for texts in zip(*columns, strict=True)],
        "query": [f"{hash64(query):016x}" for query in columns[0]],
    }
    return pa.table({**keys, "label": test["label"], **{k: v.astype(np.float32) for k, v in logits.items()}})


def measured(table: pa.Table) -> dict[str, Any]:
    """Returns figures of each model with 95% intervals, and what each student keeps of its teacher's."""
    labels = table["label"].to_numpy().astype(np.float64)
    models = [name for name in table.column_names if name not in ("row", "query", "label")]
    scores = {name: probabilities(table[name].to_numpy()[:, None].astype(np.float64)) for name in models}
    bootstrap = Bootstrap("graded", labels, scores, groups=table["query"].to_pylist())
    figures: dict[str, Any] = {"rows": len(labels), "queries": len(set(table["query"].to_pylist()))}
    for name in models:
        figures[name] = {measure: bootstrap.interval(name, measure) for measure in MEASURES}
        if name != "teacher":
            kept = {measure: bootstrap.ratio(name, "teacher", measure) for measure in MEASURES}
            figures[name]["kept"] = kept
    return figures


if __name__ == "__main__":
    main()
