"""The settings of `Client` and `AsyncClient`: where the model is asked, and how long and how often."""

import random
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from tfb2d.serving import channel

if TYPE_CHECKING:
    from tfb2d.serving.request_log import RequestLog


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts: the n-th is drawn from [0, min(maximum, initial * 2^n)] seconds, never past the deadline.

    Scoring changes nothing on the server, so a request that may or may not have run can be sent again. Full jitter
    draws the whole pause at random, so that the clients of a restarted server do not all return at once.

    Reference: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
    """

    initial: float = 0.05
    maximum: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.maximum:
            raise ValueError(f"backoff {self.initial}..{self.maximum} s: it takes 0 < initial <= maximum")

    def bound(self, attempt: int) -> float:
        """Returns the longest pause after failed attempt number `attempt` (from 0), in seconds."""
        return min(self.maximum, self.initial * 2.0 ** min(attempt, 60))

    def pause(self, attempt: int, remaining: float) -> float:
        """Returns a pause drawn at random, shorter than `remaining`, the seconds left to the deadline."""
        return random.uniform(0, min(self.bound(attempt), max(remaining, 0.0)))


@dataclass(eq=False)
class ClientSettings:
    """The settings that `Client` and `AsyncClient` take.

    Args:
      address: "host:8500", "unix:/path", a path, or "dns:///service:8500" (all its addresses, round-robin).
      model: the model's name on the server.
      version: the version to ask; 0 leaves it to the server, which takes the latest.
      label: ask the version that carries this label ("stable", "canary") instead.
      fields: the order of a row's texts, where the server's signature does not say it (`plan.field_order`).
      signature: the signature that `score` asks.
      timeout: seconds that a whole call may take, retries and chunks included, unless it says otherwise.
      backoff: pauses between attempts, drawn at random, never past the deadline.
      retry_exhausted: also try again when the server has no thread free (RESOURCE_EXHAUSTED), not only while it is
        UNAVAILABLE. Off by default: retries add load to a server that is full. TensorFlow Serving has four threads per
        processor unless --grpc_max_threads says otherwise.
      chunk_rows: rows (titles, in `rank`) of one request; keep it within the server's max_batch_size under batching.
      concurrency: requests of chunked calls under way at once.
      channels: connections, used in turn; more than one helps where many or large calls run at once.
      hedge_after: seconds after which a Predict without an answer is sent a second time, on the next connection, the
        slower answer being dropped; 0 never does. It lowers tail latency, at up to twice the load.
      request_log: where a sample of the requests and their answers is kept, or None.
      tls: certificates, or None for plain text.
      keepalive: seconds between pings of a connection with calls under way.
      options: further gRPC channel arguments.
    """

    address: str
    model: str = "student"
    _: KW_ONLY
    version: int = 0
    label: str = ""
    fields: Sequence[str] = ()
    signature: str = "serving_default"
    timeout: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)
    retry_exhausted: bool = False
    chunk_rows: int = 512
    concurrency: int = 4
    channels: int = 1
    hedge_after: float = 0.0
    request_log: "RequestLog | None" = None
    tls: channel.TLS | None = None
    keepalive: float = 60.0
    options: channel.Options = ()

    def __post_init__(self) -> None:
        self._target = channel.target(self.address)
        if not self.model:
            raise ValueError("the model's name is empty")
        if self.version and self.label:
            raise ValueError(f"version {self.version} and label {self.label!r} exclude each other")
        for name in ("timeout", "chunk_rows", "concurrency", "channels", "keepalive"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.version < 0 or self.hedge_after < 0:
            raise ValueError(f"version {self.version}, hedge_after {self.hedge_after}: neither can be below 0")
