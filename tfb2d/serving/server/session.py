"""A SavedModel in a TensorFlow session, run through the C API.

TensorFlow Serving runs a `DirectSession`; so does this, and through the same entry (TF_SessionRun, without the checks and
words of `tf.Session.run`), which is why the errors of ops, dtypes and shapes come out byte for byte the same. The wrapper
is private to TensorFlow: setup.py pins the version and `tests/serving/server/test_session.py` covers it.
"""

import gc
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session as c_api
from tensorflow.python.framework import c_api_util
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from tfb2d.serving.server.errors import Code, ServingError, invalid
from tfb2d.serving.server.options import Options

tf.get_logger().setLevel("ERROR")  # it would tell every restored checkpoint, and that its loader is an old one

_INLINE_BYTES = 1 << 16
_KEPT = 1000  # output filters; their order comes from outside
_CALLABLES = 32  # each keeps executors of its own
# Nodes that the branch of a simple graph may have. Its executor runs a branch as a function, not optimised together with
# the rest: a pair student, which is two large branches, took 12% less time for one pair so, 27% more for 1,024.
_BRANCH = 64
_LOOPS = frozenset(("While", "StatelessWhile", "Enter", "RefEnter", "For", "ParallelMapDataset"))
# What SINGLE_THREADED_EXECUTOR does not take (tensorflow/core/common_runtime/single_threaded_executor.cc): control flow of
# TensorFlow 1 and outputs that are references.
_OLD = frozenset(("Switch", "Merge", "RefSwitch", "RefMerge", "Variable", "VariableV2", "TemporaryVariable", "Assign"))


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
        tags = [tag for tag in options.saved_model_tags.split(",") if tag]
        try:
            loader = SavedModelLoader(folder)
            graphs = [one.graph_def for one in loader.saved_model.meta_graphs]
            ops = _ops(graphs)
            simple = ops.isdisjoint(_LOOPS | _OLD) and _longest_branch(graphs) <= _BRANCH and not _inter_op(options)
            with self.graph.as_default():
                self._session = tf.compat.v1.Session(graph=self.graph, config=_config(options, simple))
                self.meta_graph: meta_graph_pb2.MetaGraphDef = _load(self._session, tags, loader)
            self._session._extend_graph()
        except (tf.errors.OpError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise _load_error(error, tags, folder) from None
        self.signatures = dict(self.meta_graph.signature_def)
        # A branch of a simple graph is waited for, and on the pool's threads a few such waits would wait for each other:
        # such a graph runs in the caller's thread whatever its size.
        self._simple = simple
        self._quick = ops.isdisjoint(_LOOPS)
        self._inline = _run_options(inter_op_thread_pool=-1)
        self._handles: dict[str, Any] = {}
        self._types: dict[str, np.dtype] = {}
        self._fetches: dict[tuple[str, ...], list[Any]] = {}
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self._making = threading.Lock()
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
            found = self.graph.get_operation_by_name(op)
            handle = c_api_util.tf_output(found._c_op, int(index or 0))
            self._handles[name] = handle
            kinds = [one.dtype for one in found.outputs[int(index or 0) :][:1]]
            if kinds and kinds[0] not in (tf.resource, tf.variant):
                self._types[name] = np.dtype(kinds[0].as_numpy_dtype)
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
        quick = self._simple or (self._quick and sum(one.nbytes for one in feeds.values()) <= _INLINE_BYTES)
        try:
            if quick:
                handle = self._callable(feeds, fetches)
                if handle is not None:
                    return c_api.TF_SessionRunCallable(self._session._session, handle, list(feeds.values()), None)
            return self._call(feeds, fetches, None if quick else seconds, self._inline if quick else None)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # the message quotes request bytes that are not UTF-8
            raise ServingError(Code.INVALID_ARGUMENT, error.object.decode("utf-8", "replace")) from None

    def _callable(self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...]) -> Any:
        """What runs these feeds and fetches without looking names up, or None: a session checks what is fed to a run, but
        not what is fed to a callable.
        """
        for name, value in feeds.items():
            if value.dtype != self._types.get(name):
                return None
        key = tuple(feeds), fetches
        handle = self._callables.get(key)
        if handle is None and key not in self._callables and len(self._callables) < _CALLABLES:
            with self._making:
                if key not in self._callables:
                    self._callables[key] = self._make(*key)
            handle = self._callables[key]
        return handle

    def _make(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = -1  # in the caller's thread
        buffer = c_api.TF_NewBufferFromString(options.SerializeToString())
        try:
            return c_api.TF_SessionMakeCallable(self._session._session, buffer)
        except tf.errors.OpError:  # a run says it in the words that clients know
            return None
        finally:
            c_api.TF_DeleteBuffer(buffer)

    def _call(
        self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None, options: Any
    ) -> list[np.ndarray]:
        inputs = {self._handle(name): value for name, value in feeds.items()}
        outputs = self._fetches.get(fetches)
        if outputs is None:
            outputs = [self._handle(name) for name in fetches]
            if len(self._fetches) < _KEPT:
                self._fetches[fetches] = outputs
        buffer = None
        if seconds is not None:
            buffer = options = _run_options(timeout_in_ms=max(1, min(int(seconds * 1000), 2**62)))
        try:
            return c_api.TF_SessionRun_wrapper(self._session._session, options, inputs, outputs, [], None)
        finally:
            if buffer is not None:
                c_api.TF_DeleteBuffer(buffer)

    def close(self) -> None:
        """Frees the session; nothing may run in it any more."""
        if not self._closed:
            self._closed = True
            for handle in self._callables.values():
                if handle is not None:
                    c_api.TF_SessionReleaseCallable(self._session._session, handle)
            self._callables.clear()
            self._session.close()
            c_api.TF_DeleteBuffer(self._inline)
            self._handles.clear()
            self._fetches.clear()
            del self.graph, self._session, self.meta_graph
            gc.collect()  # a graph is full of cycles


_loading = threading.Lock()  # graph construction in Python is not made for several threads at once


def _load(session: Any, tags: Sequence[str], loader: SavedModelLoader) -> meta_graph_pb2.MetaGraphDef:
    with _loading:
        return loader.load(session, list(tags))


def _run_options(**fields: int) -> Any:
    return c_api.TF_NewBufferFromString(tf.compat.v1.RunOptions(**fields).SerializeToString())


def _config(options: Options, simple: bool) -> Any:
    """Left to itself, a session splits even small ops over threads; a student's ranking of 100 titles took 1,400 us so, and
    1,010 us on one thread (2 cores). Requests run side by side anyway, so one thread an op is the default here; and a graph
    that is `simple` enough runs its ops one after the other, without the executor's queues and locks (a sixth less time).
    """
    both = options.tensorflow_session_parallelism
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.tensorflow_intra_op_parallelism or both or 1,
        inter_op_parallelism_threads=options.tensorflow_inter_op_parallelism or both,
        allow_soft_placement=True,
        device_count={"GPU": 0},  # one process at a desk beside training: the accelerator is not this server's
    )
    if simple:
        config.experimental.executor_type = "SINGLE_THREADED_EXECUTOR"
    return config


def _inter_op(options: Options) -> bool:
    """Whether somebody asked for ops side by side."""
    return (options.tensorflow_inter_op_parallelism or options.tensorflow_session_parallelism) > 1


def _ops(graphs: Iterable[Any]) -> set[str]:
    bodies = [nodes for one in graphs for nodes in (one.node, *(body.node_def for body in one.library.function))]
    return {node.op for nodes in bodies for node in nodes}


def _longest_branch(graphs: Iterable[Any]) -> int:
    """Nodes of the largest function that is a branch of an If or Case."""
    longest = 0
    for one in graphs:
        sizes = {body.signature.name: len(body.node_def) for body in one.library.function}
        nodes = [*one.node, *(node for body in one.library.function for node in body.node_def)]
        for node in nodes:
            if node.op in ("If", "StatelessIf", "Case", "StatelessCase"):
                attr = node.attr
                names = [attr["then_branch"].func.name, attr["else_branch"].func.name] if "then_branch" in attr else []
                names += [func.name for func in attr["branches"].list.func] if "branches" in attr else []
                longest = max([longest, *(sizes.get(name, 0) for name in names)])
    return longest


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
