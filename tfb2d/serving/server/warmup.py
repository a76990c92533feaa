"""Replays the recorded requests of a version once, before `models` lets it serve."""

import time
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfb2d.model_folder import WARMUP
from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.servable import RPCS, Servable
from tfb2d.serving.server.steps import alone

MAX_RECORDS = 1000  # as in TensorFlow Serving


def warm_up(servable: Servable, folder: str, iterations: int, metrics: Metrics) -> None:
    """Replays a version folder's warm-up requests, `iterations` times each; without a warm-up file nothing happens."""
    file = Path(folder, WARMUP)
    if not file.is_file():
        return
    started, status = time.perf_counter(), "OK"
    try:
        for index, record in enumerate(_records(file)):
            if index >= MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError:
                raise invalid(f"Failed to parse warmup record: {index} from {file}") from None
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
        return list(tf.data.TFRecordDataset(str(file)).take(MAX_RECORDS + 1).as_numpy_iterator())
    except tf.errors.OpError:
        message = f"Failed to read {file}. Please verify your warmup data is in TFRecord format."
        raise StatusError(Code.DATA_LOSS, message) from None


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    name = next((name for name, rpc in RPCS.items() if rpc.log == kind), None)
    if name is not None:
        alone(servable.answer(name, getattr(log, kind).request, RPCS[name].response(), None))
    elif kind is not None:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
