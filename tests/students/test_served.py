"""The served graph runs no more ops than are stated here: a count does not depend on the machine, as seconds do."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from tests.students.test_model import PAIR, PLAIN, SMALL, TEXT
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.serving.export import export
from tfb2d.students.model import Student

FREE = {"Const", "_Arg", "_Retval", "VarHandleOp", "NoOp", "Identity", "IdentityN", "Switch", "Merge"}
SLOW = {"ResourceGather", "RaggedTensorToTensor", "StringNGrams", "StringJoin", "Transpose", "_MklFusedMatMul"}
QUERY, TITLES = "red shoe", ["red shoes size 9", "a blue hat", ""]


def executed(folder: Path, signature: str, inputs: dict[str, list]) -> Counter:
    """The ops, by type, that one request runs after grappler; the branches not taken do not count."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        served = v1.saved_model.load(session, ["serve"], str(folder)).signature_def[signature]
        feed = {served.inputs[name].name: value for name, value in inputs.items()}
        fetch = [tensor.name for tensor in served.outputs.values()]
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
        found = v1.RunMetadata()
        session.run(fetch, feed, options, found)
    kinds = {node.name: node.op for graph in found.partition_graphs for node in graph.node}
    ran = {stats.node_name for device in found.step_stats.dev_stats for stats in device.node_stats}
    return Counter(kinds[name] for name in ran if kinds.get(name, "NoOp") not in FREE)


@pytest.mark.parametrize(
    ("task", "config", "ceilings"),
    [
        (TEXT, SMALL, {"serving_default": 45}),
        (PAIR, SMALL, {"serving_default": 135, "rank": 135}),
        (PAIR, replace(PLAIN, products=True), {"serving_default": 65, "rank": 65}),
    ],
    ids=["text", "pair", "products"],
)
def test_a_request_runs_few_ops(task: Task, config: StudentConfig, ceilings: dict[str, int], tmp_path: Path) -> None:
    texts = [[QUERY]] * len(task.fields)
    folder = export(Student(task, config, 1), tmp_path, scale=1.0, bias=[0.0], warmup=texts, fingerprint="x")
    for signature, ceiling in ceilings.items():
        rank = {"query": [QUERY], "titles": [TITLES]}
        ops = executed(folder, signature, rank if signature == "rank" else {name: [QUERY] for name in task.fields})
        assert ops.total() <= ceiling, f"{signature} runs {ops.total()} ops: {ops.most_common()}"
        assert not SLOW & set(ops), f"{signature} runs {SLOW & set(ops)}"
