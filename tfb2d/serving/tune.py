"""Measures which server-side batching suits a model on this machine, and writes batching.config.

  tfb2d tune --model=saved_models/shop --output=serving/batching.config

Starts the server once without batching and once for each pair of --timeouts and --threads. Replays the model's own
warm-up requests at half the capacity that the server has without batching (a fixed arrival rate). Takes the settings
with the lowest p99 that failed no request (the median of REPEATS measurements). It takes about 15 seconds a pair; keep the
machine otherwise idle.

Requests of the `rank` signature are left out. Rankings of different lengths cannot share a batch without
pad_variable_length_inputs, and that option stays off: one request must not change what another gets.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfb2d.cli.arguments import Parser
from tfb2d.model_folder import WARMUP, newest_version

CLIENTS = 32  # of the closed loop that finds the capacity
REPEATS = 3  # of the measurement at the fixed rate


@dataclass(frozen=True)
class Batching:
    """Candidate settings of BatchingParameters; times in microseconds."""

    timeout: int
    threads: int
    rows: int = 512
    queue: int = 64

    def __str__(self) -> str:
        return f"{self.timeout} us, {self.threads} thread{'s' * (self.threads != 1)}"

    def text(self) -> str:
        """Returns the text proto."""
        return (
            f"max_batch_size {{ value: {self.rows} }}\n"
            f"batch_timeout_micros {{ value: {self.timeout} }}\n"
            f"max_enqueued_batches {{ value: {self.queue} }}\n"
            f"num_batch_threads {{ value: {self.threads} }}\n"
        )


@dataclass(frozen=True)
class Measured:
    """A candidate's outcome; `batching` is None for requests that run alone. Latencies in ms, capacity in requests/s."""

    batching: Batching | None
    capacity: float
    p50: float
    p99: float
    errors: int

    def line(self) -> str:
        """Formats a row of the table."""
        name = str(self.batching) if self.batching else "no batching"
        return f"{name:<22} {self.capacity:>9,.0f} {self.p50:>8.2f} {self.p99:>8.2f} {self.errors:>7}"


HEADER = f"{'':<22} {'requests/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7}"


def best(measured: Sequence[Measured]) -> Measured:
    """Returns the candidate with the lowest p99 among those with the fewest errors."""
    return min(measured, key=lambda outcome: (outcome.errors, outcome.p99))


def verdict(measured: Sequence[Measured]) -> str:
    """Says in a sentence whether batching pays."""
    chosen = best(measured)
    if chosen.batching:
        return "Batching pays here."
    batched = best([outcome for outcome in measured if outcome.batching]).capacity
    return (
        "Here a request alone has the lower p99: leave --enable_batching out, unless the capacity matters more "
        f"({chosen.capacity:,.0f} requests/s alone, {batched:,.0f} batched)."
    )


def report(measured: Sequence[Measured], rate: float) -> str:
    """Returns the text of the file: the best batched candidate, with all measurements as a comment."""
    chosen = best([outcome for outcome in measured if outcome.batching])
    lines = [
        f"Measured by `tfb2d tune` at {rate:,.0f} requests/s on {os.cpu_count()} processors:",
        "",
        HEADER,
        *(outcome.line() + (" <- this file" if outcome is chosen else "") for outcome in measured),
        "",
        verdict(measured),
    ]
    assert chosen.batching
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + chosen.batching.text()


def requests_of(version: Path, ranking: bool = False) -> list[bytes]:
    """Returns the Predict requests that the exporter left in a version's folder for warm-up, serialized.

    Those of `rank` are among them if `ranking` says so. Raises ServingError where there are none.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from tfb2d.serving.errors import ServingError

    path = version / WARMUP
    if not path.is_file():
        raise ServingError(f"{path} is missing: requests to replay are taken from there")
    requests = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        ranks = log.predict_log.request.model_spec.signature_name == "rank"
        if log.HasField("predict_log") and (ranking or not ranks):
            requests.append(log.predict_log.request.SerializeToString())
    if not requests:
        raise ServingError(f"{path} holds no Predict request that can be batched")
    return requests


def measure(
    model: Path, requests: Sequence[bytes], batching: Batching | None, rate: float, seconds: float
) -> tuple[Measured, float]:
    """Starts a server of a model's folder and loads it with serialized PredictRequests; returns the outcome and the rate.

    `rate` is arrivals a second (0: half the capacity), `seconds` of each measurement. Raises ServingError where the server
    does not start or refuses the requests.
    """
    from tfb2d.serving.aio import AsyncClient
    from tfb2d.serving.load import closed_loop, open_loop
    from tfb2d.serving.local import LocalServer

    name = model.name
    flags = [f"--model_name={name}", f"--model_base_path={model.resolve()}", "--grpc_max_threads=256"]

    async def load(address: str) -> tuple[Measured, float]:
        async with AsyncClient(address, name, channels=2, timeout=10) as client:

            async def ask(number: int) -> None:
                await client.replay(requests[number % len(requests)])

            await closed_loop(ask, 4, min(seconds, 1.0))  # warms both sides up
            capacity = await closed_loop(ask, CLIENTS, seconds)
            arrivals = rate or capacity.rate / 2
            loads = [await open_loop(ask, arrivals, seconds, seed) for seed in range(REPEATS)]
        p50, p99 = (statistics.median(load.quantile(q) for load in loads) for q in (0.5, 0.99))
        failed = sum(sum(load.errors.values()) for load in loads)
        return Measured(batching, capacity.rate, p50, p99, failed), arrivals

    with tempfile.TemporaryDirectory() as folder:
        if batching:
            file = Path(folder, "batching.config")
            file.write_text(batching.text(), encoding="utf-8")
            flags += ["--enable_batching=true", f"--batching_parameters_file={file}"]
        with LocalServer(flags) as server:
            return asyncio.run(load(server.address))


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    files.flag("model", "The exported model's folder, which holds its versions.", required=True, metavar="DIR")
    files.flag("output", "The file to write.", "batching.config", metavar="FILE")
    tried = parser.group("what is tried")
    tried.numbers("timeouts", "batch_timeout_micros to try.", (0, 200, 1000), least=0)
    tried.numbers("threads", "num_batch_threads to try.", sorted({1, os.cpu_count() or 1}))
    tried.real("rate", "Requests a second; 0 is half the capacity.", 0.0, 0.0)
    tried.real("seconds", "Of each measurement, of which a pair takes four.", 2.0, 0.0)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.atomic import write_atomic

    model, output = Path(options.model), Path(options.output)
    requests = requests_of(newest_version(model))
    candidates = [None, *itertools.starmap(Batching, itertools.product(options.timeouts, options.threads))]
    rate, measured = options.rate, []
    print(HEADER)
    for candidate in candidates:
        outcome, rate = measure(model, requests, candidate, rate, options.seconds)
        print(outcome.line(), flush=True)
        measured.append(outcome)
    write_atomic(output, report(measured, rate))
    print(f"{output}: {best([outcome for outcome in measured if outcome.batching]).batching}")
    print(verdict(measured))


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("tune")
