#!/usr/bin/env bash
# LiteRT: dynamic-range quantisation leaves kernels below 1,024 weights as floats
#
# Version: tensorflow 2.21.0 (its LiteRT converter), NumPy 2.4.6, Python 3.11
# A good guess: `Optimize.DEFAULT` makes every dense kernel int8.
# What happens: a kernel of 1,023 weights stays float32, without a message; one of 1,024 becomes int8.
# For whom it matters: a small model is not quantised though it was asked for, and its size and rounding are those of
#   floats.
# Seen on 2026-11-28:
#   kernel of 1023 weights: float32
#   kernel of 1024 weights: int8
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import tensorflow as tf

warnings.filterwarnings("ignore")
seen = {}
for inputs, outputs in ((33, 31), (32, 32)):
    kernel = tf.constant(np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, inputs])])
    def dense(x):
        return tf.matmul(x, kernel)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([dense.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    details = tf.lite.Interpreter(model_content=converter.convert()).get_tensor_details()
    (stored,) = [one["dtype"] for one in details if one["shape"].tolist() == [outputs, inputs]]
    seen[inputs * outputs] = np.dtype(stored).name
for weights, stored in seen.items():
    print(f"kernel of {weights} weights: {stored}")
assert seen == {1023: "float32", 1024: "int8"}
PYTHON
