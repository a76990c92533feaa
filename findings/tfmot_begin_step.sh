#!/usr/bin/env bash
# TensorFlow Model Optimization: pruning from step 0 on prunes nothing in a short training
#
# Version: tensorflow-model-optimization 0.8.1, tensorflow 2.21.0, tf_keras 2.21.0, Python 3.11
# A good guess: `ConstantSparsity(0.5, begin_step=0)` prunes half of the weights after a few steps.
# What happens: masks are updated at the steps begin, begin + 100, ... and step 0 is over before the first look. Five
#   steps prune nothing; with `begin_step=1` they prune half.
# For whom it matters: a short fine-tuning with pruning ends dense, without a word. Set `frequency` and begin at 1.
# Seen on 2026-11-28:
#   begin_step 0: 0 of 35 weights are zero
#   begin_step 1: 17 of 35 weights are zero
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tensorflow-model-optimization==0.8.1 tensorflow==2.21.0 tf_keras==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

sparsity = tfmot.sparsity.keras
seen = {}
for begin in (0, 1):
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((7,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(5)(inputs))
    schedule = sparsity.ConstantSparsity(0.5, begin_step=begin)
    pruned = sparsity.prune_low_magnitude(model, pruning_schedule=schedule)
    pruned.compile("sgd", "mse")
    rows = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    callbacks = [sparsity.UpdatePruningStep()]
    pruned.fit(rows, np.zeros((40, 5)), batch_size=8, epochs=1, verbose=0, callbacks=callbacks)
    kernel = sparsity.strip_pruning(pruned).get_weights()[0]
    seen[begin] = int((kernel == 0).sum())
    print(f"begin_step {begin}: {seen[begin]} of {kernel.size} weights are zero")
assert seen == {0: 0, 1: 17}
PYTHON
