"""Faults of production, done to a real server: each fault is a function that returns its observations.

A server fails a fault by a failed request, a wrong answer, a hang or growing memory. Servers are processes on loopback
that serve versions made from the given model (`tfb2d.bench.versions`).
"""

import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from tfb2d.bench.clients import OPTIONS, Clients
from tfb2d.bench.serving_load import PREDICT, repeated
from tfb2d.bench.versions import Versions
from tfb2d.serving.local import LocalServer

RETURN_SECONDS = 1.0  # within which clients must get answers from a restarted server
GROWTH = 1.15  # most growth of resident memory after a tenth of the requests
FLAGS = ("--max_num_load_retries=0", "--grpc_max_threads=64")


@dataclass(frozen=True)
class Counts:
    """Holds the size of each fault."""

    swaps: int = 20
    connections: int = 1000
    fuzz: int = 100_000
    requests: int = 1_000_000


@dataclass
class Arena:
    """Holds what faults work with."""

    model: Path  # folder of the exported model
    payload: bytes  # a serialized PredictRequest of a few rows
    heavy: bytes  # one of enough rows to take a while
    work: Path  # an empty folder for the versions
    names: Any  # `fuzz.Names` of fuzzed requests
    counts: Counts = field(default_factory=Counts)

    def versions(self, name: str) -> Versions:
        """Makes version 1 of the model in a folder of the fault's own."""
        made = Versions(self.model, self.work / name / self.model.name, self.payload)
        made.make(1)
        return made

    def server(self, versions: Versions, *flags: str, port: int = 0) -> LocalServer:
        """Starts a server of these versions."""
        base = [f"--model_name={self.model.name}", f"--model_base_path={versions.folder}"]
        return LocalServer([*base, *FLAGS, *flags], wait=300.0, port=port)


Result = dict[str, Any]  # "passed", and observations


def swaps(arena: Arena) -> Result:
    """Serves new versions under load: no request may fail, and each answer must be its version's own."""
    versions, count = arena.versions("swaps"), arena.counts.swaps
    seconds = []
    with arena.server(versions) as server, Clients(server.address, versions) as clients:
        late = not clients.wait_for(1)
        for number in range(2, count + 2):
            began = time.monotonic()
            versions.make(number)
            late = not clients.wait_for(number) or late
            seconds.append(time.monotonic() - began)
            shutil.rmtree(versions.folder / str(number - 1))
    slowest = max(answer.done - answer.sent for answer in clients.answers)
    times = {"seconds_a_swap": sum(seconds) / len(seconds), "slowest_s": slowest}
    return {"passed": not late and clients.flawless(), "swaps": count, **times, **clients.seen()}


def drain(arena: Arena) -> Result:
    """Sends SIGTERM while long requests run: the server must answer each of them and then end by itself."""
    versions = arena.versions("drain")
    with arena.server(versions) as server, grpc.insecure_channel(server.address, OPTIONS) as channel:
        call = channel.unary_unary(PREDICT)
        call(versions.payload, timeout=60)
        pending = [call.future(arena.heavy, timeout=120) for _ in range(8)]
        time.sleep(0.2)  # they have arrived
        open_still = sum(not call.done() for call in pending)
        server.process.send_signal(signal.SIGTERM)
        codes = [call.code().name for call in pending]
        status = server.process.wait(60)
    passed = set(codes) == {"OK"} and status == 0
    return {"passed": passed, "in_work": open_still, "codes": codes, "exit_status": status}


def kill(arena: Arena) -> Result:
    """Sends SIGKILL and restarts the server on its port: every client must get answers within RETURN_SECONDS."""
    versions = arena.versions("kill")
    with ExitStack() as stack:
        first = stack.enter_context(arena.server(versions))
        clients = stack.enter_context(Clients(first.address, versions, wait=True))
        clients.wait_for(1)
        first.process.kill()
        killed = time.monotonic()
        first.process.wait()
        with arena.server(versions, port=first.port):
            back = time.monotonic()  # its port answers
            time.sleep(3.0)
            clients.__exit__()
    # Each client waits with a request while the server is away. The port answers just before `back` is read.
    right = [answer for answer in clients.answers if answer.code == "OK"]
    waited = [answer for answer in right if answer.sent < back and answer.done > killed + 0.1]
    answered = sorted(max(0.0, answer.done - back) for answer in waited)
    passed = bool(answered) and answered[-1] < RETURN_SECONDS and not clients.wrong()
    return {"passed": passed, "down_s": back - killed, "answered_s_after_return": answered, **clients.seen()}


def half_copied(arena: Arena) -> Result:
    """Copies a version file by file and replaces it half-way: it must not be served before the last byte."""
    versions = arena.versions("half_copied")
    aside = arena.work / "aside"
    old, new = versions.make(2, str(aside / "old")), versions.make(2, str(aside / "new"))
    target = versions.folder / "2"
    with arena.server(versions) as server, Clients(server.address, versions, threads=2) as clients:
        clients.wait_for(1)
        _copy(old, target, share=0.5)
        shutil.rmtree(target)
        _copy(new, target, share=1.0)
        complete = time.monotonic()
        served = clients.wait_for(2)
    early = sum(answer.version == 2 and answer.done < complete for answer in clients.answers)
    passed = served and not early and clients.flawless()
    return {"passed": passed, "served_early": early, "served_later": served, **clients.seen()}


def _copy(source: Path, target: Path, share: float) -> None:
    """Copies the first `share` of the files in pieces, saved_model.pb before its variables."""
    files = sorted(file for file in source.rglob("*") if file.is_file())
    for path in files[: max(1, round(len(files) * share))]:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        size = len(data) // 4 + 1
        with copy.open("wb") as out:
            for start in range(0, len(data), size):
                out.write(data[start : start + size])
                out.flush()
                time.sleep(0.1)


def idle_clients(arena: Arena) -> Result:
    """Opens connections that stay silent or send single bytes, and calls without a message: others must be served."""
    versions = arena.versions("idle_clients")
    held = threading.Event()

    def never() -> Any:
        held.wait(300)
        yield b""

    with arena.server(versions) as server, ExitStack() as stack:
        stack.callback(held.set)
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
            for _ in range(arena.counts.connections)
        ]
        for connection in idle[:50]:
            connection.sendall(b"PRI * HTTP/2.0\r\n")  # the beginning of HTTP/2's preface
        channel = stack.enter_context(grpc.insecure_channel(server.address, OPTIONS))
        loris = [channel.stream_unary(PREDICT).future(never(), timeout=300) for _ in range(100)]
        began = time.monotonic()
        with Clients(server.address, versions) as clients:
            for byte in range(20):
                for connection in idle[50:100]:
                    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM"[byte : byte + 1])
                time.sleep(0.1)
            clients.wait_for(1)
        seconds = time.monotonic() - began
        waiting = sum(not connection.done() for connection in loris)
    passed = clients.flawless() and len(clients.answers) >= 20
    figures = {"connections": len(idle), "seconds": seconds, "silent_calls_open": waiting}
    return {"passed": passed, **figures, **clients.seen()}


def fuzz(arena: Arena) -> Result:
    """Sends random requests, a 64 MB string and a million rows: each must get a proper status, without growth."""
    from tfb2d.bench.fuzz import METHODS, PROPER, random_request

    versions, chance = arena.versions("fuzz"), random.Random(0)
    codes: dict[str, int] = {}
    bad: list[str] = []
    sizes: list[float] = []
    with arena.server(versions) as server, grpc.insecure_channel(server.address, OPTIONS) as channel:
        calls = {path: channel.unary_unary(path) for path in METHODS}
        for number in range(arena.counts.fuzz):
            path, data = random_request(chance, arena.names)
            code, message = _call(calls[path], data, 60.0)
            codes[code] = codes.get(code, 0) + 1
            if code not in PROPER or "Traceback" in message:
                bad.append(f"request {number} of seed 0: {path} {code} {message}"[:200])
            if number % max(1, arena.counts.fuzz // 20) == 0:
                sizes.append(server.megabytes())
        sizes.append(server.megabytes())
        large = {name: _call(calls[PREDICT], data, 300.0)[0] for name, data in _large(arena).items()}
        bad += [f"{name}: {code}" for name, code in large.items() if code not in PROPER]
        code, message = _call(calls[PREDICT], versions.payload, 60.0)
        alive = server.process.poll() is None and code == "OK"
    flat = sizes[-1] < sizes[min(len(sizes) - 1, 2)] * GROWTH
    seen = {"requests": arena.counts.fuzz, "codes": codes, "large": large, "megabytes": [round(size) for size in sizes]}
    return {"passed": alive and flat and not bad, **seen, "improper": bad[:5]}


def _call(call: Callable[..., bytes], data: bytes, seconds: float) -> tuple[str, str]:
    try:
        call(data, timeout=seconds)
    except grpc.RpcError as error:
        return error.code().name, str(error.details())
    return "OK", ""


def _large(arena: Arena) -> dict[str, bytes]:
    """Returns the payload with one text of 64 MB, and with a million rows."""
    from tfb2d.serving import wire

    message = wire.MESSAGES["PredictRequest"].FromString(arena.payload)
    for tensor in message.inputs.values():
        tensor.string_val[0] = b"a" * (64 << 20)
    return {"64 MB string": message.SerializeToString(), "a million rows": repeated(arena.payload, 10**6)[1]}


def memory(arena: Arena) -> Result:
    """Sends many requests: after a tenth of them, the server's memory must not grow."""
    versions, sizes, done = arena.versions("memory"), [], 0
    with arena.server(versions) as server:
        while done < arena.counts.requests:
            with Clients(server.address, versions, threads=8) as clients:
                end = time.monotonic() + 10
                while time.monotonic() < end and done + len(clients.answers) < arena.counts.requests:
                    time.sleep(0.05)
            if not clients.flawless():
                return {"passed": False, **clients.seen(), "requests": done}
            done += len(clients.answers)
            sizes.append(server.megabytes())
    early = sizes[len(sizes) // 10]
    seen = {"requests": done, "megabytes": [round(size, 1) for size in sizes[:: max(1, len(sizes) // 20)]]}
    return {"passed": sizes[-1] < early * 1.05, **seen, "growth": sizes[-1] / early}


FAULTS: dict[str, Callable[[Arena], Result]] = {
    fault.__name__: fault for fault in (swaps, drain, kill, half_copied, idle_clients, fuzz, memory)
}
