"""A SavedModel in a TensorFlow session, run through the C API.

TensorFlow Serving runs a `DirectSession`; so does this, and through the same entry (TF_SessionRun, without the checks and
words of `tf.Session.run`), which is why the errors of ops, dtypes and shapes come out byte for byte the same. The wrapper
is private to TensorFlow: setup.py pins the version and `tests/serving/server/test_session.py` covers it.
"""

import gc
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session as c_api
from tensorflow.python.framework import c_api_util

from tfb2d.serving.server.errors import Code, ServingError, invalid
from tfb2d.serving.server.options import Options

tf.get_logger().setLevel("ERROR")  # it would tell every restored checkpoint, and that its loader is an old one

_INLINE_BYTES = 1 << 16
_KEPT = 1000  # output filters; their order comes from outside
_LOOPS = frozenset(("While", "StatelessWhile", "Enter", "RefEnter", "For", "ParallelMapDataset"))


class Session:
    """A loaded version.

    Args:
      folder: the version folder.
      options: parallelism and tags.
      root: the base path; a link in the folder that leads out of it is refused.

    Raises:
      ServingError: the SavedModel cannot be loaded.
    """

    def __init__(self, folder: str, options: Options, root: str) -> None:
        check_folder(folder, root)
        self.graph = tf.Graph()
        try:
            with self.graph.as_default():
                self._session = tf.compat.v1.Session(graph=self.graph, config=_config(options))
                tags = [tag for tag in options.saved_model_tags.split(",") if tag]
                self.meta_graph: meta_graph_pb2.MetaGraphDef = _load(self._session, tags, folder)
            self._session._extend_graph()
        except (tf.errors.OpError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise _load_error(error, tags, folder) from None
        self.signatures = dict(self.meta_graph.signature_def)
        self._quick = not _has_loops(self.meta_graph.graph_def)
        self._inline = _run_options(inter_op_thread_pool=-1)
        self._handles: dict[str, Any] = {}
        self._fetches: dict[tuple[str, ...], list[Any]] = {}
        self._closed = False

    def check(self, name: str) -> None:
        """Refuses a tensor name that the graph does not have.

        Raises:
          ServingError: INVALID_ARGUMENT.
        """
        try:
            self._handle(name)
        except (KeyError, ValueError):
            raise invalid(
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            ) from None

    def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            op, _, index = name.partition(":")  # an output that the op does not have is for the run to refuse
            handle = c_api_util.tf_output(self.graph.get_operation_by_name(op)._c_op, int(index or 0))
            self._handles[name] = handle
        return handle

    def run(self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None) -> list[np.ndarray]:
        """One Session::Run.

        Args:
          feeds: tensor name -> array; names as `check` lets pass.
          fetches: tensor names.
          seconds: time left; None is no limit.

        Raises:
          ServingError: what the run answered, DEADLINE_EXCEEDED included.
        """
        if seconds is not None and seconds <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        quick = self._quick and sum(one.nbytes for one in feeds.values()) <= _INLINE_BYTES
        if quick or seconds is None:
            # In the caller's thread: half the time of a hand-over to the pool. A graph without loops ends by itself.
            return self._call(self._inline if quick else None, feeds, fetches)
        buffer = _run_options(timeout_in_ms=max(1, min(int(seconds * 1000), 2**62)))
        try:
            return self._call(buffer, feeds, fetches)
        finally:
            c_api.TF_DeleteBuffer(buffer)

    def _call(self, options: Any, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...]) -> list[np.ndarray]:
        inputs = {self._handle(name): value for name, value in feeds.items()}
        outputs = self._fetches.get(fetches)
        if outputs is None:
            outputs = [self._handle(name) for name in fetches]
            if len(self._fetches) < _KEPT:
                self._fetches[fetches] = outputs
        try:
            return c_api.TF_SessionRun_wrapper(self._session._session, options, inputs, outputs, [], None)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # the message quotes request bytes that are not UTF-8
            raise ServingError(Code.INVALID_ARGUMENT, error.object.decode("utf-8", "replace")) from None

    def close(self) -> None:
        """Frees the session; nothing may run in it any more."""
        if not self._closed:
            self._closed = True
            self._session.close()
            c_api.TF_DeleteBuffer(self._inline)
            self._handles.clear()
            self._fetches.clear()
            del self.graph, self._session, self.meta_graph
            gc.collect()  # a graph is full of cycles


_loading = threading.Lock()  # graph construction in Python is not made for several threads at once


def _load(session: Any, tags: Sequence[str], folder: str) -> meta_graph_pb2.MetaGraphDef:
    with _loading:
        return tf.compat.v1.saved_model.load(session, list(tags), folder)


def _run_options(**fields: int) -> Any:
    return c_api.TF_NewBufferFromString(tf.compat.v1.RunOptions(**fields).SerializeToString())


def _config(options: Options) -> Any:
    """Left to itself, a session splits even small ops over threads; a student's ranking of 100 titles took 1,400 us so, and
    1,010 us on one thread (2 cores). Requests run side by side anyway, so one thread an op is the default here.
    """
    both = options.tensorflow_session_parallelism
    return tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.tensorflow_intra_op_parallelism or both or 1,
        inter_op_parallelism_threads=options.tensorflow_inter_op_parallelism or both,
        allow_soft_placement=True,
        device_count={"GPU": 0},  # one process at a desk beside training: the accelerator is not this server's
    )


def _has_loops(graph: Any) -> bool:
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op in _LOOPS for nodes in bodies for node in nodes)


def check_folder(folder: str, root: str) -> None:
    """Refuses what is not a SavedModel and what would read outside of the base path.

    Raises:
      ServingError: NOT_FOUND or PERMISSION_DENIED.
    """
    home = os.path.realpath(root)
    for place, folders, files in os.walk(folder):
        for name in ("", *folders, *files):
            path = os.path.join(place, name)
            if os.path.islink(path.rstrip("/")) and os.path.commonpath([home, os.path.realpath(path)]) != home:
                raise ServingError(Code.PERMISSION_DENIED, f"A link leads out of the model's base path: {path}")
    if not any(Path(folder, name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise ServingError(
            Code.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
            f" `saved_model.pb`)\nSpecified file path: {folder}",
        )


def _load_error(error: Exception, tags: Sequence[str], folder: str) -> ServingError:
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), error.message or "")
    text = str(error)
    if "could not be found in SavedModel" in text:
        return ServingError(
            Code.NOT_FOUND,
            "Could not find meta graph def matching supplied tags: { " + " ".join(tags) + " }. To inspect available"
            " tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )
    if isinstance(error, OSError):
        return ServingError(Code.DATA_LOSS, f"Can't parse {folder}/saved_model.pb as binary proto")
    return ServingError(Code.INVALID_ARGUMENT, f"{folder}: {text}")
