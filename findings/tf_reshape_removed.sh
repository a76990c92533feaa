#!/usr/bin/env bash
# TensorFlow: a reshape that must fail does not fail in a tf.function
#
# Version: tensorflow 2.21.0, Python 3.11
# A good guess: `tf.reshape(a, tf.shape(b)[:1])` of a vector `a` checks that it has as many values as `b` has rows, as
#   it does outside of a graph.
# What happens: where neither size is known when the function is traced, grappler takes the reshape from a vector to a
#   vector for one that changes nothing, and removes it. With one value against two rows the function answers. With grappler
#   off it fails.
# For whom it matters: whoever lets a reshape, and not `tf.debugging.Assert`, refuse inputs of other sizes.
# Seen on 2026-11-29:
#   with grappler: 1 value; without: InvalidArgumentError; outside of a graph: InvalidArgumentError
# The script ends with an error if that changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import tensorflow as tf


def exponents(values, rows):
    return tf.exp(tf.reshape(values, tf.shape(rows)[:1]))


def answer(function):
    try:
        return f"{len(function(tf.ones([1]), tf.ones([2, 3])))} value"
    except tf.errors.InvalidArgumentError as error:
        return type(error).__name__


signature = [tf.TensorSpec([None]), tf.TensorSpec([None, None])]
found = [answer(tf.function(exponents, input_signature=signature))]
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
found += [answer(tf.function(exponents, input_signature=signature)), answer(exponents)]
print("with grappler: {}; without: {}; outside of a graph: {}".format(*found))
assert found == ["1 value", "InvalidArgumentError", "InvalidArgumentError"]
PYTHON
