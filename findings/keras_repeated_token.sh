#!/usr/bin/env bash
# Keras 3 on TensorFlow: a repeated token's embedding takes steps that are too long
#
# Version: keras 3.15.1, tensorflow 2.21.0, Python 3.11
# A good guess: Adam squares the gradient of a table's row, summed over the places where the token stands. The first
#   step is then the learning rate for every row.
# What happens: it adds the squares of the single places. A token that stands 16 times moves 4 times as far as one that
#   stands once. A `global_clipnorm`, however large, makes the gradient whole first and repairs it. Adagrad and RMSprop
#   do the same.
# For whom it matters: whoever trains embeddings without clipping on Keras 3 with TensorFlow.
# Seen on 2026-11-28:
#   no clipping:         16 times 0.400, once 0.100
#   global_clipnorm 1e9: 16 times 0.100, once 0.100
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import keras
import numpy as np


class Sum(keras.losses.Loss):
    """Gives every place of the batch the gradient 1."""

    def call(self, y_true, y_pred):
        return 17.0 * y_pred[:, 0]


tokens = np.array([[1]] * 16 + [[2]])
moved = {}
for clip in (None, 1e9):
    table = keras.layers.Embedding(3, 1, embeddings_initializer="zeros")
    model = keras.Sequential([keras.Input((1,), dtype="int32"), table, keras.layers.Flatten()])
    model.compile(optimizer=keras.optimizers.Adam(0.1, global_clipnorm=clip), loss=Sum())
    model.fit(tokens, np.zeros(17), batch_size=17, epochs=1, verbose=0)
    moved[clip] = np.abs(model.get_weights()[0][1:, 0]).round(3).tolist()
print("no clipping:         16 times {:.3f}, once {:.3f}".format(*moved[None]))
print("global_clipnorm 1e9: 16 times {:.3f}, once {:.3f}".format(*moved[1e9]))
assert np.allclose(moved[None], [0.4, 0.1], atol=1e-3)
assert np.allclose(moved[1e9], [0.1, 0.1], atol=1e-3)
PYTHON
