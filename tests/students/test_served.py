"""The served graph runs no more ops than are stated here: a count does not depend on the machine, as seconds do."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from tests.students.harness import PAIR, PLAIN, SMALL, TEXT
from tfb2d.bench.profile import Traced
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.serving.export import export
from tfb2d.students.int8_table import quantise
from tfb2d.students.model import Student
from tfb2d.students.packed import PackedNGramEmbedding
from tfb2d.students.served import ServedStudent
from tfb2d.students.served_pairs import bells
from tfb2d.students.served_tokens import Table

FREE = {"Const", "_Arg", "_Retval", "VarHandleOp", "NoOp", "Identity", "IdentityN", "Switch", "Merge"}
SLOW = {"ResourceGather", "RaggedTensorToTensor", "StringNGrams", "StringJoin", "Transpose", "_MklFusedMatMul"}
QUERY, TITLES = "red shoe", ["red shoes size 9", "a blue hat", ""]


def executed(folder: Path, signature: str, inputs: dict[str, list]) -> Counter:
    """The ops, by type, that one request runs after grappler; the branches not taken do not count."""
    served = SavedModelLoader(str(folder)).get_meta_graph_def_from_tags(["serve"]).signature_def[signature]
    feeds = {served.inputs[name].name: np.array(value, object) for name, value in inputs.items()}
    traced = Traced(folder)
    actual = traced.run(feeds, [tensor.name for tensor in served.outputs.values()])
    traced.close()
    return Counter({op: nodes for op, (nodes, _) in actual.items() if op not in FREE})


@pytest.mark.parametrize(
    ("task", "config", "ceilings"),
    [
        (TEXT, SMALL, {"serving_default": 37}),
        (TEXT, replace(SMALL, window=3, convolutions=(1, 2)), {"serving_default": 68}),
        (TEXT, replace(SMALL, window=3, convolutions=(1, 2), convolution_width=9), {"serving_default": 73}),
        (
            TEXT,
            replace(SMALL, window=3, convolutions=(1, 2), convolution_width=9, early_exit=1.0),
            {"serving_default": 100},
        ),
        (TEXT, replace(SMALL, window=3, vocabulary=99, affixes=(5, 3)), {"serving_default": 69}),
        (PAIR, SMALL, {"serving_default": 127, "rank": 138}),
        (PAIR, replace(PLAIN, products=True), {"serving_default": 47, "rank": 56}),
    ],
    ids=["text", "convolved", "wide", "exit", "vocabulary", "pair", "products"],
)
def test_a_request_runs_few_ops(task: Task, config: StudentConfig, ceilings: dict[str, int], tmp_path: Path) -> None:
    texts = [[QUERY]] * len(task.fields)
    folder = export(Student(task, config, 1), tmp_path, scale=1.0, bias=[0.0], warmup=texts, fingerprint="x")
    for signature, ceiling in ceilings.items():
        rank = {"query": [QUERY], "titles": [TITLES]}
        ops = executed(folder, signature, rank if signature == "rank" else {name: [QUERY] for name in task.fields})
        assert ops.total() <= ceiling, f"{signature} runs {ops.total()} ops: {ops.most_common()}"
        slow = SLOW - {"StringJoin"} if config.affixes else SLOW  # there it puts spaces before tokens, and costs 1 us
        assert not slow & set(ops), f"{signature} runs {slow & set(ops)}"
    library = SavedModelLoader(str(folder)).saved_model.meta_graphs[0].graph_def.library
    assert not {"While", "StatelessWhile"} & {node.op for body in library.function for node in body.node_def}


@pytest.mark.parametrize(
    ("setting", "values", "size"),
    [("vocabulary", (0, 100_000), 8 * 100_000), ("convolution_width", (1, 100_001), 4 * 4 * 100_000)],
)
def test_what_is_large_is_in_the_saved_model_once(
    setting: str, values: tuple[int, int], size: int, tmp_path: Path
) -> None:
    sizes = []
    shape = replace(SMALL, buckets=210_000, dim=1, window=2, convolutions=(1,))
    for value in values:
        student = Student(TEXT, replace(shape, **{setting: value}), 1)
        version = export(student, tmp_path / str(value), scale=1.0, bias=[0.0], warmup=[[QUERY]], fingerprint="x")
        sizes.append(sum(path.stat().st_size for path in version.rglob("*") if path.is_file()))
    assert sizes[1] - sizes[0] < 1.1 * size


@pytest.mark.parametrize(
    "query",
    ["red red shoe red red shoe", "a b c d e f g h i j k l m n o p", "", "-", "blue"],
    ids=["repeated", "long", "empty", "mark", "short"],
)
def test_a_ranking_has_the_trained_students_logits(query: str, pair_student: Student) -> None:
    titles = ["", "shoe", "red shoe red shoe", "a blue red hat p", "b c", "red red red red", "x y z", "-"]
    ranked = ServedStudent(pair_student).rank(tf.constant([query]), tf.constant([titles]))
    expected = pair_student.model([tf.constant([query] * len(titles)), tf.constant(titles)])
    np.testing.assert_allclose(ranked, expected, atol=1e-5)


@pytest.fixture(scope="module")
def pair_student() -> Student:
    student = Student(PAIR, SMALL, 1)
    for weights in student.dense_weights:  # biases start at 0
        weights.assign_add(np.random.default_rng(0).normal(0, 0.1, weights.shape))
    return student


def test_kernels_are_never_denormal() -> None:
    distances = np.concatenate([np.linspace(-1500, 1500, 3001), np.linspace(-10, 10, 2001)]).astype(np.float32)
    kernels = bells(tf.constant(distances)).numpy()
    assert kernels.min() >= np.finfo(np.float32).tiny
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(kernels, np.exp(-np.square(distances.astype(np.float64))), rtol=1e-5, atol=3e-38)


@pytest.mark.parametrize("remapped", [False, True])
def test_an_int8_table_is_read_bit_by_bit(remapped: bool) -> None:
    rng = np.random.default_rng(0)
    table = quantise(rng.normal(size=(20, 7)).astype(np.float32))
    if remapped:
        table = replace(table, remap=rng.integers(0, 20, 50, np.int32))
    buckets = 50 if remapped else 20
    layer = PackedNGramEmbedding(rows=20, remapped=remapped, buckets=buckets, dim=7, orders=(1,))
    layer.build(tf.TensorShape([None]))
    layer.assign(table)
    ids = tf.constant(rng.integers(0, buckets, (30, 2)), tf.int32)
    np.testing.assert_array_equal(Table(layer).vectors(ids), layer.vectors(ids))
