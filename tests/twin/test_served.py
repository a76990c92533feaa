"""Towers as trained and as served: the same vectors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.twin.twins import TEXTS, shake, twin
from tfb2d.twin.served import served_tower

KINDS = ("bert", "distilbert", "electra", "mpnet", "triletters", "ngram")


@pytest.mark.parametrize(
    ("kind", "pooling"), [*((kind, "mean") for kind in KINDS), ("bert", "cls"), ("triletters", "weighted")]
)
def test_a_served_tower_gives_the_trained_ones_vectors(kind: str, pooling: str) -> None:
    keras.utils.set_random_seed(1)
    tower = twin(kind, pooling=pooling).query_tower
    shake(tower)
    served = served_tower(tower, "float")
    vectors = tf.function(lambda texts: served(texts, tower.inputs))(tf.constant(TEXTS)).numpy()
    assert np.abs(vectors - tower.embed(TEXTS)).max() < 2e-6
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    alone = np.concatenate([served(tf.constant([text]), tower.inputs).numpy() for text in TEXTS[:4]])
    assert np.abs(alone - vectors[:4]).max() < 2e-6
    assert np.ptp(vectors[[0, 2, 3]], axis=0).max() > 0.05


@pytest.mark.parametrize("kind", ["bert", "triletters", "ngram"])
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_quantised_weights_move_vectors_little(kind: str, weights: str) -> None:
    keras.utils.set_random_seed(1)
    tower = twin(kind).query_tower
    shake(tower)
    served = served_tower(tower, weights)
    for constant in (False, True):
        vectors = served(tf.constant(TEXTS), tower.inputs, constant).numpy()
        cosine = (vectors * tower.embed(TEXTS)).sum(1)
        assert 0 < 1 - cosine.min() < 0.02
    assert served.table.values.dtype == {"int8": tf.int8, "bfloat16": tf.bfloat16}[weights]


@pytest.mark.parametrize("kind", ["mpnet", "triletters", "ngram"])
def test_no_texts_give_no_vectors(kind: str) -> None:
    tower = twin(kind).query_tower
    assert served_tower(tower, "int8")(tf.constant([], tf.string), tower.inputs).shape == (0, 8)
