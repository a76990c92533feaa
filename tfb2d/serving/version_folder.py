"""Writes the version folders of exported models, students' and twins': whole or not at all, warm-up requests inside."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from tfb2d.atomic import read_json, sync, write_json
from tfb2d.data.tables import iter_batches
from tfb2d.model_folder import ABOUT, WARMUP, version_folders
from tfb2d.runs import locked

Request = tuple[str, Mapping[str, np.ndarray]]  # a signature's name, and its inputs; texts have dtype object


def write_version(
    model_folder: Path, fingerprint: str, write: Callable[[Path], tuple[Mapping[str, Any], Iterable[Request]]]
) -> Path:
    """Writes the next version of a model, or finds this very one as the last version.

    Args:
      model_folder: `<folder>/<name>`; versions are its numbered folders, as TensorFlow Serving reads them.
      fingerprint: of all that the model was made from; says whether the last version is this one.
      write: writes the SavedModel into the folder that it is given, which does not exist yet. It returns what
        `assets.extra/tfb2d.json` says, and the requests that the server replays before it serves.

    Returns:
      The version's folder. It appears whole: it is written beside and renamed. Of two processes that export the same
      model one waits for the other.
    """
    with locked(model_folder, wait=True):
        versions = version_folders(model_folder)
        if versions:
            last = versions[-1]
            if (last / ABOUT).exists() and read_json(last / ABOUT).get("fingerprint") == fingerprint:
                return last
        version = model_folder / str(int(versions[-1].name) + 1 if versions else 1)
        partial = model_folder / f".{version.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        about, requests = write(partial)
        (partial / "assets.extra").mkdir(exist_ok=True)
        write_requests(partial / WARMUP, model_folder.name, requests)
        write_json(partial / ABOUT, {**about, "fingerprint": fingerprint})
        for folder, _, files in os.walk(partial):
            for name in files:
                sync(Path(folder, name))
        partial.rename(version)
        sync(model_folder)
        return version


def write_requests(path: Path, model: str, requests: Iterable[Request]) -> None:
    """Writes warm-up requests as PredictionLog TFRecords.

    Reference: TensorFlow Serving, "SavedModel Warmup".
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            call = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name=model, signature_name=signature))
            for name, value in inputs.items():
                dtype = tf.string if value.dtype == object else None
                call.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=call))
            writer.write(log.SerializeToString())


def single_rows_and_all(columns: Mapping[str, np.ndarray]) -> list[Mapping[str, np.ndarray]]:
    """Returns the inputs of warm-up requests for columns: the first eight rows one by one, then all rows."""
    rows = len(next(iter(columns.values())))
    parts = [slice(row, row + 1) for row in range(min(8, rows))] + [slice(None)]
    return [{name: column[part] for name, column in columns.items()} for part in parts]


def warmup_texts(transfer: Path | None, fields: Sequence[str], rows: int) -> list[list[str]]:
    """Returns texts for warm-up requests, a list a field: the first rows of a transfer set, where there is one."""
    if transfer is None or not transfer.is_dir():
        return [["warm up"] for _ in fields]
    first = next(iter_batches(transfer, fields, rows))
    return [first.column(name).to_pylist() for name in fields]
