"""Measures systems in turn: a cell is a task, a size of call and a number of cores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tfb2d.bench.measure import RANK, TITLES, Costs, Timing, Worker, middle, result
from tfb2d.bench.systems import Ready
from tfb2d.bench.work import Work, accuracy, batch_shift


@dataclass(frozen=True)
class Settings:
    """Says how to measure; see the flags of `tfb2d bench`."""

    threads: Sequence[int]
    batches: Sequence[int | str]
    seconds: float
    rounds: int
    limit: float = float("inf")
    costs: Costs = field(default_factory=Costs)


def measure(ready: Sequence[Ready], works: Sequence[Work], settings: Settings, bar: Any) -> list[dict[str, Any]]:
    """Returns entries of `bench.json`, a cell each, of works that share their systems; `bar` of tqdm counts cells."""
    results = []
    accuracies: dict[tuple[str, str], float | None] = {}
    shifts: dict[tuple[str, str], float] = {}
    for threads in settings.threads:
        with ExitStack() as stack:
            workers, about = {}, {}
            for system in ready:
                bar.set_description(f"{system.name}, {threads} threads: loading")
                workers[system.name] = stack.enter_context(Worker(threads))
                about[system.name] = system.open(workers[system.name])
            for work in works:
                for system in ready:
                    if (work.name, system.name) not in accuracies:
                        bar.set_description(f"{work.name}: accuracy of {system.name}")
                        worker = workers[system.name]
                        accuracies[work.name, system.name] = accuracy(worker, work) if system.trained else None
                        shifts[work.name, system.name] = batch_shift(worker, work)
                for batch, timings in _cells(work, workers, settings, threads, bar):
                    for name, timing in timings.items():
                        facts = {"file_mb": about[name]["file_mb"], "accuracy": accuracies[work.name, name]}
                        facts["batch_shift"] = shifts[work.name, name]
                        results.append(result(name, work.name, batch, threads, timing, costs=settings.costs, **facts))
    return results


def _cells(
    work: Work, workers: Mapping[str, Worker], settings: Settings, threads: int, bar: Any
) -> Iterator[tuple[int | str, dict[str, Timing]]]:
    """Yields (batch, timing by system), smallest batch first, which predicts the times of larger ones."""
    seconds_a_row: dict[str, float] = {}
    for rows, batch in sorted((TITLES if entry == RANK else int(entry), entry) for entry in settings.batches):
        if batch == RANK and not work.pairs:
            continue
        calls = work.calls(batch)
        method = "rank" if batch == RANK else "score"
        rounds: dict[str, list[Timing]] = {}
        for number in range(settings.rounds):
            for name, worker in workers.items():
                expected = rows * seconds_a_row.get(name, 0.0)
                if expected > settings.limit:
                    continue
                bar.set_description(f"{work.name}, {threads} threads, {batch}: {name}")
                slow = expected > settings.seconds
                # A call longer than a round needs no warm-up; the smaller cells were one.
                timing = worker.time(
                    method,
                    calls[number % len(calls) :] + calls[: number % len(calls)],
                    rows,
                    seconds=settings.seconds,
                    least=1 if slow else 3,
                    warmup=0.0 if slow else min(0.2, settings.seconds / 5),
                )
                rounds.setdefault(name, []).append(timing)
                bar.update()
        middles = {name: middle(timings) for name, timings in rounds.items()}
        seconds_a_row |= {name: 1 / timing.rows_per_s for name, timing in middles.items()}
        yield batch, middles
