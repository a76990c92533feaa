"""The TensorFlow Lite forms against the student that they were made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.students.harness import some_texts
from tfb2d.compress.edge_graph import EdgeGraph
from tfb2d.compress.flatbuffer import operators, read_model, swap_constants
from tfb2d.compress.student import with_tables
from tfb2d.compress.tflite import convert, convert_text, write_edge
from tfb2d.config import StudentConfig
from tfb2d.data.errors import DataError
from tfb2d.data.task import Task
from tfb2d.edge import EdgeScorer
from tfb2d.students import text_spec
from tfb2d.students.int8_table import quantise
from tfb2d.students.model import Student

SMALL = StudentConfig(buckets=1010, dim=8, ffn=(64, 32), soft_buckets=101, max_tokens=64)
TEXT = Task(("text",))
PAIR = Task(("query", "title"))
PLAIN = replace(SMALL, products=False, differences=False, matched=False, soft_match=False)
SHAPES = {
    "text": (TEXT, SMALL),
    "composed": (TEXT, replace(SMALL, window=3)),
    "convolved": (TEXT, replace(SMALL, window=2, convolutions=(1, 3))),
    "wide": (TEXT, replace(SMALL, window=2, convolutions=(1, 3), convolution_width=24)),
    "lettered": (TEXT, replace(SMALL, window=2, vocabulary=60, affixes=(2, 1))),
    "vocabulary": (TEXT, replace(SMALL, window=3, vocabulary=60)),
    "affixes": (TEXT, replace(SMALL, window=2, affixes=(1, 2))),
    "linear": (TEXT, replace(SMALL, orders=(1,), ffn=())),
    "multiclass": (Task(("text",), "multiclass", ("a", "b", "c")), replace(SMALL, orders=(1, 2, 3))),
    "pair": (PAIR, SMALL),
    "concatenation": (PAIR, PLAIN),
    "matched": (PAIR, replace(PLAIN, matched=True)),
    "soft": (PAIR, replace(PLAIN, soft_match=True, kernels=5, orders=(2,))),
}
SCALE, BIAS = 1.5, 0.1


def strong_student(task: Task, config: StudentConfig) -> Student:
    """A student whose scores are far apart, as a trained one's are."""
    student = Student(task, config, 5)
    for weight in student.trunk.trainable_variables:
        if "table" in weight.name:
            weight.assign(weight * 4)
        elif "bias" in weight.name:
            weight.assign(tf.linspace(-0.3, 0.3, weight.shape[0]))
    if student.ngrams.known is not None:
        words = [b"w", b"red", b"64", *(b"%d" % number for number in range(student.config.vocabulary - 4))]
        known = sorted(text_spec.token_hash(word, student.config.affixes) for word in words)
        student.ngrams.known.assign([*known, text_spec.UNUSED])
    return student


def probabilities(student: Student, columns: list[list[str]]) -> np.ndarray:
    z = student.model([tf.constant(column) for column in columns]).numpy() * SCALE + BIAS
    if z.shape[1] == 1:
        return 1 / (1 + np.exp(-z[:, 0]))
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def edge(student: Student, folder: Path, form: str) -> EdgeScorer:
    write_edge(student, folder, SCALE, [BIAS] * student.task.n_logits, form)
    return EdgeScorer(folder)


def test_a_vocabulary_is_met_and_missed_by_these_texts() -> None:
    student = strong_student(*SHAPES["lettered"])
    (column,) = some_texts(student.task, 80, 2)
    hashes = np.concatenate([text_spec.token_hashes(text, 64, (2, 1)) for text in column])
    assert 0.2 < np.mean(text_spec.slots(hashes, student.ngrams.known.numpy()) == text_spec.UNKNOWN_SLOT) < 0.8


def test_flex_lacks_what_a_vocabulary_is_looked_up_by() -> None:
    with pytest.raises(DataError, match="LowerBound"):
        convert_text(strong_student(*SHAPES["vocabulary"]), SCALE, [BIAS])
    assert convert_text(strong_student(*SHAPES["affixes"]), SCALE, [BIAS])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_student_scores_as_itself(shape: str, tmp_path: Path) -> None:
    student = strong_student(*SHAPES[shape])
    columns = some_texts(student.task, 80, 2)
    expected = probabilities(student, columns)
    assert expected.std() > 0.02
    for form, close in (("float", 1e-5), ("int8", 1e-2)):
        scorer = edge(student, tmp_path / form, form)
        np.testing.assert_allclose(scorer.score(*columns), expected, atol=close)
        plain = EdgeScorer(tmp_path / form, xnnpack=False)
        np.testing.assert_allclose(plain.score(*columns), expected, atol=close)


def test_a_compressed_student_keeps_its_tables(tmp_path: Path) -> None:
    student = strong_student(PAIR, SMALL)
    generator = np.random.default_rng(0)
    tables = {}
    for name, layer in student.embeddings.items():
        rows = layer.table.numpy()[:50]
        tables[name] = quantise(rows, generator.integers(0, 50, layer.buckets).astype(np.int32))
    packed = with_tables(student, tables)
    columns = some_texts(PAIR, 60, 4)
    for form, close in (("float", 1e-5), ("int8", 1e-2)):
        scorer = edge(packed, tmp_path / form, form)
        np.testing.assert_allclose(scorer.score(*columns), probabilities(packed, columns), atol=close)
    tensors = read_model(convert(packed, "float")).subgraphs[0].tensors
    assert (52, 8) in {tuple(tensor.shape) for tensor in tensors}  # the rows that are kept, and one of padding a field


@pytest.mark.parametrize("shape", ["text", "pair"])
def test_int8_form_is_int8_and_built_in(shape: str) -> None:
    student = strong_student(*SHAPES[shape])
    found = convert(student, "int8")
    assert not [name for name in operators(found) if "Flex" in name or name in ("CUSTOM", "DELEGATE")]
    kinds = {tuple(t.shape): t.type for t in read_model(found).subgraphs[0].tensors if t.shape is not None}
    int8 = 9  # the schema's number
    assert kinds[1010 + len(student.task.fields), 8] == int8
    assert kinds[32, 64] == int8  # the second dense layer; the first stays as it is
    width = student.first_dense.kernel.shape[0]
    assert kinds[64, width] == 0
    assert len(found) < 0.7 * len(convert(student, "float"))


def test_constants_begin_at_multiples_of_16(tmp_path: Path) -> None:
    found = convert(strong_student(TEXT, SMALL), "int8")
    table = quantise(strong_student(TEXT, SMALL).ngrams.table.numpy()).values.tobytes()
    assert found.index(table) % 16 == 0


def test_a_student_of_other_features_is_refused() -> None:
    # Whoever adds a feature to the student meets this before a user does.
    student = strong_student(PAIR, SMALL)
    student.first_dense = Student(PAIR, replace(SMALL, products=False), 5).first_dense
    with pytest.raises(ValueError, match="features"):
        convert(student)
    with pytest.raises(ValueError, match="int4"):
        EdgeGraph(student, "int4")


def test_a_stand_in_that_is_not_there_is_told() -> None:
    model = read_model(convert(strong_student(TEXT, SMALL)))
    with pytest.raises(ValueError, match="0 constants"):
        swap_constants(model, [(np.ones((3, 3), np.float32), np.ones((9, 3), np.float32))])
