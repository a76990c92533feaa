"""Client threads that send a server one request after the other and check every answer."""

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc

from tfb2d.bench.serving_load import PREDICT
from tfb2d.bench.versions import Versions

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 300),
]


@dataclass(frozen=True)
class Answer:
    """Holds the answer to a request."""

    sent: float  # seconds, of time.monotonic
    done: float
    code: str  # gRPC's
    version: int  # of the model, 0 where the request failed
    wrong: str  # the fault, or ""


class Clients:
    """Sends requests for the length of a `with` block, by `threads` clients with a connection each; keeps all answers.

    `versions` makes the payload and checks the answers: a client's must never come from an older version than before.
    `wait` says whether to wait for a server that is away.
    """

    def __init__(self, address: str, versions: Versions, threads: int = 4, wait: bool = False) -> None:
        self._address, self._versions, self._wait = address, versions, wait
        self.answers: list[Answer] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self) -> None:
        newest = 0
        with grpc.insecure_channel(self._address, OPTIONS) as channel:
            call = channel.unary_unary(PREDICT)
            while not self._stop.is_set():
                sent = time.monotonic()
                try:
                    data = call(self._versions.payload, timeout=300, wait_for_ready=self._wait)
                except grpc.RpcError as error:
                    wrong = "" if error.code() == grpc.StatusCode.UNAVAILABLE else str(error.details())
                    self.answers.append(Answer(sent, time.monotonic(), error.code().name, 0, wrong))
                    time.sleep(0.01)
                    continue
                done = time.monotonic()
                version, wrong = self._versions.check(data)
                if version < newest:
                    wrong = wrong or f"version {version} after {newest}"
                newest = version
                self.answers.append(Answer(sent, done, "OK", version, wrong))

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: int, seconds: float = 120.0) -> bool:
        """Waits for an answer from `version`; says whether one came in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(answer.version == version for answer in self.answers[-50:]):
                return True
            time.sleep(0.02)
        return False

    def wrong(self) -> list[str]:
        """Returns the faults of answers."""
        return [answer.wrong for answer in self.answers if answer.wrong]

    def codes(self) -> dict[str, int]:
        """Returns the number of answers by gRPC code."""
        return dict(sorted(Counter(answer.code for answer in self.answers).items()))

    def flawless(self) -> bool:
        """Says whether all answers are right."""
        return set(self.codes()) == {"OK"} and not self.wrong()

    def seen(self) -> dict[str, Any]:
        """Returns what a fault reports of its clients: the numbers of answers, and the first faults of answers."""
        return {"requests": len(self.answers), "codes": self.codes(), "wrong": self.wrong()[:5]}
