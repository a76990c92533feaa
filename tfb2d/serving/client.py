"""A client that asks a running TensorFlow Serving, or the embedded server, for scores.

    from tfb2d.serving import Client

    with Client("127.0.0.1:8500", model="student") as client:
        scores = client.score([("red shoes", "Nike Air Zoom, red"), ("red shoes", "Garden hose")])
        scores = client.rank("red shoes", ["Nike Air Zoom, red", "Garden hose"])

Imports gRPC, protobuf and numpy only, never TensorFlow. One client serves many threads. Keep it for the life of the
process, since connecting costs more than a call.
"""

import os
import queue
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from itertools import count
from threading import Lock
from typing import Any, overload

import grpc
import numpy as np

from tfb2d.serving import channel
from tfb2d.serving.calls import Calls, Operation, Pause, Prediction, Send, Step, Together
from tfb2d.serving.errors import ServingError
from tfb2d.serving.plan import Row, Signature, Text


class Client(Calls):
    """Scores, ranks and embeds by asking a server; see `ClientSettings` for the arguments.

    All methods take `timeout` in seconds (None: the client's own), within which they retry while the server is
    UNAVAILABLE (with `retry_exhausted` also where it has no thread free), and raise

      ServerUnreachable: UNAVAILABLE until the deadline.
      DeadlineExceeded: no answer in time.
      ServingError: any other refusal, or a model without the signature.
      TypeError, ValueError: arguments that do not fit the model; nothing was sent.

    Threads may share a client. Connections open at the first call. A process that forks should do so before that:
    gRPC's threads do not survive a fork, so a client refuses to work in a child of the process that it was used in.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lock = Lock()
        self._turn = count()
        self._pool: list[tuple[grpc.Channel, dict[str, Any]]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._pid = 0
        self._closed = False

    def score(self, rows: Iterable[Row], *, output: str = "", timeout: float | None = None) -> np.ndarray:
        """Scores rows.

        Args:
          rows: a text, a (query, title) tuple or a dict {field: text} a row; texts are str or UTF-8 bytes.
          output: which output of the signature, such as "logit"; "" is "score", or the only one.
          timeout: seconds.

        Returns:
          float32 [n], or [n, k] where the model has k classes; in the rows' order.
        """
        return self._run(self._rows(rows, self.signature, output, "score", self._deadline(timeout)))

    @overload
    def rank(self, query: Text, titles: Sequence[Text], *, timeout: float | None = None) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    def rank(
        self, query: Sequence[Text], titles: Sequence[Sequence[Text]], *, timeout: float | None = None
    ) -> list[np.ndarray]: ...
    def rank(self, query: Any, titles: Any, *, timeout: float | None = None) -> Any:
        """Scores titles for a query, which is sent and embedded once.

        Args:
          query: one query, or several.
          titles: its titles; for several queries a list for each, of any lengths.
          timeout: seconds.

        Returns:
          float32 [len(titles)] in their order; for several queries a list of such arrays.
        """
        return self._run(self._rank(query, titles, self._deadline(timeout)))

    def embed(
        self, rows: Iterable[Row], *, signature: str = "embed", output: str = "", timeout: float | None = None
    ) -> np.ndarray:
        """Returns embeddings of rows, float32 [n, d], from a model that has towers."""
        return self._run(self._rows(rows, signature, output, "embedding", self._deadline(timeout)))

    def embed_query(self, queries: Sequence[Text], *, timeout: float | None = None) -> np.ndarray:
        """Returns a twin's vectors of queries, float32 [n, dim], of length 1."""
        return self.embed(queries, signature="embed_query", timeout=timeout)

    def embed_title(self, titles: Sequence[Text], *, timeout: float | None = None) -> np.ndarray:
        """Returns a twin's vectors of titles, float32 [n, dim], of length 1."""
        return self.embed(titles, signature="embed_title", timeout=timeout)

    def predict(
        self,
        inputs: Mapping[str, Any],
        *,
        signature: str = "",
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Prediction:
        """Sends one Predict request without chunking, and also returns which version answered.

        Args:
          inputs: texts by input name, as nested lists of any shape.
          signature: "" takes the client's.
          outputs: names of outputs; none means all. Answers of `rank` may have further columns (see serving/README.md).
          timeout: seconds.
        """
        ask = self._predict_texts(inputs, signature or self.signature, outputs, self._deadline(timeout))
        return self._run(ask)

    def replay(self, request: bytes, *, timeout: float | None = None) -> Prediction:
        """Sends a recorded PredictRequest (serialized, as in request logs and warm-up files) to this client's model."""
        return self._run(self._replay(request, self._deadline(timeout)))

    def signatures(self, *, timeout: float | None = None) -> dict[str, Signature]:
        """Returns the model's signatures by name; they are kept until the server refuses a request."""
        return self._run(self._signatures(self._deadline(timeout)))

    def versions(self, *, timeout: float | None = None) -> dict[int, str]:
        """Returns the states of the model's versions, such as {2: "AVAILABLE", 1: "END"}, the highest version first."""
        return self._run(self._versions(self._deadline(timeout)))

    def close(self) -> None:
        """Closes the connections; calls under way fail with CANCELLED. Closing twice is fine."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, []
            if self._threads:
                self._threads.shutdown(wait=False, cancel_futures=True)
        for connection, _ in pool:
            connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str) -> Any:
        """Returns the next connection's callable for `method`."""
        if self._pid != os.getpid() or not self._pool:
            self._connect()
        pool = self._pool
        if not pool:
            raise ServingError(f"the client of {self.address} is closed")
        return pool[next(self._turn) % len(pool)][1][method]

    def _connect(self) -> None:
        with self._lock:
            if self._closed or (self._pool and self._pid == os.getpid()):
                return
            if self._pid:
                raise ServingError(f"the client of {self.address} was used before this process forked; make one after")
            options = channel.channel_options(self.tls, self.keepalive, self.options)
            pool = [channel.connect(grpc, self._target, self.tls, options) for _ in range(self.channels)]
            self._pid, self._pool = os.getpid(), pool

    def _run(self, operation: Operation) -> Any:
        """Takes an operation's steps, blocking."""
        try:
            step: Step = next(operation)
            while True:
                try:
                    answer = self._take(step)
                except Exception as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as end:
            return end.value

    def _take(self, step: Step) -> Any:
        if isinstance(step, Send):
            if self.hedge_after and step.method == "Predict":
                return self._hedged(step)
            return self._call(step.method)(step.request, timeout=step.timeout)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self._together(step)

    def _together(self, step: Together) -> list[Any]:
        if len(step.operations) <= 1:
            return [self._run(operation) for operation in step.operations]
        with self._lock:
            if self._closed:
                raise ServingError(f"the client of {self.address} is closed")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.concurrency, "tfb2d-client")
            futures = [self._threads.submit(self._run, operation) for operation in step.operations]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            done = [future for future in futures if future.done() and not future.cancelled()]
            failed = next((future for future in done if future.exception()), None)
            return [future.result() for future in ([failed] if failed else futures)]
        except CancelledError:
            raise ServingError(f"the client of {self.address} was closed during a call") from None
        finally:
            for future in futures:
                future.cancel()

    def _hedged(self, step: Send) -> Any:
        """Sends a second time if no answer came by `hedge_after`; the first good answer counts."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        sent = []

        def send() -> None:
            future = self._call(step.method).future(step.request, timeout=step.timeout)
            sent.append(future)
            future.add_done_callback(done.put)

        send()
        try:
            try:
                first = done.get(timeout=min(self.hedge_after, step.timeout))
            except queue.Empty:
                send()
                first = done.get()
                if first.code() is not grpc.StatusCode.OK:
                    first = done.get()
            return first.result()
        finally:
            for future in sent:
                future.cancel()
