"""What variants learn from: nested subsets, targets, the vocabulary's lookup, collisions."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.sweep.made_run import AUGMENTED, CONFIG, LABELLED, UNLABELLED
from tfb2d.data.tables import read_table
from tfb2d.distill.targets import soft_targets
from tfb2d.students import ngrams, text_spec
from tfb2d.students import rows as hashed
from tfb2d.students.model import Student
from tfb2d.sweep import vocabulary
from tfb2d.sweep.collisions import Collisions
from tfb2d.sweep.run_data import RunData
from tfb2d.sweep.settings import base

BASE = base(CONFIG)


def test_smaller_sets_lie_within_larger_ones_and_the_labelled_rows_in_all(run_data: RunData) -> None:
    sizes = [0, 10, 50, 100, UNLABELLED + AUGMENTED]
    chosen = [set(run_data.chosen(replace(BASE, rows=size))) for size in sizes]
    assert [len(single) for single in chosen] == [LABELLED + size for size in sizes]
    assert all(small <= large for small, large in pairwise(chosen))
    assert chosen[0] == set(range(LABELLED))
    assert chosen[-1] == set(run_data.chosen(BASE))
    plain = run_data.chosen(replace(BASE, augmented=False))
    assert len(plain) == LABELLED + UNLABELLED
    assert plain.max() < LABELLED + UNLABELLED


@pytest.mark.parametrize("hard_weight", [0.0, 0.4])
def test_targets_are_those_of_a_run(run_data: RunData, hard_weight: float) -> None:
    distill = replace(CONFIG.distill, temperature=2.0, hard_weight=hard_weight)
    settings = replace(BASE, distill=distill)
    folders = [run_data.run.logits(name) for name in CONFIG.teachers]
    data = run_data.run.split("transfer")
    theirs = soft_targets(data, folders, run_data.task, run_data.stack(settings), distill)
    ours = run_data.learn_from(settings)
    known = np.isfinite(theirs[:, 0])
    assert known.sum() == len(theirs) - 5
    np.testing.assert_array_equal(ours.targets, theirs[known])
    np.testing.assert_array_equal(ours.index, np.flatnonzero(known))


def test_hard_targets(run_data: RunData) -> None:
    labels = run_data.learn_from(replace(BASE, targets="labels"))
    np.testing.assert_array_equal(labels.targets[:, 0], run_data.labels["transfer"][:LABELLED])
    decided = run_data.learn_from(replace(BASE, targets="decisions"))
    logits = run_data.teacher(BASE, "transfer")[decided.index]
    np.testing.assert_array_equal(decided.targets, logits > 0)


def test_a_batch_is_of_the_rows_chosen(run_data: RunData) -> None:
    training_rows = run_data.learn_from(replace(BASE, rows=20))
    index = np.array([3, 70, 0])
    (ragged,), targets = training_rows.batch(index)
    ((hashes, splits),) = run_data.rows["transfer"].flat(training_rows.index[index])
    assert ragged.values.numpy().tolist() == hashes.tolist()
    assert ragged.row_splits.numpy().tolist() == splits.tolist()
    np.testing.assert_array_equal(targets, training_rows.targets[index])


def test_a_vocabulary_gives_frequent_ngrams_a_row_each(run_data: RunData) -> None:
    rows = run_data.rows["transfer"]
    texts = read_table(run_data.run.split("transfer"), ["text"])["text"].to_pylist()
    counts: Counter[str] = Counter()
    for text in texts:
        for order in (1, 2):
            counts.update(ngrams.names([word.encode() for word in text.split()], order))
    ids = vocabulary.frequent(rows, (1, 2), 20, np.arange(rows.n))
    assert len(ids) == 20
    student = Student(run_data.task, replace(CONFIG.student, buckets=len(ids) + 1))
    vocabulary.use(student, ids)
    ragged = hashed.ragged(*rows.flat(rows.index)[0])
    table_rows = np.asarray(student.ngrams.ids(ragged))
    names = [n for text in texts for n in zip(*(ngrams.names(text.encode().split(), o) for o in (1, 2)), strict=True)]
    by_row: dict[int, set[str]] = {}
    for row, name in zip(table_rows.ravel(), np.array(names).ravel(), strict=True):
        by_row.setdefault(int(row), set()).add(str(name))
    least = sorted(counts.values())[-20]
    assert all(len(names) == 1 and counts[next(iter(names))] >= least for row, names in by_row.items() if row)
    assert len(by_row) == 21
    hashes, vectors = run_data.words(BASE)
    before = student.ngrams.table.numpy()
    vocabulary.start_from(student, ids, hashes, vectors)
    moved = np.flatnonzero((student.ngrams.table.numpy() != before).any(1))
    assert {name for row in moved for name in by_row[int(row)]} == {
        n for r in by_row if r for n in by_row[r] if " " not in n
    }


def test_collisions_are_counted(run_data: RunData) -> None:
    collisions = Collisions(run_data)
    (keys, counts) = ngrams.distinct(run_data.rows["transfer"], 1)
    settings = replace(BASE, student=replace(BASE.student, orders=(1,), buckets=5))
    rows = text_spec.rows_of(keys, 5)
    shared = np.array([np.sum(rows == row) > 1 for row in rows])
    counted = collisions.count(settings)
    assert counted == {
        "ngrams": len(keys),
        "shared": pytest.approx(shared.mean()),
        "shared_weighted": pytest.approx(counts[shared].sum() / counts.sum()),
    }
    huge = collisions.count(replace(settings, student=replace(settings.student, buckets=2**30)))
    assert huge["shared"] == 0
    few = collisions.count(replace(settings, vocabulary=4))
    assert few["shared"] == pytest.approx(1 - 4 / len(keys))
