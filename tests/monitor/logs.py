"""PredictionLog records as a server writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2


def log(time: int = 0, model: str = "shop", version: int = 1) -> prediction_log_pb2.PredictionLog:
    row = prediction_log_pb2.PredictionLog()
    row.log_metadata.model_spec.name = model
    row.log_metadata.model_spec.version.value = version
    row.log_metadata.timestamp_secs = time
    return row


def predict(columns: dict[str, Sequence[Any]], outputs: dict[str, Any], **about: Any) -> bytes:
    row = log(**about)
    for name, values in columns.items():
        row.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array(values, object), tf.string))
    for name, value in outputs.items():
        row.predict_log.response.outputs[name].CopyFrom(tf.make_tensor_proto(np.array(value, np.float32)))
    return row.SerializeToString()


def examples(given: Any, rows: Sequence[dict[str, bytes]]) -> None:
    for row in rows:
        features = given.example_list.examples.add().features.feature
        for name, text in row.items():
            features[name].bytes_list.value.append(text)


def write(path: Path, records: Sequence[bytes], compression: str = "") -> Path:
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path
