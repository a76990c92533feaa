"""The client for asyncio: the same calls as `Client`, awaited."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, overload

import grpc
import numpy as np

from tfb2d.serving import channel
from tfb2d.serving.calls import Calls, Operation, Pause, Prediction, Send, Step, Together
from tfb2d.serving.errors import ServingError
from tfb2d.serving.plan import Row, Signature, Text


class AsyncClient(Calls):
    """Does what `Client` does for asyncio: same arguments, methods, results and errors; every method is awaited.

        async with AsyncClient("127.0.0.1:8500", model="student") as client:
            scores = await client.score(["a fine film"])

    Belongs to the event loop of its first call. A cancelled call is cancelled on the server too.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._turn = count()
        self._pool: list[tuple[grpc.aio.Channel, dict[str, Any]]] = []
        self._slots = asyncio.Semaphore(self.concurrency)
        self._closed = False

    async def score(self, rows: Iterable[Row], *, output: str = "", timeout: float | None = None) -> np.ndarray:
        """Scores rows: float32 [n], or [n, k] where the model has k classes. See `Client.score`."""
        return await self._run(self._rows(rows, self.signature, output, "score", self._deadline(timeout)))

    @overload
    async def rank(self, query: Text, titles: Sequence[Text], *, timeout: float | None = None) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    async def rank(
        self, query: Sequence[Text], titles: Sequence[Sequence[Text]], *, timeout: float | None = None
    ) -> list[np.ndarray]: ...
    async def rank(self, query: Any, titles: Any, *, timeout: float | None = None) -> Any:
        """Scores titles: float32 [len(titles)], a list of those for several queries. See `Client.rank`."""
        return await self._run(self._rank(query, titles, self._deadline(timeout)))

    async def embed(
        self, rows: Iterable[Row], *, signature: str = "embed", output: str = "", timeout: float | None = None
    ) -> np.ndarray:
        """Returns embeddings of rows, float32 [n, d], from a model that has towers."""
        return await self._run(self._rows(rows, signature, output, "embedding", self._deadline(timeout)))

    async def embed_query(self, queries: Sequence[Text], *, timeout: float | None = None) -> np.ndarray:
        """Returns a twin's vectors of queries, float32 [n, dim], of length 1."""
        return await self.embed(queries, signature="embed_query", timeout=timeout)

    async def embed_title(self, titles: Sequence[Text], *, timeout: float | None = None) -> np.ndarray:
        """Returns a twin's vectors of titles, float32 [n, dim], of length 1."""
        return await self.embed(titles, signature="embed_title", timeout=timeout)

    async def predict(
        self,
        inputs: Mapping[str, Any],
        *,
        signature: str = "",
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Prediction:
        """Sends one Predict request without chunking, and also returns which version answered. See `Client.predict`."""
        ask = self._predict_texts(inputs, signature or self.signature, outputs, self._deadline(timeout))
        return await self._run(ask)

    async def replay(self, request: bytes, *, timeout: float | None = None) -> Prediction:
        """Sends a recorded PredictRequest to this client's model. See `Client.replay`."""
        return await self._run(self._replay(request, self._deadline(timeout)))

    async def signatures(self, *, timeout: float | None = None) -> dict[str, Signature]:
        """Returns the model's signatures by name; they are kept until the server refuses a request."""
        return await self._run(self._signatures(self._deadline(timeout)))

    async def versions(self, *, timeout: float | None = None) -> dict[int, str]:
        """Returns the states of the model's versions, the highest version first."""
        return await self._run(self._versions(self._deadline(timeout)))

    async def close(self) -> None:
        """Closes the connections; calls under way are cancelled. Closing twice is fine."""
        self._closed = True
        pool, self._pool = self._pool, []
        for connection, _ in pool:
            await connection.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _call(self, method: str) -> Any:
        if self._closed:
            raise ServingError(f"the client of {self.address} is closed")
        if not self._pool:
            options = channel.channel_options(self.tls, self.keepalive, self.options)
            self._pool = [channel.connect(grpc.aio, self._target, self.tls, options) for _ in range(self.channels)]
        return self._pool[next(self._turn) % len(self._pool)][1][method]

    async def _run(self, operation: Operation) -> Any:
        """Takes an operation's steps, awaiting each."""
        try:
            step: Step = next(operation)
            while True:
                try:
                    answer = await self._take(step)
                except Exception as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as end:
            return end.value

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await (self._hedged(step) if self.hedge_after and step.method == "Predict" else self._attempt(step))
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await self._together(step)

    async def _attempt(self, step: Send) -> Any:
        try:
            return await self._call(step.method)(step.request, timeout=step.timeout)
        except asyncio.CancelledError:
            # gRPC raises this when the channel is closed; the caller's task was not cancelled
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise ServingError(f"the client of {self.address} was closed during a call") from None
            raise

    async def _together(self, step: Together) -> list[Any]:
        if len(step.operations) <= 1:
            return [await self._run(operation) for operation in step.operations]

        async def bounded(operation: Operation) -> Any:
            async with self._slots:
                return await self._run(operation)

        tasks = [asyncio.ensure_future(bounded(operation)) for operation in step.operations]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            await _drop(tasks)

    async def _hedged(self, step: Send) -> Any:
        """Sends a second time if no answer came by `hedge_after`; the first good answer counts."""
        tasks = [asyncio.ensure_future(self._attempt(step))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=min(self.hedge_after, step.timeout))
            if not done:
                tasks.append(asyncio.ensure_future(self._attempt(step)))
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if all(task.exception() for task in done):
                    done, _ = await asyncio.wait(tasks)
            good = [task for task in done if not task.exception()]
            return (good or list(done))[0].result()
        finally:
            await _drop(tasks)


async def _drop(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    """Cancels what still runs and waits for it, so that nothing outlives the call and no exception goes unseen."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
