"""Students of every shape go through the harness; what is particular to one is checked beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.students.harness import run_student_test, some_texts
from tfb2d.config import StudentConfig
from tfb2d.data.errors import DataError
from tfb2d.data.task import Task
from tfb2d.students import text_spec
from tfb2d.students.model import Student, load_student

SMALL = StudentConfig(buckets=997, dim=8, ffn=(16, 8), soft_buckets=101, max_tokens=64)
TEXT = Task(("text",))
PAIR = Task(("query", "title"))
PLAIN = replace(SMALL, products=False, differences=False, matched=False, soft_match=False)


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (TEXT, SMALL),
        (TEXT, replace(SMALL, orders=(1,), ffn=())),
        (TEXT, replace(SMALL, window=3)),
        (TEXT, replace(SMALL, window=2, convolutions=(1, 3))),
        (Task(("text",), "multiclass", ("a", "b", "c")), replace(SMALL, orders=(1, 2, 3))),
        (PAIR, SMALL),
        (PAIR, PLAIN),
        (Task(("query", "title"), "graded", label_range=(1.0, 3.0)), replace(PLAIN, matched=True)),
    ],
    ids=["text", "linear", "composed", "convolved", "multiclass", "pair", "concatenation", "matched"],
)
def test_harness(task: Task, config: StudentConfig, tmp_path: Path) -> None:
    run_student_test(task, config, tmp_path)


def test_rank_equals_pairs_scored_one_by_one() -> None:
    student = Student(PAIR, SMALL, 1)
    queries, titles = (column[:6] for column in some_texts(PAIR, 20))
    logits = student.score_titles(tf.constant(queries), tf.constant([titles] * 6)).numpy()
    for i, query in enumerate(queries):
        alone = student.model([tf.constant([query] * 6), tf.constant(titles)]).numpy()
        np.testing.assert_allclose(logits[i], alone, atol=1e-5)


def test_interaction_sees_a_match_across_fields() -> None:
    # Without interaction a linear-in-pools student cannot tell a matching title from another; with it the features differ.
    student = Student(PAIR, SMALL, 1)
    ragged = student.tokens(tf.constant(["red shoe"])), student.tokens(tf.constant(["red shoe red hat"]))
    vectors = [student.ngrams(one) for one in ragged]
    out = student.matched(*ragged, *vectors, tf.constant([0], tf.int64)).numpy()[0]
    # Shares of n-grams that match: title words 3 of 4 (red, shoe, red), title pairs 1 of 4 ("red shoe"; the query's other
    # pair is "shoe" at its end); query words 2 of 2, query pairs 1 of 2.
    np.testing.assert_allclose(out[-4:], [0.75, 0.25, 1.0, 0.5], atol=1e-6)


def test_start_from_gives_words_the_teachers_geometry() -> None:
    student = Student(PAIR, replace(SMALL, buckets=2**16, soft_buckets=2**16), 1)
    words = ["good", "great", "awful"]
    vectors = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    hashes = np.concatenate([text_spec.token_hashes(word, 9) for word in words])
    student.start_from(hashes, vectors)
    for layer in (student.ngrams, student.kernels.embedding):
        ids = text_spec.ngram_ids(hashes, (1,), layer.buckets)[:, 0]
        good, great, awful = tf.gather(layer.table, ids).numpy()
        assert np.linalg.norm(good) == pytest.approx((1 / 3) ** 0.5, rel=1e-5)
        assert good @ great > 0.9 * good @ good
        assert good @ awful < 0.5 * good @ good


def test_a_student_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Student(TEXT, SMALL).save(tmp_path)
    monkeypatch.setitem(text_spec.SPEC, "version", 99)
    with pytest.raises(DataError, match="train it again"):
        load_student(tmp_path)
