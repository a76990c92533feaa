"""The capacity of a server beside that of a bare echo, and its latency at fixed shares of that capacity.

Server and echo take turns, so that noise of the machine hits both. Requests carry the texts of the model's warm-up
requests, which have the usual length.
"""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.model_folder import ABOUT, newest_version
from tfb2d.serving import wire
from tfb2d.serving.load import Load, closed_loop, open_loop

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TITLES = 100
PAYLOADS = 64  # different requests of a kind, sent in turn
TIMEOUT = 10.0  # seconds
Ask = Callable[[int], Awaitable[object]]
Texts = dict[str, tuple[Sequence[int], Sequence[bytes]]]  # input -> shape, values


@dataclass(frozen=True)
class Settings:
    """Holds the durations and loads of a measurement."""

    seconds: float = 10.0  # of each measurement at a fixed rate
    rounds: int = 3  # how often server and echo take turns
    clients: Sequence[int] = (1, 2, 4, 8, 16, 32)  # requests in flight of the closed loops that find the capacity
    levels: Sequence[float] = (0.1, 0.5, 0.8, 1.1)  # arrival rates, as shares of the capacity


def request(model: str, signature: str, texts: Texts) -> bytes:
    """Makes a serialized PredictRequest of string tensors, given as name -> (shape, values)."""
    made = wire.MESSAGES["PredictRequest"]()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    for name, (shape, values) in texts.items():
        wire.fill_strings(made.inputs[name], values, shape)
    return made.SerializeToString()


def repeated(payload: bytes, rows: int) -> tuple[list[str], bytes]:
    """Returns the input names of a one-row request, and the request with its row repeated `rows` times."""
    message = wire.MESSAGES["PredictRequest"].FromString(payload)
    for tensor in message.inputs.values():
        text = tensor.string_val[0]
        tensor.Clear()
        wire.fill_strings(tensor, [text] * rows, [rows])
    return sorted(message.inputs), message.SerializeToString()


def requests(model: Path) -> dict[str, list[bytes]]:
    """Makes requests of each kind from the newest version's warm-up texts; the folder's name is the model's.

    Kinds are "score": one row; and "rank": one query and 100 titles, of models that rank, or "batch": 100 rows, of others.
    Raises ValueError or ServingError without a version or without warm-up requests.
    """
    from tfb2d.atomic import read_json
    from tfb2d.serving.tune import requests_of

    version = newest_version(model)
    pools: dict[str, list[bytes]] = {}
    rank: list[str] = []  # the fields of a model that ranks: query, title
    for data in requests_of(version, ranking=True):
        message = wire.MESSAGES["PredictRequest"].FromString(data)
        if message.model_spec.signature_name == "rank":
            rank = read_json(version / ABOUT)["task"]["fields"]
        else:
            for name, tensor in message.inputs.items():
                pools.setdefault(name, []).extend(text for text in tensor.string_val if text)
    chance, name = random.Random(0), model.name
    kinds: dict[str, list[bytes]] = {"score": [], "rank" if rank else "batch": []}
    for _ in range(PAYLOADS):
        row: Texts = {field: ([1], [chance.choice(pool)]) for field, pool in pools.items()}
        kinds["score"].append(request(name, "serving_default", row))
        many: Texts = {field: ([TITLES], chance.choices(pool, k=TITLES)) for field, pool in pools.items()}
        if rank:
            query, title = rank
            texts: Texts = {"query": ([1], many[query][1][:1]), "titles": ([1, TITLES], many[title][1])}
            kinds["rank"].append(request(name, "rank", texts))
        else:
            kinds["batch"].append(request(name, "serving_default", many))
    return kinds


@asynccontextmanager
async def asker(address: str, payloads: Sequence[bytes]) -> Any:
    """Yields a function that sends request number i and waits for its answer, as bytes.

    It uses one connection and does not retry.
    """
    import grpc

    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        call = channel.unary_unary(PREDICT)
        yield lambda number: call(payloads[number % len(payloads)], timeout=TIMEOUT)


async def capacity(ask: Ask, echo: Ask, settings: Settings) -> dict[str, Any]:
    """Measures capacity by closed loops with more and more requests in flight, of server and echo in turn.

    Returns medians over the rounds: `requests_per_s` of the best number in flight, `echo_per_s`, `share` of the two,
    and `by_clients`, the same for each number in flight. Shares there are of measurements in the same round.
    """
    seconds = min(1.5, settings.seconds)
    await closed_loop(ask, 4, seconds)  # warms both sides up
    await closed_loop(echo, 4, min(0.3, seconds))
    rates: dict[int, list[tuple[float, float]]] = {}
    for clients in [*settings.clients] * settings.rounds:
        pair = (await closed_loop(ask, clients, seconds)).rate, (await closed_loop(echo, clients, seconds)).rate
        rates.setdefault(clients, []).append(pair)
    rows: list[dict[str, Any]] = [
        {
            "clients": clients,
            "requests_per_s": float(np.median([ours for ours, _ in pairs])),
            "echo_per_s": float(np.median([bare for _, bare in pairs])),
            "share": float(np.median([ours / bare for ours, bare in pairs])),
        }
        for clients, pairs in rates.items()
    ]
    best, bare = (max(row[name] for row in rows) for name in ("requests_per_s", "echo_per_s"))
    return {"requests_per_s": best, "echo_per_s": bare, "share": best / bare, "by_clients": rows}


def _level(load: list[Load], rate: float) -> dict[str, Any]:
    seconds, errors = np.concatenate([part.seconds for part in load]), Counter[str]()
    for part in load:
        errors.update(part.errors)
    whole = Load(seconds, dict(errors), float(np.mean([part.rate for part in load])))
    least = {"p50_ms": (0.5, 1), "p99_ms": (0.99, 1), "p999_ms": (0.999, 1000)}  # quantile; requests that it takes
    quantiles = {name: whole.quantile(q) if len(seconds) >= count else None for name, (q, count) in least.items()}
    sent = len(seconds) + errors.total()
    return {"requests": sent, "arrivals_per_s": rate, "answers_per_s": whole.rate, **quantiles, "errors": whole.errors}


async def levels(ask: Ask, echo: Ask, best: float, settings: Settings) -> list[dict[str, Any]]:
    """Measures latency under Poisson arrivals at shares of the capacity.

    The echo gets the same rates and shows the part of client and machine.
    """
    rows = []
    for share in settings.levels:
        rate, part = best * share, settings.seconds / settings.rounds
        ours, bare = [], []
        for seed in range(settings.rounds):
            ours.append(await open_loop(ask, rate, part, seed))
            bare.append(await open_loop(echo, rate, part, seed))
        rows.append({"share_of_capacity": share, **_level(ours, rate), "echo": _level(bare, rate)})
    return rows


def measure(address: str, echo: str, kinds: dict[str, list[bytes]], settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields what was measured of each kind of request, at a server's address and an echo's; see `capacity`, `levels`."""

    async def measured(kind: str, payloads: list[bytes]) -> dict[str, Any]:
        async with asker(address, payloads) as ask, asker(echo, payloads) as bare:
            most = await capacity(ask, bare, settings)
            by_level = await levels(ask, bare, most["requests_per_s"], settings)
        size = round(sum(map(len, payloads)) / len(payloads))
        return {"request": kind, "bytes": size, "capacity": most, "levels": by_level}

    gc.collect()
    gc.freeze()
    for kind, payloads in kinds.items():
        yield asyncio.run(measured(kind, payloads))
