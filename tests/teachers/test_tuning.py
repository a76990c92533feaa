"""The optimizer on a token that stands in a batch many times."""

import keras
import numpy as np
import pytest

from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.teachers.optimizer import NO_CLIPPING, optimizer_for
from tfb2d.teachers.steps import training_step

TIMES = 16


def moved(dense: bool, clip_norm: float, steps: int = 3) -> np.ndarray:
    """Measures how far the rows of a table move; row 0 is read 16 times in a row of tokens, row 1 once."""
    config = TeacherConfig(preset="-", clip_norm=clip_norm, warmup=0.0, weight_decay=0.0)
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    start = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    if dense:  # the same table, read by a product: its gradient is a whole tensor
        table = keras.layers.Dense(3, use_bias=False)
        states = table(keras.ops.one_hot(tokens, 4))
    else:
        table = keras.layers.Embedding(4, 3)
        states = table(tokens)
    scores = keras.ops.sum(keras.ops.mean(states, 1), -1, keepdims=True)
    model = keras.Model({"token_ids": tokens}, scores)
    table.set_weights([start])
    optimizer = optimizer_for(0.1, 1000, config)
    optimizer.build(model.trainable_variables)
    step = training_step(model, optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    batch = {"token_ids": np.array([[0] * TIMES + [1]], np.int32)}
    for _ in range(steps):
        step(batch, np.ones((1, 1), np.float32))
    return np.abs(table.get_weights()[0] - start)


@pytest.mark.parametrize("clip_norm", [1.0, 0.0])
def test_a_repeated_token_moves_as_its_whole_gradient_says(clip_norm: float) -> None:
    by_token, whole = moved(False, clip_norm), moved(True, clip_norm)
    # Where clipping binds, the norm is that of the slices, which is a little smaller than the whole gradient's.
    assert np.allclose(by_token, whole, rtol=5e-3 if clip_norm else 1e-4, atol=1e-6)
    assert np.allclose(
        by_token[0], 0.3, rtol=0.01
    )  # AdamW: about the learning rate a step, however often it stands there
    assert (by_token[2:] == 0).all()


def test_without_a_bound_it_would_move_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bound is there for; where this fails, Keras has been repaired and the bound can go."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the other backends' gradients are whole")
    monkeypatch.setattr("tfb2d.teachers.optimizer.NO_CLIPPING", None)
    assert moved(False, 0.0)[0].min() > 2 * moved(True, 0.0)[0].max()


def test_the_bound_never_binds() -> None:
    config = TeacherConfig(preset="-", clip_norm=0.0, warmup=0.0)
    optimizer = optimizer_for(0.1, 10, config)
    assert optimizer.global_clipnorm == NO_CLIPPING
    variable = keras.Variable(np.zeros(2, np.float32))
    plain = keras.optimizers.SGD(1.0, global_clipnorm=NO_CLIPPING)  # AdamW's steps do not show a gradient's size
    plain.apply([keras.ops.convert_to_tensor(np.float32([-3e9, 4e9]))], [variable])
    assert np.asarray(variable.value).tolist() == pytest.approx([3e9, -4e9])
    with pytest.raises(ConfigError, match=r"clip_norm is -1\.0"):
        TeacherConfig(preset="-", clip_norm=-1.0)
