#!/usr/bin/env bash
# Keras: LogitsDistillation by its default loss compares clipped logits, not distributions
#
# Version: keras 3.15.1, jax 0.10.2, NumPy 2.4.6, Python 3.11
# A good guess: `LogitsDistillation()` is Hinton's loss: the divergence between the softmax of both models' logits at a temperature,
#   times the temperature squared.
# What happens: softmax and factor are left out unless the loss is an instance of `keras.losses.KLDivergence`. The default, the
#   name "kl_divergence", becomes a function and not an instance. It reads logits as probabilities: what is below 0 is taken for
#   0, and what is above the temperature for 1. A student that ranks the classes the other way round can have a loss of 0.
#   A cross-entropy, as in the documentation's example, gets the teacher's logits for targets: no minimum where one is negative.
# For whom it matters: whoever distils with Keras' own Distiller. The loss falls, and the student learns little of the teacher, or
#   is ever more certain. Pass `loss=keras.losses.KLDivergence()`. A model with one logit needs a 0 beside it, as the other class.
# Seen on 2026-11-29:
#   teacher [-1, -2, -3], student [-3, -2, -1]: loss by default 0.000, with an instance 1.309
#   teacher [9, 5, 4], student [4, 5, 9]: loss by default 0.000, with an instance 8.377
#   a linear student decides as a linear teacher, by default 0.773, with an instance 0.996
#   CategoricalCrossentropy(from_logits=True): loss of the teacher itself -0.837, of ten times its logits -10.000
# The same with tensorflow 2.21.0 in the place of JAX, where the third line has 0.624 and 0.997.
# The script ends with an error if this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax "$folder/bin/python" - <<'PYTHON'
import keras
import numpy as np
from keras.distillation import Distiller, LogitsDistillation

losses = {"default": LogitsDistillation(), "instance": LogitsDistillation(loss=keras.losses.KLDivergence())}
seen = []
for teacher in ([-1.0, -2.0, -3.0], [9.0, 5.0, 4.0]):
    logits = np.array([teacher], np.float32)
    both = [float(loss.compute_loss(logits, logits[:, ::-1])) for loss in losses.values()]
    seen.append(both)
    names = [[int(value) for value in side] for side in (teacher, teacher[::-1])]
    print("teacher {}, student {}: loss by default {:.3f}, with an instance {:.3f}".format(*names, *both))

rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
truth = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)


def linear():
    return keras.Sequential([keras.Input((16,)), keras.layers.Dense(3)])


teacher = linear()
teacher.set_weights([truth, np.zeros(3, np.float32)])
decided, agreed = (rows @ truth).argmax(1), []
for loss in losses.values():
    keras.utils.set_random_seed(0)
    student = linear()
    distiller = Distiller(teacher, student, loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.fit(rows, decided, batch_size=100, epochs=20, verbose=0)
    agreed.append(float(np.mean(student.predict(rows, verbose=0).argmax(1) == decided)))
print("a linear student decides as a linear teacher, by default {:.3f}, with an instance {:.3f}".format(*agreed))
logits = np.array([[3.0, -1.0, 0.0], [-3.0, 1.0, 2.0]], np.float32)
entropy = LogitsDistillation(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
same, ten = (float(entropy.compute_loss(logits, factor * logits)) for factor in (1, 10))
print(f"CategoricalCrossentropy(from_logits=True): loss of the teacher itself {same:.3f}, of ten times its logits {ten:.3f}")
assert all(by_default < 1e-5 and by_instance > 1 for by_default, by_instance in seen)
assert agreed[0] < 0.9 < 0.97 < agreed[1]
assert ten < same - 1 and abs(same + 0.837) < 2e-3
PYTHON
