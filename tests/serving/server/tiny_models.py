"""SavedModels of a few numbers, with every kind of signature that the contract was recorded on."""

import os
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

WARMUP = "assets.extra/tf_serving_warmup_requests"


def _floats(*shape):
    return tf.TensorSpec(shape, tf.float32)


class Demo(tf.Module):
    """y = x w with w = 0..11, and friends."""

    def __init__(self):
        self.w = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3), name="w")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def product(self, x):
        return {"y": tf.matmul(x, self.w), "s": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="t")])
    def text(self, t):
        return {"n": tf.strings.length(t), "u": tf.strings.upper(t)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="a"), tf.TensorSpec([None, 1], tf.int64, name="b")]
    )
    def two(self, a, b):
        return {"o": a * tf.cast(b, tf.float32), "bb": b + 1}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="n")])
    def slow(self, n):
        start = (tf.constant(0), tf.ones([200, 200]))
        _, x = tf.while_loop(lambda i, _: i < n, lambda i, x: (i + 1, tf.matmul(x, x) / 200.0), start)
        return {"r": tf.reduce_sum(x)}

    def _parse(self, inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([4], tf.float32)})["x"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        scores = tf.nn.softmax(tf.matmul(self._parse(inputs), self.w) * 0.1)
        return {"scores": scores, "classes": tf.tile(tf.constant([["c0", "c1", "c2"]]), [tf.shape(scores)[0], 1])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": tf.reduce_sum(tf.matmul(self._parse(inputs), self.w), axis=1)}


class Marked(tf.Module):
    """Answers its own number, so that a test sees which version answered."""

    def __init__(self, mark):
        self.mark = tf.Variable(float(mark))
        self.bulk = tf.Variable(tf.zeros([1 << 16]))  # a data file that can be cut

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def score(self, text):
        hashed = tf.cast(tf.strings.to_hash_bucket_fast(text, 1000), tf.float32)
        return {"score": tf.zeros_like(hashed) + self.mark + tf.reduce_sum(self.bulk)}


def save_demo(folder: Path) -> None:
    demo = Demo()
    names = ("text", "two", "slow", "classify", "regress")
    signatures = {"serving_default": demo.product, **{name: getattr(demo, name) for name in names}}
    tf.saved_model.save(demo, str(folder), signatures=signatures)


def save_marked(folder: Path, mark: int) -> None:
    module = Marked(mark)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})


def write_warmup(version: Path, *requests: predict_pb2.PredictRequest) -> None:
    file = version / WARMUP
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def put(source: Path, target: Path) -> None:
    """A finished folder appears at once."""
    aside = target.parent.parent / f"{target.parent.name}-{target.name}.aside"
    shutil.copytree(source, aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(aside, target)


def build_tree(base: Path) -> Path:
    """The models that the recorded requests ask."""
    from tests.serving.server.embedded import ones, predict_request

    save_demo(base / "src")
    for version in ("demo/1", "demo/2", "other/000007", "warm/1", "warmbad/1"):
        shutil.copytree(base / "src", base / version)
    (base / "demo" / "abc").mkdir()
    (base / "corrupt" / "1").mkdir(parents=True)
    write_warmup(base / "warm/1", predict_request("warm", "serving_default", inputs={"x": ones(1, 4)}))
    write_warmup(base / "warmbad/1", predict_request("warmbad", inputs={"zzz": np.float32([1.0])}))
    return base
