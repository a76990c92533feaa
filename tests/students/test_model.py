"""Students of every shape go through the harness; what is particular to one is checked beside it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.students import harness
from tests.students.harness import PAIR, TEXT, PlainTensorFlow, run_student_test
from tfb2d.config import StudentConfig
from tfb2d.errors import DataError
from tfb2d.students import text_spec
from tfb2d.students.hashing import hash_rows
from tfb2d.students.model import Student, load_student
from tfb2d.students.rows import TrainingRows

SMALL = replace(harness.SMALL, buckets=997, ffn=(16, 8))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainTensorFlow]:
    with PlainTensorFlow(tmp_path_factory.mktemp("plain")) as process:
        yield process


# Shapes whose parts other shapes have, too.
COVERED = ("linear", "composed", "convolved", "wide", "narrowed", "exit of classes", "vocabulary", "affixes")
COVERED += ("concatenation",)


@pytest.mark.parametrize(
    "shape", [pytest.param(name, marks=[pytest.mark.slow] * (name in COVERED)) for name in harness.SHAPES]
)
def test_harness(shape: str, tmp_path: Path, plain: PlainTensorFlow) -> None:
    run_student_test(*harness.SHAPES[shape], tmp_path, plain)


def test_weights_are_saved_in_an_order_that_stays() -> None:
    # Files hold weights by their order, so another one would spoil every saved student.
    def names(config: StudentConfig) -> list[str]:
        return [weight.name.split(":")[0] for weight in Student(PAIR, config).trunk.weights]

    dense = ["query_dense/kernel", "first_dense/kernel", "first_dense/bias", "dropout_0/step", "dense_0/kernel"]
    dense += ["dense_0/bias", "dropout_1/step", "dense_1/kernel", "dense_1/bias"]
    small = names(SMALL)
    assert small[0::2][:2] == ["ngrams/table", "kernels/soft_tokens/table"]
    assert small[4:] == dense
    assert len({*small}) == len(small)
    assert names(replace(harness.PLAIN, ffn=(16, 8)))[2:] == dense


def test_interaction_sees_a_match_across_fields() -> None:
    # Without interaction a linear-in-pools student cannot tell a matching title from another; with it the features differ.
    student = Student(PAIR, SMALL, 1)
    ragged = student.tokens(tf.constant(["red shoe"])), student.tokens(tf.constant(["red shoe red hat"]))
    vectors = [student.ngrams(item) for item in ragged]
    pools = [student.pool(*item) for item in zip(vectors, ragged, strict=True)]
    out = student.matched(*ragged, *vectors, *pools).numpy()[0]
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


def hashed(texts: list[str], folder: Path, affixes: tuple[int, ...] = ()) -> TrainingRows:
    return hash_rows([np.array(texts, object)], np.zeros((len(texts), 1), np.float32), folder, 64, affixes)


def test_a_vocabulary_has_the_tokens_that_training_meets_often(tmp_path: Path) -> None:
    rows = hashed(["red red red blue blue blue blue", "hat hat hat shoe shoe", "hat"], tmp_path / "rows")
    student = Student(TEXT, replace(SMALL, window=2, vocabulary=2))
    student.learn_vocabulary(rows)
    assert set(student.ngrams.known.numpy()) == set(text_spec.token_hashes("blue hat", 9))
    student.learn_vocabulary(TrainingRows(rows.rows, rows.targets[:1], np.array([0])))
    assert set(student.ngrams.known.numpy()) == set(text_spec.token_hashes("blue red", 9))
    small = Student(TEXT, replace(SMALL, window=2, vocabulary=9))
    small.learn_vocabulary(rows)  # "shoe" stands there but twice
    assert small.ngrams.known.numpy().tolist()[3:] == [text_spec.UNUSED] * 6


def test_what_a_vocabulary_lacks_is_told_by_its_affixes(tmp_path: Path) -> None:
    affixes = (4, 3)
    student = Student(TEXT, replace(SMALL, window=2, vocabulary=5, affixes=affixes), 1)
    student.learn_vocabulary(hashed(["elegant film"] * 3, tmp_path / "rows", affixes))

    def ids(text: str) -> np.ndarray:
        return student.ngrams.ids(student.tokens(tf.constant([text]))).numpy()

    known, end, new, other = ids("elegant film")[0], ids("film")[0, 1], ids("elegiac")[0], ids("dreamlike")[0]
    assert new[0] == other[0] == text_spec.UNKNOWN_SLOT * 2
    assert end == text_spec.END_SLOT * 2 + 1
    assert known[0] not in (new[0], 0)
    assert new[2] == known[2] != other[2]  # eleg-
    assert ids("defiant")[0, 3] == known[3] != other[3]  # -ant
    np.testing.assert_array_equal(ids("the defiant")[0, :2] % 2, [0, 1])
    np.testing.assert_array_equal(student.ngrams.rows_of(text_spec.token_hashes("elegant", 9, affixes)), known[:1])


def test_a_student_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Student(TEXT, SMALL).save(tmp_path)
    monkeypatch.setitem(text_spec.SPEC, "version", 99)
    with pytest.raises(DataError, match="train it again"):
        load_student(tmp_path)
