"""Preparing a transfer set: counts sum up, the input's order and cut do not matter, and nothing held out is left."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow.parquet import read_schema

from tests import commands
from tests.killing import ROOT, module, python, run_and_kill
from tests.scale.jobs import LOCAL, content
from tests.scale.prepared import are_near, left, offers, prepare, rows_of, small_parts, write
from tfb2d.config import RayConfig
from tfb2d.config.checks import ConfigError
from tfb2d.errors import DataError, RunBusyError, RunError
from tfb2d.resume import CHECKPOINTS
from tfb2d.runs import locked
from tfb2d.scale import near
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.prepare_files import MANIFEST
from tfb2d.scale.sorted_files import part_of_keys, read_range, write_sorted
from tfb2d.teachers.files import label_files

PAIR = ("query", "title")
CONFIG = PrepareConfig(PAIR, rows_per_shard=50)
FOUR = ["waterproof watch", "Watch, waterproof", "leather strap 15 mm", "leather strap 1.5 mm", "summer shirt!"]
WORD = st.sampled_from(["waterproof", "digital", "wrist", "watch", "leather", "strap", "steel", "case"])
TITLE = st.one_of(st.sampled_from(FOUR), st.lists(WORD, min_size=1, max_size=7).map(" ".join))
ROWS = st.lists(st.tuples(st.sampled_from(["watch", "shoe"]), TITLE), min_size=1, max_size=30)


@given(ROWS, ROWS, st.sampled_from([0.0, 0.6, 1.0]), st.integers(0, 3), st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_and_cut_of_the_input_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: list, held: list, near: float, seed: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    config = PrepareConfig(PAIR, near=near, seed=seed, rows_per_shard=7)
    held_out = [write(folder / "held.tsv", held[:3], PAIR)]
    expected, were_near = left(rows, held[:3], near, seed)
    whole = [write(folder / "whole.tsv", rows, PAIR)]
    mixed = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows) - 1))
    parts = [write(folder / f"{i}.tsv", part, PAIR) for i, part in enumerate([mixed[:cut], mixed[cut:]]) if part]
    if not expected:
        with pytest.raises(DataError, match=f"no row is left of {len(rows)}: "):
            prepare(whole, held_out, folder / "out", config)
        return
    told = prepare(whole, held_out, folder / "out", config)
    found = rows_of(folder / "out", PAIR)
    assert [row for row in found if row not in were_near] == expected
    assert told.near_duplicates <= len(were_near)
    with small_parts():
        assert prepare(parts, held_out, folder / "again", config) == told
    assert content(folder / "again") == content(folder / "out")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("offers")
    rows = offers(600, 1)
    return [write(folder / f"{i}.tsv", rows[start : start + 200], PAIR) for i, start in enumerate((0, 200, 400))]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [write(tmp_path_factory.mktemp("held") / "test.tsv", offers(30, 1)[20:], PAIR)]


@pytest.fixture(scope="module")
def prepared(source: list[str], held_out: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(source, held_out, out, CONFIG)
    return out


def test_near_rows_and_leaks_are_found(prepared: Path) -> None:
    expected, were_near = left(offers(600, 1), offers(30, 1)[20:], CONFIG.near, CONFIG.seed)
    found = rows_of(prepared, PAIR)
    assert len(were_near) > 30
    assert set(expected) <= set(found)
    assert len(set(found) - set(expected)) <= 0.05 * len(were_near)
    assert not any(are_near(row, held, CONFIG.near) for row in found for held in offers(30, 1)[20:])
    told = json.loads((prepared / MANIFEST).read_text())
    assert told["leaked"] >= 10
    assert told["near_leaked"] > 0
    assert told["fields"] == list(PAIR)


def test_what_is_prepared_is_prepared(prepared: Path, held_out: list[str], tmp_path: Path) -> None:
    prepare([str(prepared)], held_out, tmp_path / "out", CONFIG)
    assert content(tmp_path / "out") == content(prepared)
    prepare([str(prepared)], held_out, tmp_path / "other", PrepareConfig(PAIR, rows_per_shard=50, seed=1))
    assert sorted(rows_of(tmp_path / "other", PAIR)) == sorted(rows_of(prepared, PAIR))
    assert rows_of(tmp_path / "other", PAIR) != rows_of(prepared, PAIR)


@pytest.mark.slow
def test_very_many_alike_are_compared_with_the_first_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    own = [f"{a}{b}nd" for a in "bdfglmnprst" for b in "aeiou"]
    rows = [(" ".join([*offers(1, 2)[0][1].split()[:10], *chance.sample(own, 2)]),) for _ in range(300)]
    source, config = [write(tmp_path / "rows.tsv", rows, ("title",))], PrepareConfig(("title",), near=0.75)
    every = prepare(source, [], tmp_path / "every", config)
    monkeypatch.setattr(near, "LEADERS", 3)
    fewer = prepare(source, [], tmp_path / "fewer", config)
    assert 0 < fewer.near_duplicates < every.near_duplicates
    with small_parts():  # a band is compared in several goes
        prepare(source, [], tmp_path / "small", config)
    assert content(tmp_path / "small") == content(tmp_path / "fewer")


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(
        "id\tquery\ttitle\n7\tshoe\tRed Shoe\nragged\n3\that\tBlue hat\n5\tshoe\tred shoe!\n"
    )
    (tmp_path / "b.jsonl").write_text(
        '{"query": "sun", "title": "hat", "label": 1}\n{"query": "ring", "title": "gold ring"}\n'
    )
    (tmp_path / "test.tsv").write_text("query\ttitle\nRING\tother\nhat\tblue HAT.\n")
    words = [f"--input={tmp_path / 'a.tsv'},{tmp_path / 'b.jsonl'}", f"--output={tmp_path / 'out'}", "--noprogress"]
    words += ["--fields=query,title", f"--held_out={tmp_path / 'test.tsv'}", "--group=query", "--max_rejected=0.5"]
    done = commands.run("prepare", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"2 of 6 rows kept in {tmp_path / 'out'}"
    assert [line.strip() for line in done.stdout.splitlines()[1:]] == [
        "1 rejected",
        "1 leaked",
        "1 group leaked",
        "1 duplicates",
    ]
    table = sorted(rows_of(tmp_path / "out", ("query", "title", "id", "label")))
    assert table == [("shoe", "Red Shoe", "7", ""), ("sun", "hat", "", "1")]
    (rejected,) = (tmp_path / "out.rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected)["row"] == 3
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert commands.run("prepare", *words).stdout == done.stdout
    assert made == {path: path.stat().st_mtime_ns for path in made}  # done before
    assert "made of other files or settings" in commands.run("prepare", *words, "--seed=1").error()
    assert "no column 'titel'; it has id, query" in commands.run("prepare", *words, "--fields=query,titel").error()
    assert "cannot be used" in commands.run("prepare", *words, f"--output={tmp_path / 'o'}", "--max_rejected=0").error()
    again = commands.run("prepare", *words, f"--output={tmp_path / 'o'}")  # with more bad rows allowed it goes on
    assert again.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]
    assert content(tmp_path / "o") == content(tmp_path / "out")
    assert "held-out rows; name some" in commands.run("prepare", *words, "--held_out=").error()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").touch()
    assert "did not make" in commands.run("prepare", *words, f"--output={tmp_path / 'own'}").error()


@pytest.mark.parametrize(
    ("lines", "message"),
    [("watch\tred watch\nragged\n", "1 of 2 rows cannot be used.*held.tsv, row 3"), ("", "no held")],
)
def test_held_out_rows_that_cannot_be_used_are_no_leak_unseen(
    lines: str, message: str, source: list[str], tmp_path: Path
) -> None:
    (tmp_path / "held.tsv").write_text("query\ttitle\n" + lines)
    with pytest.raises(DataError, match=message):
        prepare(source, [str(tmp_path / "held.tsv")], tmp_path / "out", CONFIG)


def test_columns_that_no_file_has_are_left_out(prepared: Path) -> None:
    assert read_schema(prepared / "part-00000.parquet").names == list(PAIR)


def test_what_a_kill_left_behind_the_end_is_deleted(
    prepared: Path, source: list[str], held_out: list[str], tmp_path: Path
) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    (out / CHECKPOINTS / "split").mkdir(parents=True)
    (out / CHECKPOINTS / "split" / "00000.json").write_text("{}")  # its rows are deleted
    prepare(source, held_out, out, CONFIG)
    assert content(out) == content(prepared)
    assert not (out / CHECKPOINTS).exists()


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_an_output_without_a_name(name: str, source: list[str]) -> None:
    with pytest.raises(RunError, match="needs a name of its own"):
        prepare(source, [], Path(name), CONFIG)


def test_two_drivers_do_not_share_an_output(source: list[str], tmp_path: Path) -> None:
    with locked(tmp_path / "out", tmp_path / ".out.lock"), pytest.raises(RunBusyError, match="another process"):
        prepare(source, [], tmp_path / "out", CONFIG)


def test_another_jobs_rows_are_kept(prepared: Path, source: list[str], tmp_path: Path) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    with pytest.raises(RunError, match="name another folder"):
        prepare(source[:1], [], out, CONFIG)
    assert content(out) == content(prepared)


@pytest.mark.parametrize(
    "wrong",
    [
        {"near": 1.5},
        {"rows_per_shard": 0},
        {"engine": "spark"},
        {"fields": ()},
        {"fields": ("a", "a")},
        {"part_mb": 2048},
    ],
)
def test_settings_that_cannot_work(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        PrepareConfig(**({"fields": PAIR} | wrong))


def test_ranges_of_keys_are_read_from_all_files(tmp_path: Path) -> None:
    schema = pa.schema([("key", pa.uint64()), ("text", pa.string())])
    rng = np.random.default_rng(0)
    paths, every = [tmp_path / f"{i}.arrow" for i in range(3)], []
    for path in paths:
        runs = [np.sort(rng.integers(0, 2**64 - 1, n, np.uint64, endpoint=True)) for n in (0, 40, 7)]
        every += [*runs, np.array([0, 2**64 - 1], np.uint64)]
        batches = [pa.record_batch([keys, list(map(str, keys))], schema=schema) for keys in (*runs, every[-1])]
        write_sorted(path, batches, schema)
    read = [read_range(paths, *part_of_keys(part, 7)) for part in range(7)]
    keys = [key for part in read for batch in part for key in batch["key"].to_pylist()]
    assert sorted(keys) == sorted(np.concatenate(every).tolist())
    assert [b["text"].to_pylist() for b in read_range(paths, 0, 0)] == [["0"]] * 3
    paths[1].write_bytes(paths[1].read_bytes()[:300])
    with pytest.raises(DataError, match=r"1\.arrow: not a whole Arrow file"):
        list(read_range(paths, 0, 9))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["split", "merge", "bands", "drop", "shards"])
def test_a_killed_run_goes_on(
    stage: str, source: list[str], held_out: list[str], prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = module("tests.scale.slow_prepare", str(out), ",".join(source), ",".join(held_out), "local")
    run_and_kill(command, lambda: len(list((out / CHECKPOINTS / stage).glob("*.json"))) > 1)
    done = {path: path.stat().st_mtime_ns for path in (out / CHECKPOINTS).rglob("*.json")}
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert done
    with small_parts():
        prepare(source, held_out, out, CONFIG)
    assert content(out) == content(prepared)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert not (out / CHECKPOINTS).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("actors", [1, 3])
def test_ray_leaves_the_same_bytes(
    actors: int, source: list[str], held_out: list[str], prepared: Path, tmp_path: Path
) -> None:
    config = PrepareConfig(PAIR, rows_per_shard=50, engine="ray", ray=RayConfig(actors=actors, cpus_per_actor=0.3))
    with small_parts():
        told = prepare(source, held_out, tmp_path / "out", config)
    assert told.to_json().items() <= json.loads((prepared / MANIFEST).read_text()).items()
    assert content(tmp_path / "out") == content(prepared)


@pytest.mark.slow
def test_the_only_actor_is_killed_twice(source: list[str], held_out: list[str], prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "out"
    command = module("tests.scale.slow_prepare", str(out), ",".join(source), ",".join(held_out), "ray")
    driver = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    for stage in ("merge", "drop"):
        while len(list((out / CHECKPOINTS / stage).glob("*.json"))) < 2:
            assert driver.poll() is None, "the driver ended too early"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process = max(out.glob("_*.process"), key=lambda path: path.stat().st_mtime_ns)
        os.kill(int(process.stem[1:]), signal.SIGKILL)
    assert driver.wait(300) == 0
    assert len(list(out.glob("_*.process"))) > 5  # one a pass, and two more
    assert content(out) == content(prepared)


@pytest.mark.slow
def test_prepared_rows_are_labelled(prepared: Path, saved: Path, tmp_path: Path) -> None:
    told = label_files(saved, [str(prepared)], tmp_path / "labelled", LOCAL, progress=False)
    assert told.rejected == 0
    assert rows_of(tmp_path / "labelled", PAIR) == rows_of(prepared, PAIR)


PEAK = """
import resource, sys
from pathlib import Path
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.prepare_files import prepare_files
source, out = sys.argv[1:]
prepare_files([source], [], Path(out), PrepareConfig(("query", "title"), part_mb=8), progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    words = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in ("nd", "rk", "lt", "mp")]
    chance = random.Random(0)
    peaks = []
    for count in (100_000, 400_000):
        rows = [("shoe", " ".join(chance.choices(words, k=10))) for _ in range(count)]
        source, out = write(tmp_path / f"{count}.tsv", rows, PAIR), str(tmp_path / f"out{count}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*python(PEAK), source, out]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
        peaks.append(int(done.stdout))
    assert peaks[1] <= 1.1 * peaks[0]
