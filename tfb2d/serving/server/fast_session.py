"""Runs a tf.compat.v1.Session through TensorFlow's C interface, without the Python around `Session.run`.

It is the entry that TensorFlow Serving uses, so that errors of ops and shapes have the same words. The names are private
to TensorFlow: `problem` tries them when the first model is loaded, and `session` runs without them where they changed.
"""

import functools
import logging
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

_log = logging.getLogger(__name__)
_CALLABLES = 32  # each keeps executors of its own; output filters, and their order, come from outside


@functools.cache
def problem() -> str:
    """Returns why the C interface cannot be used; "" where a small graph gives the right answer."""
    try:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            fed = tf.compat.v1.placeholder(tf.float32, [None], name="x")
            tf.add(fed, 1.0, name="y")
            fast = FastSession(session, graph)
            feeds = {"x:0": np.ones(2, np.float32)}
            kinds = config_pb2.RunOptions(inter_op_thread_pool=-1), config_pb2.RunOptions(timeout_in_ms=5000)
            answers = [fast.run(feeds, ("y:0",), options)[0] for options in kinds]
            fast.close()
        reason = "" if all(answer.tolist() == [2, 2] for answer in answers) else "it answers wrongly"
    except Exception as error:  # whatever a change of private functions leads to
        reason = f"{type(error).__name__}: {error}"
    if reason:
        _log.warning("models run by TensorFlow's public session, which is slower: %s", reason)
    return reason


class FastSession:
    """Runs a session whose graph is complete."""

    def __init__(self, session: tf.compat.v1.Session, graph: tf.Graph) -> None:
        from tensorflow.python.client import pywrap_tf_session

        session._extend_graph()
        self._session, self._graph, self._c_api = session, graph, pywrap_tf_session
        self._handles: dict[str, Any] = {}  # tensor name -> the C interface's
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self._making = threading.Lock()

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], options: config_pb2.RunOptions
    ) -> list[np.ndarray]:
        """Runs the session once, with arrays by tensor name; raises tf.errors.OpError as the run answers.

        Types of what is fed must be checked before: a callable does not look at them. Options of runs in the caller's
        thread (inter_op_thread_pool -1) must be alike.
        """
        if options.inter_op_thread_pool < 0 and (run := self._callable(feeds, fetches, options)):
            return run(*feeds.values())
        inputs = {self._handle(name): array for name, array in feeds.items()}
        outputs = [self._handle(name) for name in fetches]
        buffer = self._c_api.TF_NewBufferFromString(options.SerializeToString())
        try:
            return self._c_api.TF_SessionRun_wrapper(self._session._session, buffer, inputs, outputs, [], None)
        finally:
            self._c_api.TF_DeleteBuffer(buffer)

    def _handle(self, name: str) -> Any:
        if name not in self._handles:
            tensor = self._graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
            self._handles[name] = tensor._as_tf_output()
        return self._handles[name]

    def _callable(
        self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], options: config_pb2.RunOptions
    ) -> Any:
        """Returns what runs these feeds and fetches without looking names up; None where there are too many of them."""
        key = tuple(feeds), fetches
        if key not in self._callables and len(self._callables) < _CALLABLES:
            with self._making:
                if key not in self._callables:
                    self._callables[key] = self._make(*key, options)
        return self._callables.get(key)

    def _make(self, feeds: tuple[str, ...], fetches: tuple[str, ...], options: config_pb2.RunOptions) -> Any:
        made = config_pb2.CallableOptions(feed=feeds, fetch=fetches, run_options=options)
        try:
            return self._session._make_callable_from_options(made)
        except tf.errors.OpError:  # a run says it in the words that clients know
            return None

    def close(self) -> None:
        """Frees what was made; the session itself stays."""
        self._callables.clear()
