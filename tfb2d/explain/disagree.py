"""Lists rows that teacher and student decide differently, with what is unusual about them by measurement.

A reason is never guessed. Every row is measured. A value is unusual where it lies beyond nine tenths of the rows on which
the two agree. The table above the list says how often that happens where they differ and where they agree. That says where
to look; it proves no cause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.files import expand
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError, counted
from tfb2d.evaluation.examples import label_text
from tfb2d.evaluation.models import covered
from tfb2d.evaluation.scorer import field_columns
from tfb2d.evaluation.scores import Floats, agreement, distances, hits
from tfb2d.evaluation.table import percent
from tfb2d.evaluation.teacher_scores import teacher_scores
from tfb2d.explain.measures import MEASURES, measures, seen_in_transfer
from tfb2d.explain.source import Source
from tfb2d.explain.views import class_name
from tfb2d.probability import one_column

UNUSUAL = 0.9  # share of the agreeing rows beyond which a value is unusual


@dataclass(frozen=True)
class TeacherRows:
    """Rows with the teacher's probabilities."""

    columns: list[list[str]]  # texts, one list a field
    labels: np.ndarray  # `[n]`, NaN where there is none
    teacher: np.ndarray  # `[n]` or `[n, k]` probabilities, NaN where there is none
    origin: str  # where the rows come from, for the reader


@dataclass(frozen=True)
class Row:
    """Holds a row on which teacher and student differ; `why` is a sentence about its unusual measures."""

    texts: tuple[str, ...]
    label: str
    teacher: str
    student: str
    why: str
    measured: dict[str, float]


@dataclass(frozen=True)
class Case:
    """Holds the case study: its rows, and how often each measure is unusual."""

    rows: list[Row]  # the largest differences first
    lead: str  # what was compared
    shares: dict[str, tuple[float, float]]  # measure to (share unusual of the differing rows, of the agreeing rows)

    def table(self) -> list[list[str]]:
        """Returns the measures as text, under a row of titles."""
        return [
            ["measure", "unusual where they differ", "where they agree", "ratio"],
            *(
                [MEASURES[name].title, percent(differ), percent(same), f"{differ / same:.2f}" if same else "–"]
                for name, (differ, same) in self.shares.items()
            ),
        ]


def from_run(source: Source, split: str) -> TeacherRows:
    """Reads a run's split, with its teachers' logits stacked as for the student and calibrated on validation.

    Raises DataError where the student does not come from a run folder, or the run is not finished.
    """
    from tfb2d.distill.targets import stacked_logits
    from tfb2d.evaluation.calibration import calibrate_known
    from tfb2d.students.stage import learnt_stack

    run, task = source.run, source.student.task
    if run is None or not run.finished("student"):
        raise DataError(f"{source.folder} is no part of a run; --data and --teacher_logits name the rows")
    stack = learnt_stack(run)
    teachers = list(run.config().teachers)
    if len(teachers) != len(stack.weights):
        raise DataError(
            f"{run.folder}: its settings name {len(teachers)} teachers, its student learnt from {len(stack.weights)}; "
            "tfb2d train brings it up to date"
        )
    logits = {
        part: one_column(stacked_logits([run.logits(name, part) for name in teachers], task, stack))
        for part in {"valid", split}
    }
    labels = {part: read_table(run.split(part), ["label"])["label"].to_numpy() for part in logits}
    teacher = calibrate_known(task, labels["valid"], logits["valid"]).apply(logits[split])
    table = read_table(run.split(split), task.fields)
    columns = [table.column(name).to_pylist() for name in task.fields]
    return TeacherRows(columns, labels[split].astype(np.float64), teacher, f"the {split} split of {run.folder}")


def from_files(
    source: Source, files: Sequence[str], teacher: Sequence[str], fields: Sequence[str], quoting: str = "auto"
) -> TeacherRows:
    """Reads rows of files, and looks the teacher's scores up by their texts; labels may be missing.

    Rows whose texts no model can read are left out, and counted in `origin`. `fields` are columns of text fields that have
    other names, each FIELD=COLUMN. Raises DataError for files that cannot be used, or no teacher's scores.
    """
    if not teacher:
        raise DataError("--disagree with --data needs the teacher's scores of these rows: --teacher_logits=FILES")
    task = source.student.task
    reading = Reading(quoting=quoting)
    names, columns, labels = field_columns(task.fields, fields), [[] for _ in task.fields], []  # type: ignore[var-annotated]
    rejects = Rejects(None, 1.0)
    for path in expand(files):
        for row in read_checked_rows(path, names, rejects, others=[task.label], reading=reading):
            for column, text in zip(columns, row.texts, strict=True):
                column.append(text)
            label = task.read_label(row.others[0])
            labels.append(np.nan if label is None else label)
    if not labels:
        raise DataError(f"{', '.join(files)}: no row that can be read")
    left_out = f" (left out: {counted(rejects.count, 'row')} that cannot be read)" if rejects.count else ""
    scores, _ = teacher_scores(task, teacher, columns, reading)
    return TeacherRows(columns, np.array(labels), scores, ", ".join(files) + left_out)


def measure(source: Source, compared: TeacherRows, rows: int) -> Case:
    """Measures all rows, and lists some on which the two differ; raises DataError where the teacher scored none."""
    from tfb2d.students.model import score_texts

    task = source.student.task
    logits = score_texts(source.student.model, compared.columns)
    student = source.calibration.apply(one_column(logits))
    known = np.flatnonzero(covered(compared.teacher))
    if not len(known):
        raise DataError(f"{compared.origin}: no row has a teacher's score")
    columns = [[column[at] for at in known] for column in compared.columns]
    labels, teacher, student = compared.labels[known], compared.teacher[known], student[known]
    agree = agreement(teacher, student)
    seen = None if source.run is None else seen_in_transfer(source.student, columns, source.run)
    measured = measures(source.student, columns, teacher, seen)
    unusual = {name: _unusual(measured[name], agree, MEASURES[name].low) for name in measured}
    order = [at for at in np.argsort(-distances(teacher, student), kind="stable") if not agree[at]]
    middle = {name: float(np.median(values[agree])) if agree.any() else 0.0 for name, values in measured.items()}
    listed = [
        Row(
            tuple(column[at] for column in columns),
            label_text(task, labels[at]),
            _score_text(task, teacher[at]),
            _score_text(task, student[at]),
            _why({name: values[at] for name, values in measured.items() if unusual[name][at]}, middle),
            {name: float(values[at]) for name, values in measured.items()},
        )
        for at in order[:rows]
    ]
    shares = {name: (_share(flags, ~agree), _share(flags, agree)) for name, flags in unusual.items()}
    lead = f"{compared.origin}: teacher and student decide {len(order):,} of {len(known):,} rows differently"
    return Case(listed, lead + _right(task, labels, teacher, student, ~agree), shares)


def _share(flags: NDArray[np.bool_], rows: NDArray[np.bool_]) -> float:
    return float(flags[rows].mean()) if rows.any() else 0.0


def _unusual(values: np.ndarray, agree: NDArray[np.bool_], low: bool) -> NDArray[np.bool_]:
    """Says which values lie beyond UNUSUAL of those where the two agree, towards the suspicious end."""
    if not agree.any():
        return np.zeros(len(values), np.bool_)
    usual = np.quantile(values[agree], 1 - UNUSUAL if low else UNUSUAL)
    return values < usual if low else values > usual


def _why(unusual: dict[str, float], middle: dict[str, float]) -> str:
    if not unusual:
        return "No measure is unusual here."
    reasons = [MEASURES[name].describe(value, middle[name]) for name, value in unusual.items()]
    return "Unusual: " + "; ".join(reasons) + "."


def _right(task: Task, labels: Floats, teacher: Floats, student: Floats, differ: NDArray[np.bool_]) -> str:
    """Says how often each is right on the rows on which they differ; nothing without labels."""
    labelled = differ & np.isfinite(labels)
    if not labelled.any():
        return ""
    right = [percent(hits(task.kind, labels[labelled], scores[labelled]).mean()) for scores in (teacher, student)]
    return f"; the teacher is right on {right[0]} of these, the student on {right[1]}"


def _score_text(task: Task, score: Any) -> str:
    if np.ndim(score):
        best = int(np.argmax(score))
        return f"{task.classes[best]} {score[best]:.3f}"
    return f"{class_name(task, 0)} {score:.3f}".strip()
