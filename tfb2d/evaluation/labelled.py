"""Scores labelled rows with an exported model, and evaluates the scores against labels and a teacher."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.config import DataConfig
from tfb2d.data.examples import read_examples
from tfb2d.data.files import expand
from tfb2d.data.readers import AS_USUAL, Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.task import Task
from tfb2d.evaluation.batch import file_bar
from tfb2d.evaluation.bm25 import BY_ORDER, bm25_shares
from tfb2d.evaluation.bootstrap import Bootstrap
from tfb2d.evaluation.headline import headline_measure
from tfb2d.evaluation.models import covered
from tfb2d.evaluation.ranking import ndcg_groups
from tfb2d.evaluation.results import against_teacher
from tfb2d.evaluation.scorer import Float32, Scorer
from tfb2d.evaluation.scores import Floats, agreement
from tfb2d.evaluation.teacher_scores import teacher_scores, teacher_warnings

COMPARED = ("fidelity", "retention", "headline_retention", "over_bm25", "ndcg10_over_bm25")  # of `against_teacher`


@dataclass(frozen=True)
class ScoredRows:
    """Holds labelled rows and their scores."""

    columns: list[list[str]]  # texts, one list a field
    labels: Floats  # [n]
    scores: Float32  # [n] or [n, k]
    groups: NDArray[Any] | None  # [n], where there is a group column
    reasons: dict[str, int]  # rejected rows, by reason
    reading: Reading = AS_USUAL  # how files are read, those of the teacher's scores too


def score_labelled_rows(
    scorer: Scorer,
    files: Sequence[str | Path],
    *,
    texts: Sequence[str] | None = None,
    label: str = "",
    group: str = "",
    reading: Reading = AS_USUAL,
    progress: bool = True,
) -> ScoredRows:
    """Reads labelled files and scores their rows, batch by batch; the result is held in memory.

    `texts` are the columns with the text fields, `label` and `group` those of labels and groups. By default they are
    called as in training, and pairs are grouped by query. Raises DataError for a file that cannot be used or too many
    rejected rows, ConfigError for columns that exclude each other.
    """
    task, rejects = scorer.task, Rejects(None, reading.max_rejected)
    data = DataConfig(
        fields=task.fields,
        label=label or task.label,
        classes=task.classes,
        label_range=task.label_range,
        group=group,
        **reading._asdict(),
    )
    columns: list[list[str]] = [[] for _ in task.fields]
    labels: list[NDArray[np.float32]] = []
    scores: list[Float32] = []
    groups: list[str] = []
    with file_bar(expand(files), progress) as bar:
        advance = lambda count: bar.update(count) and None  # noqa: E731
        for batch in read_examples(files, data, labelled=True, rejects=rejects, columns=texts, progress=advance):
            batch_texts = [batch.column(name).to_pylist() for name in task.fields]
            for column, more in zip(columns, batch_texts, strict=True):
                column += more
            labels.append(batch.column("label").to_numpy())
            scores.append(scorer.score(batch_texts)[0])
            if group:
                groups += batch.column("group").to_pylist()
            bar.set_postfix_str(f"{len(columns[0]):,} rows", False)
    if not group and len(task.fields) == 2:
        groups = columns[0]
    return ScoredRows(
        columns,
        np.concatenate(labels).astype(np.float64),
        np.concatenate(scores),
        np.asarray(groups, object) if groups else None,
        dict(rejects.reasons),
        reading,
    )


def evaluate(
    task: Task,
    scored: ScoredRows,
    teacher_files: Sequence[str | Path] = (),
    *,
    decision: Mapping[str, float] | None = None,
    bm25: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluates scores against the labels, beside BM25, and against a teacher's scores where there are files of them.

    Args:
      task: the model's.
      scored: labelled rows and their scores.
      teacher_files: see `teacher_scores`.
      decision: of the model's card (`Scorer.about`): "threshold", and "f1", "precision", "recall" on validation. With it
        the student has F1, precision and recall on these rows, too.
      bm25: whether BM25 scores pairs as well; the documents are the titles of these rows.
      resamples, seed: of the bootstrap.

    Returns:
      The figures, as `tfb2d evaluate --json` writes them. `student` is measured on all rows, `teacher` on the rows with its
      score, where fidelity and retention compare the two; without a teacher these are None. `retention` is of accuracy,
      `headline_retention` and `over_bm25` are of the task's headline measure. `bm25` has the measures of order alone
      (`BY_ORDER`), since its scores are no probabilities; it is None of single texts and of several classes.

    Raises:
      DataError: see `teacher_scores`.
    """
    draws: dict[str, Any] = {"resamples": resamples, "seed": seed}
    thresholds = {} if decision is None else {"student": decision["threshold"]}
    models: dict[str, Any] = {"student": scored.scores}
    pairs = len(task.fields) == 2
    if bm25 and pairs and task.kind != "multiclass":
        models["bm25"] = bm25_shares(*scored.columns)
    whole = Bootstrap(task, scored.labels, models, scored.groups, thresholds=thresholds, **draws)
    figures: dict[str, Any] = {
        "task": task.to_json(),
        "rows": len(scored.labels),
        "groups": None if scored.groups is None else len(set(scored.groups.tolist())),
        "ndcg_groups": None if scored.groups is None else ndcg_groups(task, scored.labels, scored.groups),
        "rejected": sum(scored.reasons.values()),
        "reasons": scored.reasons,
        "student": whole.intervals("student"),
        "bm25": None,
        "decision": None if decision is None else dict(decision),
        "headline_measure": headline_measure(task, scored.labels, pairs=pairs),
        **dict.fromkeys(("teacher", "teacher_rows", "teacher_matches", *COMPARED)),
        "warnings": [],
    }
    if "bm25" in models:
        figures["bm25"] = {name: value for name, value in whole.intervals("bm25").items() if name in BY_ORDER}
    if not teacher_files:
        return figures
    scores, matches = teacher_scores(task, teacher_files, scored.columns, scored.reading)
    rows = covered(scores)
    both: dict[str, ArrayLike] = {"teacher": scores[rows]} | {name: own[rows] for name, own in models.items()}
    groups = None if scored.groups is None else scored.groups[rows]
    shares = {"student": agreement(both["teacher"], both["student"])}
    paired = Bootstrap(task, scored.labels[rows], both, groups, shares=shares, **draws)
    compared = against_teacher(paired, "student", figures["headline_measure"], pairs)
    if figures["headline_measure"] not in BY_ORDER:
        compared.pop("over_bm25", None)
    retained = compared["retention"]["value"]
    return figures | {
        **{name: compared[name] for name in COMPARED if name in compared},
        "teacher": paired.intervals("teacher"),
        "warnings": teacher_warnings(task, scored.labels[rows], paired.values["teacher"], retained),
        "teacher_rows": int(rows.sum()),
        "teacher_matches": dataclasses.asdict(matches),
    }
