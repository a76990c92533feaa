"""Loads a SavedModel into a TensorFlow session and runs it, as TensorFlow Serving does: the last step of a request.

`Session.run` of tf.compat.v1 is public and always works. `fast_session` runs the same session through TensorFlow's C
interface: faster, and with the runtime's own words about wrong shapes. Where it cannot be used, this module runs alone.
"""

import contextlib
import gc
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tfb2d import tf_text
from tfb2d.errors import UserError
from tfb2d.model_folder import ABOUT
from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.tensors import type_name

_INLINE = tf.compat.v1.RunOptions(inter_op_thread_pool=-1)  # in the caller's thread, which a deadline does not stop
_INLINE_BYTES = 1 << 16  # larger inputs of other models than students are shared out over the session's threads
# Nodes that the branch of a simple graph may have. Its executor runs a branch as a function, not optimised together with
# the rest: a pair student, which is two large branches, took 12% less time for one pair so, and 27% more for 1,024.
_BRANCH = 64
_LOOPS = frozenset(("While", "StatelessWhile", "Enter", "RefEnter", "For", "ParallelMapDataset"))
_loading = threading.Lock()  # graph construction in Python is not made for several threads at once


class Session:
    """Is a loaded version.

    Args:
      folder: the version folder.
      options: parallelism, tags, and whether the fast way may be used.
      root: the base path; a link in the folder that leads out of it is refused.

    Raises:
      StatusError: the SavedModel cannot be loaded.
    """

    def __init__(self, folder: str, options: Options, root: str) -> None:
        check_folder(folder, root)
        tags = [tag for tag in options.saved_model_tags.split(",") if tag]
        try:
            graphs = [meta_graph.graph_def for meta_graph in _read(folder).meta_graphs]
            operations = _ops(graphs)
            if tf_text.are_needed(operations):
                tf_text.register(folder)
            loops = not operations.isdisjoint(_LOOPS)
            # Ops of a student are small: they run one after the other, in the caller's thread.
            self._simple = (
                Path(folder, ABOUT).is_file()
                and not loops
                and _longest_branch(graphs) <= _BRANCH
                and not _inter_op(options) > 1
            )
            self.graph = tf.Graph()
            with self.graph.as_default(), _loading, _without_chatter():
                self._session = tf.compat.v1.Session(graph=self.graph, config=_config(options, self._simple))
                self.meta_graph: meta_graph_pb2.MetaGraphDef = tf.compat.v1.saved_model.load(
                    self._session, tags, folder
                )
        except UserError as error:
            raise StatusError(Code.FAILED_PRECONDITION, str(error)) from None
        except (tf.errors.OpError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise _load_error(error, tags, folder) from None
        self.signatures = dict(self.meta_graph.signature_def)
        self._loops = loops
        self._types: dict[str, tuple[np.dtype, int]] = {}  # tensor name -> dtype: NumPy's, TensorFlow's number
        self._fast = None
        if options.accelerate and not _fast_problem():
            from tfb2d.serving.server.fast_session import FastSession

            self._fast = FastSession(self._session, self.graph)
        self._closed = False

    def check(self, name: str) -> None:
        """Refuses a tensor name that the graph does not have.

        Raises:
          StatusError: INVALID_ARGUMENT or OUT_OF_RANGE.
        """
        op_name, _, index = name.partition(":")
        try:
            op = self.graph.get_operation_by_name(op_name)
        except (KeyError, ValueError):
            raise invalid(
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            ) from None
        count = len(op.outputs)
        if int(index or 0) >= count:
            text = f"Node '{op_name}' (type: '{op.type}', num of outputs: {count}) does not have output {index or 0}"
            raise StatusError(Code.OUT_OF_RANGE, text)
        dtype = op.outputs[int(index or 0)].dtype
        self._types[name] = np.dtype(dtype.as_numpy_dtype), dtype.as_datatype_enum

    def run(self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None) -> list[np.ndarray]:
        """Runs the session once.

        Args:
          feeds: tensor name -> array; names as `check` lets pass.
          fetches: tensor names.
          seconds: time left; None is no limit.

        Returns:
          The values of the fetched tensors.

        Raises:
          StatusError: what the run answered, DEADLINE_EXCEEDED included.
        """
        if seconds is not None and seconds <= 0:
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        self._check_types(feeds)
        # A branch of a simple graph is waited for, and on the pool's threads a few such waits would wait for each other:
        # such a graph runs in the caller's thread whatever its size.
        inline = self._simple or (not self._loops and sum(array.nbytes for array in feeds.values()) <= _INLINE_BYTES)
        options = _INLINE
        if not inline:
            limit = 0 if seconds is None else max(1, min(int(seconds * 1000), 2**62))
            options = tf.compat.v1.RunOptions(timeout_in_ms=limit)
        try:
            if self._fast is not None:
                return self._fast.run(feeds, fetches, options)
            return self._session.run(list(fetches), dict(feeds), options)
        except tf.errors.OpError as error:
            raise StatusError(Code(error.error_code), _without_traces(error.message or "")) from None
        except UnicodeDecodeError as error:  # the message quotes request bytes that are not UTF-8
            raise invalid(error.object.decode("utf-8", "replace")) from None
        except ValueError as error:  # the public interface looks at shapes before the ops do
            raise invalid(str(error)) from None

    def _check_types(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Refuses what would be converted (by the public way) or not be looked at (by the fast one)."""
        for index, (name, array) in enumerate(feeds.items()):
            if name not in self._types:
                self.check(name)
            expected, number = self._types[name]
            if array.dtype != expected:
                given = type_name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
                raise invalid(f"Expects arg[{index}] to be {type_name(number)} but {given} is provided")

    def close(self) -> None:
        """Frees the session; nothing may run in it any more."""
        if not self._closed:
            self._closed = True
            if self._fast is not None:
                self._fast.close()
            self._session.close()
            del self.graph, self._session, self.meta_graph, self._fast
            gc.collect()  # a graph is full of cycles


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps from the log that the loader is an old one, and each checkpoint that it restores."""
    log = logging.getLogger("tensorflow")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log.addFilter(is_error)
    try:
        yield
    finally:
        log.removeFilter(is_error)


def _fast_problem() -> str:
    """Returns why the fast way cannot be used; "" where it can."""
    try:
        from tfb2d.serving.server.fast_session import problem
    except (ImportError, AttributeError) as error:
        return str(error)
    return problem()


def _without_traces(message: str) -> str:
    """Returns the runtime's own words, of which `Session.run` makes a report with stack traces of the graph's making."""
    if message.startswith("Graph execution error:\n\n"):
        message = message.removeprefix("Graph execution error:\n\n").partition("\n\nOriginal stack trace for")[0]
        message = message.rpartition("\nNode: ")[2].partition("\n")[2] if "\nNode: " in message else message
    return message


def _config(options: Options, simple: bool) -> Any:
    """Returns a session's settings.

    Left to itself, a session splits even small ops over threads; a student's ranking of 100 titles took 1,400 us so, and
    1,010 us on one thread (2 cores). Requests run side by side anyway, so one thread an op is the default here; and a graph
    that is `simple` enough runs its ops one after the other, without the executor's queues and locks (a sixth less time).
    """
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.tensorflow_intra_op_parallelism
        or options.tensorflow_session_parallelism
        or 1,
        inter_op_parallelism_threads=_inter_op(options),
        allow_soft_placement=True,
        device_count={"GPU": 0},  # one process at a desk beside training: the accelerator is not this server's
    )
    if simple:
        config.experimental.executor_type = "SINGLE_THREADED_EXECUTOR"
    return config


def _inter_op(options: Options) -> int:
    return options.tensorflow_inter_op_parallelism or options.tensorflow_session_parallelism


def _read(folder: str) -> saved_model_pb2.SavedModel:
    binary, text = Path(folder, "saved_model.pb"), Path(folder, "saved_model.pbtxt")
    if not binary.is_file():
        return text_format.Parse(text.read_text(encoding="utf-8"), saved_model_pb2.SavedModel())
    try:
        return saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    except DecodeError:
        raise OSError(f"{binary} cannot be parsed") from None


def _ops(graphs: Iterable[Any]) -> set[str]:
    bodies = [nodes for graph in graphs for nodes in (graph.node, *(body.node_def for body in graph.library.function))]
    return {node.op for nodes in bodies for node in nodes}


def _longest_branch(graphs: Iterable[Any]) -> int:
    """Returns the number of nodes of the largest function that is a branch of an If or Case."""
    longest = 0
    for graph in graphs:
        sizes = {body.signature.name: len(body.node_def) for body in graph.library.function}
        for node in [*graph.node, *(node for body in graph.library.function for node in body.node_def)]:
            if node.op in ("If", "StatelessIf", "Case", "StatelessCase"):
                names = [node.attr[key].func.name for key in ("then_branch", "else_branch") if key in node.attr]
                names += [func.name for func in node.attr["branches"].list.func] if "branches" in node.attr else []
                longest = max([longest, *(sizes.get(name, 0) for name in names)])
    return longest


def check_folder(folder: str, root: str) -> None:
    """Refuses what is not a SavedModel and what would read outside of the base path.

    Raises:
      StatusError: NOT_FOUND or PERMISSION_DENIED.
    """
    home = os.path.realpath(root)
    for parent, folders, files in os.walk(folder):
        for name in ("", *folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path.rstrip("/")) and os.path.commonpath([home, os.path.realpath(path)]) != home:
                raise StatusError(Code.PERMISSION_DENIED, f"A link leads out of the model's base path: {path}")
    if not any(Path(folder, name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise StatusError(
            Code.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
            f" `saved_model.pb`)\nSpecified file path: {folder}",
        )


def _load_error(error: Exception, tags: Sequence[str], folder: str) -> StatusError:
    if isinstance(error, tf.errors.OpError):
        return StatusError(Code(error.error_code), error.message or "")
    text = str(error)
    if "could not be found in SavedModel" in text:
        return StatusError(
            Code.NOT_FOUND,
            "Could not find meta graph def matching supplied tags: { " + " ".join(tags) + " }. To inspect available"
            " tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )
    if isinstance(error, OSError):
        return StatusError(Code.DATA_LOSS, f"Can't parse {folder}/saved_model.pb as binary proto")
    return StatusError(Code.INVALID_ARGUMENT, f"{folder}: {text}")
