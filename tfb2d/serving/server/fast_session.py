"""Runs a tf.compat.v1.Session through TensorFlow's C interface, without the Python around `Session.run`.

It is the entry that TensorFlow Serving uses, so that errors of ops and shapes have the same words. The wrapper is private
to TensorFlow: `problem` tries it when the first model is loaded, and `session` runs without it where it has changed.
"""

import functools
import logging
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as c_api
from tensorflow.python.framework import c_api_util

_log = logging.getLogger(__name__)
_KEPT = 1000  # output filters; their order comes from outside
_CALLABLES = 32  # each keeps executors of its own


@functools.cache
def problem() -> str:
    """Returns why the C interface cannot be used; "" where a small graph gives the right answer."""
    try:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            fed = tf.compat.v1.placeholder(tf.float32, [None], name="x")
            tf.add(fed, 1.0, name="y")
            fast = FastSession(session, graph)
            feeds = {"x:0": np.ones(2, np.float32)}
            answers = [
                fast.run(feeds, ("y:0",), seconds, inline)[0] for seconds, inline in ((None, True), (5.0, False))
            ]
            fast.close()
        reason = "" if all(answer.tolist() == [2, 2] for answer in answers) else "it answers wrongly"
    except Exception as error:  # whatever a change of private functions leads to
        reason = f"{type(error).__name__}: {error}"
    if reason:
        _log.warning("models run by TensorFlow's public session, which is slower: %s", reason)
    return reason


class FastSession:
    """The fast way to run a session.

    Args:
      session: the session, with its graph complete.
      graph: its graph.
    """

    def __init__(self, session: tf.compat.v1.Session, graph: tf.Graph) -> None:
        session._extend_graph()
        self._session = session._session
        self._graph = graph
        self._inline = _run_options(inter_op_thread_pool=-1)  # in the caller's thread
        self._handles: dict[str, Any] = {}
        self._fetches: dict[tuple[str, ...], list[Any]] = {}
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self._making = threading.Lock()

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None, inline: bool
    ) -> list[np.ndarray]:
        """Runs the session once. Types of what is fed must be checked: a callable does not look at them.

        Args:
          feeds: tensor name -> array.
          fetches: tensor names.
          seconds: time left; None is no limit. Not looked at where the run is in the caller's thread.
          inline: whether it is.

        Raises:
          tf.errors.OpError: what the run answered.
        """
        if inline and (handle := self._callable(tuple(feeds), fetches)) is not None:
            return c_api.TF_SessionRunCallable(self._session, handle, list(feeds.values()), None)
        inputs = {self._handle(name): array for name, array in feeds.items()}
        outputs = self._fetches.get(fetches)
        if outputs is None:
            outputs = [self._handle(name) for name in fetches]
            if len(self._fetches) < _KEPT:
                self._fetches[fetches] = outputs
        limited = not inline and seconds is not None
        options = self._inline if inline else None
        if limited:
            options = _run_options(timeout_in_ms=max(1, min(int((seconds or 0) * 1000), 2**62)))
        try:
            return c_api.TF_SessionRun_wrapper(self._session, options, inputs, outputs, [], None)
        finally:
            if limited:
                c_api.TF_DeleteBuffer(options)

    def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            op, _, index = name.partition(":")
            handle = c_api_util.tf_output(self._graph.get_operation_by_name(op)._c_op, int(index or 0))
            self._handles[name] = handle
        return handle

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        """Returns what runs these feeds and fetches without looking names up; None where there are too many of them."""
        key = feeds, fetches
        if key not in self._callables and len(self._callables) < _CALLABLES:
            with self._making:
                if key not in self._callables:
                    self._callables[key] = self._make(*key)
        return self._callables.get(key)

    def _make(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = -1
        buffer = c_api.TF_NewBufferFromString(options.SerializeToString())
        try:
            return c_api.TF_SessionMakeCallable(self._session, buffer)
        except tf.errors.OpError:  # a run says it in the words that clients know
            return None
        finally:
            c_api.TF_DeleteBuffer(buffer)

    def close(self) -> None:
        """Frees what was made; the session itself stays."""
        for handle in self._callables.values():
            if handle is not None:
                c_api.TF_SessionReleaseCallable(self._session, handle)
        self._callables.clear()
        c_api.TF_DeleteBuffer(self._inline)


def _run_options(**fields: int) -> Any:
    return c_api.TF_NewBufferFromString(tf.compat.v1.RunOptions(**fields).SerializeToString())
