"""Warm-up: the recorded requests of a version are answered once before it serves."""

import time
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.servable import Servable
from tfb2d.serving.server.steps import alone

FILE = "assets.extra/tf_serving_warmup_requests"
_MAX_RECORDS = 1000


def warm_up(servable: Servable, folder: str, iterations: int, metrics: Metrics) -> None:
    """Replays a version folder's warm-up requests.

    Args:
      servable: the version.
      folder: its folder; without a warm-up file nothing happens.
      iterations: how often each request is sent.
      metrics: takes the time and the records read.

    Raises:
      StatusError: a request's own error, DATA_LOSS for a file that is no TFRecord.
    """
    file = Path(folder, FILE)
    if not file.is_file():
        return
    started = time.perf_counter()
    status = "OK"
    try:
        for number, record in enumerate(_records(file)):
            if number >= _MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {file}")
            log = prediction_log_pb2.PredictionLog()
            if not _parse(log, record):
                raise invalid(f"Failed to parse warmup record: {number} from {file}")
            for _ in range(max(1, iterations)):
                _replay(servable, log)
            metrics.warmup_records.add(folder, "OK")
    except StatusError as error:
        status = error.code.name
        raise
    finally:
        metrics.warmup.observe((time.perf_counter() - started) * 1e6, folder, status)


def _records(file: Path) -> list[bytes]:
    try:
        return list(tf.data.TFRecordDataset(str(file)).take(_MAX_RECORDS + 1).as_numpy_iterator())
    except tf.errors.OpError:
        message = f"Failed to read {file}. Please verify your warmup data is in TFRecord format."
        raise StatusError(Code.DATA_LOSS, message) from None


def _parse(log: prediction_log_pb2.PredictionLog, record: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        log.ParseFromString(record)
    except DecodeError:
        return False
    return True


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        alone(servable.predictor.predict(log.predict_log.request, predict_pb2.PredictResponse(), None))
    elif kind == "classify_log":
        servable.inference.classify(log.classify_log.request, classification_pb2.ClassificationResponse(), None)
    elif kind == "regress_log":
        servable.inference.regress(log.regress_log.request, regression_pb2.RegressionResponse(), None)
    elif kind == "multi_inference_log":
        servable.inference.multi(log.multi_inference_log.request, inference_pb2.MultiInferenceResponse(), None)
    elif kind is not None:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
