"""The TensorFlow Lite forms: what the harness of `tests/students` does not ask of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.students.harness import PAIR, SHAPES, SMALL, check_edge, some_texts, strong_student
from tfb2d.compress.edge_graph import EdgeGraph
from tfb2d.compress.student import with_tables
from tfb2d.compress.tflite import convert, convert_text
from tfb2d.errors import DataError
from tfb2d.students import text_spec
from tfb2d.students.int8_table import quantise


def test_a_vocabulary_is_met_and_missed_by_these_texts() -> None:
    student = strong_student(*SHAPES["lettered"])
    (column,) = some_texts(student.task, 80, 2)
    hashes = np.concatenate([text_spec.token_hashes(text, 64, (2, 2)) for text in column])
    assert 0.1 < np.mean(text_spec.slots(hashes, student.ngrams.known.numpy()) == text_spec.UNKNOWN_SLOT) < 0.8


def test_flex_lacks_what_a_vocabulary_is_looked_up_by() -> None:
    with pytest.raises(DataError, match="LowerBound"):
        convert_text(strong_student(*SHAPES["vocabulary"]), 1.5, [0.1])
    assert convert_text(strong_student(*SHAPES["affixes"]), 1.5, [0.1])


@pytest.mark.parametrize("shape", ["vocabulary", "pair", "multiclass"])
def test_an_untrained_student_scores_as_itself(shape: str, tmp_path: Path) -> None:
    # Its rows are no zeros for what training never met, as a trained one's are.
    student = strong_student(*SHAPES[shape])
    for form, close in (("float", 1e-5), ("int8", 1e-2)):
        check_edge(student, some_texts(student.task, 80, 2), tmp_path, form, close)


def test_a_compressed_student_keeps_its_tables(tmp_path: Path) -> None:
    student = strong_student(PAIR, SMALL)
    generator = np.random.default_rng(0)
    tables = {}
    for name, layer in student.embeddings.items():
        rows = layer.table.numpy()[:50]
        tables[name] = quantise(rows, generator.integers(0, 50, layer.buckets).astype(np.int32))
    packed = with_tables(student, tables)
    for form in ("float", "int8"):
        check_edge(packed, some_texts(PAIR, 60, 4), tmp_path, form, 1e-5)
    # The rows that are kept, and one of padding a field.
    assert (52, 8) in {tuple(tensor["shape"]) for tensor in tensors(convert(packed, "float"))}


@pytest.mark.parametrize("shape", ["text", "pair"])
def test_int8_form_has_int8_tables_and_is_built_in(shape: str) -> None:
    student = strong_student(*SHAPES[shape])
    model = convert(student, "int8")
    kinds = {tuple(tensor["shape"]): tensor["dtype"] for tensor in tensors(model)}  # a runtime without Flex reads it
    assert kinds[SMALL.buckets + len(student.task.fields), 8] == np.int8
    # Dense layers stay float whatever their size. The converter would quantise those of 1,024 weights and more alone.
    for layer in (student.first_dense, *student.denses):
        assert kinds[layer.kernel.shape[::-1]] == np.float32
    assert len(model) < 0.8 * len(convert(student, "float"))


def tensors(model: bytes) -> Iterator[dict]:
    """Lists a model's tensors, as LiteRT tells them."""
    interpreter = Interpreter(model_content=model)
    yield from interpreter.get_tensor_details()


def test_a_form_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="int4"):
        EdgeGraph(strong_student(PAIR, SMALL), "int4")
