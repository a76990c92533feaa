#!/usr/bin/env bash
# ONNX Runtime Extensions: its StringToHashBucketFast has other buckets since 0.15.0, and they are not TensorFlow's
#
# Version: onnxruntime-extensions 0.13.0 and 0.15.2, onnxruntime 1.32.0, onnx 1.23.2, tensorflow 2.21.0, NumPy 2.4.6, Python 3.11,
#   Linux
# A good guess: the operator that stands for TensorFlow's op of the same name puts a string into the same bucket, in every version.
# What happens: up to 0.14.0 it does, by FarmHash's Fingerprint64. Since 0.15.0 it uses the C++ library's `std::hash`, which the
#   language leaves to the compiler and its library: here no string out of a thousand keeps its bucket. The operator's name,
#   version and domain are as before, and nothing warns.
# For whom it matters: hashed n-gram models that were converted to ONNX. After an update they look up rows that were trained for
#   other n-grams. Hash outside of the model, or pin 0.13.0 and test the buckets of a few strings when the model is loaded.
# Seen on 2026-11-29 (strings of 1,000 in TensorFlow's bucket, of 2**40):
#   onnxruntime-extensions 0.13.0: 1000
#   onnxruntime-extensions 0.15.2: 0
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
for version in 0.13.0 0.15.2; do
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$version" "onnxruntime-extensions==$version"
done
cd "$folder"
cat > buckets.py <<'PYTHON'
import json
import sys

import numpy as np
import onnxruntime
import onnxruntime_extensions
from onnx import TensorProto, helper

strings = np.array(json.loads(sys.argv[1]), dtype=object)
graph = helper.make_graph(
    [helper.make_node("StringToHashBucketFast", ["strings", "size"], ["buckets"], domain="ai.onnx.contrib")],
    "hash",
    [
        helper.make_tensor_value_info("strings", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("size", TensorProto.INT64, [1]),
    ],
    [helper.make_tensor_value_info("buckets", TensorProto.INT64, [None])],
)
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
print(json.dumps(session.run(None, {"strings": strings, "size": np.array([2**40])})[0].tolist()))
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import json
import os
import subprocess
import sys

import tensorflow as tf

strings = [f"title {number} of a shop" for number in range(1000)]
right = tf.strings.to_hash_bucket_fast(strings, 2**40).numpy().tolist()
same = {}
for version in ("0.13.0", "0.15.2"):
    command = [sys.executable, "buckets.py", json.dumps(strings)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": version}, capture_output=True, text=True, check=True)
    same[version] = sum(one == other for one, other in zip(right, json.loads(done.stdout), strict=True))
    print(f"onnxruntime-extensions {version}: {same[version]}")
assert same == {"0.13.0": 1000, "0.15.2": 0}
PYTHON
