"""Compares students of one teacher on a graded test split, and keeps the logits: a reader recomputes every figure.

  python results/graded.py --output=results/graded runs/graded{,-1,-2} --before runs/before{,-1,-2}  # trains nothing
  python results/graded.py --output=results/graded                                    # reads graded.parquet alone

The runs share data and teacher. Those of a list differ in `training.seed`, and the lists in other settings: `--before`
takes the runs of earlier defaults. The first form writes `graded.parquet`: of each test row a hash of query and title, a
hash of the query, the label within [0, 1], and the logits of the teacher and of each student.
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
from tfb2d.evaluation.bootstrap import Bootstrap, interval_of
from tfb2d.probability import probabilities
from tfb2d.runs import Run

MEASURES = ("roc_auc", "spearman", "ndcg10")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--before", nargs="*", type=Path, default=[], help="runs of earlier defaults")
    parser.add_argument("--output", type=Path, required=True, help="path of the two files, without their endings")
    options = parser.parse_args()
    table = options.output.with_suffix(".parquet")
    if options.runs:
        lists = [[Run(folder, progress=False) for folder in folders] for folders in (options.runs, options.before)]
        pq.write_table(logits_of(*lists), table, compression="zstd")
    figures = measured(pq.read_table(table))
    for name, values in figures.items():
        print(name, values)
    write_json(options.output.with_suffix(".json"), figures)


def logits_of(runs: Sequence[Run], before: Sequence[Run]) -> pa.Table:
    """Returns a row a test row: `row` and `query` (16 hex digits), `label`, `teacher`, `student_0`, `before_0`, ..."""
    from tfb2d.students.model import load_student, score_texts

    test = read_table(runs[0].split("test"))
    config = runs[0].config()
    columns = [test[field].to_pylist() for field in config.data.fields]
    (teacher,) = config.teachers
    logits = {"teacher": read_table(runs[0].logits(teacher, "test"), ["logit"])["logit"].to_numpy()}
    students = [(f"student_{seed}", run.student) for seed, run in enumerate(runs)]
    students += [(f"before_{seed}", run.student) for seed, run in enumerate(before)]
    students += [
        (f"labels_only_{seed}", run.labels_only) for seed, run in enumerate(runs) if run.finished("labels_only")
    ]
    for name, folder in students:
        logits[name] = score_texts(load_student(folder).model, columns)[:, 0]
    keys = {
        "row": [f"{hash64(chr(0).join(texts)):016x}" for texts in zip(*columns, strict=True)],
        "query": [f"{hash64(query):016x}" for query in columns[0]],
    }
    return pa.table({**keys, "label": test["label"], **{k: v.astype(np.float32) for k, v in logits.items()}})


def measured(table: pa.Table) -> dict[str, Any]:
    """Returns figures of the teacher and of each kind of student, with 95% intervals.

    A student's figures are means over its seeds, in each resample too; `by_seed` has the single ones. `kept` is the
    quotient to the teacher's figures, and `gained` the difference to the earlier defaults' students.
    """
    labels = table["label"].to_numpy().astype(np.float64)
    models = [name for name in table.column_names if name not in ("row", "query", "label")]
    scores = {name: probabilities(table[name].to_numpy()[:, None].astype(np.float64)) for name in models}
    bootstrap = Bootstrap("graded", labels, scores, groups=table["query"].to_pylist())
    kinds: dict[str, list[str]] = {}
    for name in models:
        kinds.setdefault(name.rstrip("0123456789").rstrip("_"), []).append(name)

    def of(kind: str, measure: str) -> np.ndarray:
        return np.mean([bootstrap.figures(name, measure) for name in kinds[kind]], 0)

    figures: dict[str, Any] = {"rows": len(labels), "queries": len(set(table["query"].to_pylist()))}
    for kind, names in kinds.items():
        figures[kind] = {measure: interval_of(of(kind, measure)) for measure in MEASURES}
        if kind == "teacher":
            continue
        figures[kind]["by_seed"] = {
            measure: [bootstrap.values[name][measure] for name in names] for measure in MEASURES
        }
        figures[kind]["kept"] = {
            measure: interval_of(of(kind, measure) / of("teacher", measure)) for measure in MEASURES
        }
    if "before" in kinds:
        gained = {measure: interval_of(of("student", measure) - of("before", measure)) for measure in MEASURES}
        figures["student"]["gained"] = gained
    return figures


if __name__ == "__main__":
    main()
