"""Ray's actors: each piece is done and comes back once, whatever dies."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.jobs import Faulty
from tfb2d.config import ConfigError, RayConfig
from tfb2d.errors import DataError
from tfb2d.scale.ray_actors import AHEAD, run_on_actors
from tfb2d.scale.ray_cluster import ClusterError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


@pytest.mark.parametrize("actors", [1, 2])
@pytest.mark.parametrize("fault", ["killed", "exit"])
def test_dead_actors_lose_and_double_nothing(actors: int, fault: str, tmp_path: Path) -> None:
    job = Faulty(str(tmp_path), {2: fault, 7: fault})
    done = list(run_on_actors(job, range(12), RayConfig(actors=actors)))
    assert sorted(piece for piece, _ in done) == list(range(12))
    assert len({process for _, process in done}) > 1


def test_pieces_are_taken_as_they_are_done(tmp_path: Path) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for piece in itertools.count():
            taken.append(piece)
            yield piece

    answers = run_on_actors(Faulty(str(tmp_path), {}), pieces(), RayConfig(actors=2))
    for done, _ in enumerate(itertools.islice(answers, 50), 1):
        assert len(taken) - done <= 2 * AHEAD + 1
    answers.close()


def test_nothing_to_do_starts_nothing() -> None:
    assert list(run_on_actors(Faulty("", {}), [], RayConfig(address="nowhere:1"))) == []


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("always killed", ClusterError, "piece 3 ended 5 actors"),
        ("full", DataError, r"No space left on device \(on .+\)"),
        ("bad", DataError, "part-00007.parquet: not a whole Parquet file"),
    ],
)
def test_what_goes_wrong_is_said(fault: str, kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        list(run_on_actors(Faulty(str(tmp_path), {3: fault}), range(6), RayConfig(actors=1)))


def test_settings_that_cannot_work() -> None:
    for wrong in ({"actors": -1}, {"gpus_per_actor": -2.0}, {"memory_per_actor": -1.0}, {"cpus_per_actor": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            RayConfig(**wrong)
