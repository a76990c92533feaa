#!/usr/bin/env bash
# ONNX Runtime: a dynamically quantised model scores a row by the company it keeps
#
# Version: onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6, Python 3.11
# A good guess: a row's output depends on that row alone, as in the float model.
# What happens: `quantize_dynamic` takes one scale for a whole activation tensor, thus for a batch. One long row changes
#   the outputs of its neighbours.
# For whom it matters: embeddings of one title made in two batches differ. Score in fixed batches, or compare within a
#   tolerance.
# Seen on 2026-11-28:
#   float model: largest change of row 0 by its batch 0.000
#   quantised:   largest change of row 0 by its batch 0.306
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
kernel = numpy_helper.from_array(rng.normal(size=(16, 4)).astype(np.float32), "kernel")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "kernel"], ["y"])],
    "dense",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 4])],
    [kernel],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx")
rows = rng.normal(size=(3, 16)).astype(np.float32)
rows[2] *= 20
change = {}
for name in ("float", "int8"):
    session = onnxruntime.InferenceSession(f"{name}.onnx")
    together, alone = (session.run(None, {"x": batch})[0] for batch in (rows, rows[:1]))
    change[name] = float(np.abs(together[0] - alone[0]).max())
print(f"float model: largest change of row 0 by its batch {change['float']:.3f}")
print(f"quantised:   largest change of row 0 by its batch {change['int8']:.3f}")
assert change["float"] < 1e-5
assert change["int8"] > 0.1
PYTHON
