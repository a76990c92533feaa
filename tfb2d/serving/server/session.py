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
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from tfb2d import tf_text
from tfb2d.errors import UserError
from tfb2d.model_folder import ABOUT
from tfb2d.processor import multiplies_bfloat16
from tfb2d.serving.server import fast_session
from tfb2d.serving.server.errors import Code, StatusError, invalid, timed_out
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.tensors import type_name

DEFAULT_SIGNATURE = "serving_default"
_INLINE = tf.compat.v1.RunOptions(inter_op_thread_pool=-1)  # in the caller's thread, which a deadline does not stop
_INLINE_BYTES = 1 << 16  # larger inputs of other models than students are shared out over the session's threads
# Nodes that the branch of a simple graph may have. Its executor runs a branch as a function, not optimised together with
# the rest: a pair student, which is two large branches, took 12% less time for one pair so, and 27% more for 1,024.
_BRANCH = 64
_LOOPS = frozenset(("While", "StatelessWhile", "Enter", "RefEnter", "For", "ParallelMapDataset"))
_BRANCHES = frozenset(("If", "StatelessIf", "Case", "StatelessCase"))
_loading = threading.Lock()  # graph construction in Python is not made for several threads at once


class Session:
    """Is a loaded version, of its folder; a link in it that leads out of `root`, the base path, is refused."""

    def __init__(self, folder: str, options: Options, root: str) -> None:
        check_folder(folder, root)
        tags = [tag for tag in options.saved_model_tags.split(",") if tag]
        try:
            graphs = [meta_graph.graph_def for meta_graph in _read(folder).meta_graphs]
            operations, longest_branch = _ops(graphs)
            if tf_text.are_needed(operations):
                tf_text.register(folder)
            self._loops = not operations.isdisjoint(_LOOPS)
            # Ops of a student are small: they run one after the other, in the caller's thread.
            small = Path(folder, ABOUT).is_file() and not self._loops and longest_branch <= _BRANCH
            self._simple = small and _inter_op(options) <= 1
            self._graph = tf.Graph()
            with self._graph.as_default(), _loading, _without_chatter():
                self._session = tf.compat.v1.Session(graph=self._graph, config=_config(options, self._simple))
                meta_graph = tf.compat.v1.saved_model.load(self._session, tags, folder)
        except UserError as error:
            raise StatusError(Code.FAILED_PRECONDITION, str(error)) from None
        except (tf.errors.OpError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise _load_error(error, tags, folder) from None
        self.signatures = dict(meta_graph.signature_def)
        self._types: dict[str, tuple[np.dtype, int]] = {}  # tensor name -> dtype: NumPy's, TensorFlow's number
        fast = options.accelerate and not fast_session.problem()
        self._fast = fast_session.FastSession(self._session, self._graph) if fast else None

    def check(self, name: str) -> None:
        """Refuses a tensor name that the graph does not have."""
        op_name, _, index = name.partition(":")
        try:
            op = self._graph.get_operation_by_name(op_name)
        except (KeyError, ValueError):
            text = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            raise invalid(text) from None
        output, count = int(index or 0), len(op.outputs)
        if output >= count:
            text = f"Node '{op_name}' (type: '{op.type}', num of outputs: {count}) does not have output {output}"
            raise StatusError(Code.OUT_OF_RANGE, text)
        dtype = op.outputs[output].dtype
        self._types[name] = np.dtype(dtype.as_numpy_dtype), dtype.as_datatype_enum

    def run(self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None) -> list[np.ndarray]:
        """Runs the session once: arrays by tensor name go in, the values of the fetched tensors come out.

        `seconds` is the time left; None is no limit.
        """
        if seconds is not None and seconds <= 0:
            raise timed_out()
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
        """Refuses what the public way would convert and the fast one not look at."""
        for index, (name, array) in enumerate(feeds.items()):
            if name not in self._types:
                self.check(name)
            expected, number = self._types[name]
            if array.dtype != expected:
                given = type_name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
                raise invalid(f"Expects arg[{index}] to be {type_name(number)} but {given} is provided")

    def close(self) -> None:
        """Frees the session; nothing may run in it any more."""
        if self._fast is not None:
            self._fast.close()
        self._session.close()
        del self._graph, self._session, self._fast
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
    threads = options.tensorflow_intra_op_parallelism or options.tensorflow_session_parallelism or 1
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=_inter_op(options),
        allow_soft_placement=True,
        device_count={"GPU": 0},  # one process at a desk beside training: the accelerator is not this server's
    )
    if options.mixed_precision and multiplies_bfloat16():
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
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


def _ops(graphs: Iterable[Any]) -> tuple[set[str], int]:
    """Returns the ops of graphs, and the nodes of the largest function that is a branch of an If or Case."""
    ops: set[str] = set()
    longest = 0
    for graph in graphs:
        nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
        ops.update(node.op for node in nodes)
        sizes = {body.signature.name: len(body.node_def) for body in graph.library.function}
        values = [value for node in nodes if node.op in _BRANCHES for value in node.attr.values()]
        branches = [branch.name for value in values for branch in (value.func, *value.list.func)]
        longest = max([longest, *(sizes.get(name, 0) for name in branches)])
    return ops, longest


def check_folder(folder: str, root: str) -> None:
    """Refuses what is not a SavedModel and what would read outside of the base path."""
    home = os.path.realpath(root)
    for parent, folders, files in os.walk(folder):
        for name in ("", *folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path.rstrip("/")) and os.path.commonpath([home, os.path.realpath(path)]) != home:
                raise StatusError(Code.PERMISSION_DENIED, f"A link leads out of the model's base path: {path}")
    if not any(Path(folder, name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        text = "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
        raise StatusError(Code.NOT_FOUND, f"{text} `saved_model.pb`)\nSpecified file path: {folder}")


def _load_error(error: Exception, tags: Sequence[str], folder: str) -> StatusError:
    if isinstance(error, tf.errors.OpError):
        return StatusError(Code(error.error_code), error.message or "")
    text = str(error)
    if "could not be found in SavedModel" in text:
        inspect = "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
        listed = f"{{ {' '.join(tags)} }}"
        message = f"Could not find meta graph def matching supplied tags: {listed}. {inspect}"
        return StatusError(Code.NOT_FOUND, message)
    if isinstance(error, OSError):
        return StatusError(Code.DATA_LOSS, f"Can't parse {folder}/saved_model.pb as binary proto")
    return StatusError(Code.INVALID_ARGUMENT, f"{folder}: {text}")
