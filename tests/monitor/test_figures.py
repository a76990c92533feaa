"""Drift, n-grams, windows, samples and fidelity against what is known of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.atomic import write_json
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.monitor import drift
from tfb2d.monitor.alerts import Thresholds, alerts
from tfb2d.monitor.fidelity import fidelity
from tfb2d.monitor.fresh import SampledRow, write_recipe, write_sample
from tfb2d.monitor.logs import Rows
from tfb2d.monitor.ngrams import Bloom, Hasher
from tfb2d.monitor.reference import Reference
from tfb2d.monitor.sample import Reservoir
from tfb2d.monitor.windows import DAY, HOUR, Windows, seconds_of
from tfb2d.probability import probabilities
from tfb2d.students import text_spec


def test_psi_by_hand_and_its_chance() -> None:
    result = drift.psi([5000, 5000], [2500, 7500])
    assert result["psi"] == pytest.approx(0.25 * np.log(3), abs=1e-3)  # (0.75 - 0.5) ln 1.5 + (0.25 - 0.5) ln 0.5
    assert drift.psi([5, 5], [0, 0]) == {"psi": None, "chance": None, "chance95": None}
    assert [drift.band(value) for value in (None, 0.05, 0.2, 0.3)] == [
        "unknown",
        "stable",
        "moved",
        "another distribution",
    ]


def test_psi_of_samples_from_one_distribution_is_what_chance_makes() -> None:
    random = np.random.default_rng(0)
    base = drift.histogram(random.beta(0.5, 0.7, 20_000))
    bins = drift.tenths(base)
    assert np.bincount(bins, base).min() > 1500
    result = [drift.psi(base, drift.histogram(random.beta(0.5, 0.7, 300)), bins) for _ in range(200)]
    values = np.array([entry["psi"] for entry in result])
    assert values.mean() == pytest.approx(result[0]["chance"], rel=0.1)
    assert (values > result[0]["chance95"]).mean() == pytest.approx(0.05, abs=0.04)
    moved = drift.psi(base, drift.histogram(random.beta(0.9, 0.7, 300)), bins)
    assert moved["psi"] > moved["chance95"]


def test_quantiles_of_a_histogram() -> None:
    scores = np.random.default_rng(1).random(50_000)
    np.testing.assert_allclose(drift.quantiles(drift.histogram(scores), [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    assert np.isnan(drift.quantiles(np.zeros(drift.FINE, np.int64), [0.5])).all()
    assert drift.histogram([0.0, 1.0]).sum() == 2
    entry = drift.histogram(np.full(10, 0.3))
    assert drift.psi(entry, entry, drift.tenths(entry))["psi"] == 0


@settings(max_examples=40)
@given(st.lists(st.text(max_size=30), max_size=8))
def test_ngrams_are_those_of_the_spec(texts: list[str]) -> None:
    result = Hasher((1, 2, 3), 6)([text.encode("utf-8", "surrogatepass") for text in texts])
    for order in (1, 2, 3):
        expected = []
        for row, text in enumerate(texts):
            hashes = text_spec.token_hashes(text, 6)
            for position in range(len(hashes) - order + 1):
                ids = text_spec.ngram_ids(hashes[position : position + order], (order,), 2**31 - 1)
                expected.append((row, position, int(ids[0, 0])))
        # the upper half of the 64 bits is what the bucket is made of
        ids = (result[order].hashes.view(np.int64) >> 32).astype(np.int32) % np.int32(2**31 - 1)
        assert list(zip(result[order].rows, result[order].positions, ids, strict=True)) == expected


def test_a_filter_forgets_nothing_and_knows_how_often_it_errs() -> None:
    random = np.random.default_rng(2)
    hashes = random.integers(0, 2**64, 100_000, np.uint64, endpoint=False)
    known = Bloom.for_count(60_000)
    known.add(hashes[:70_000])
    assert known.has(hashes[:70_000]).all()
    errs = known.has(random.integers(0, 2**64, 200_000, np.uint64)).mean()
    assert errs == pytest.approx(known.false_positives, rel=0.2)
    assert errs < 0.01
    assert not Bloom.for_count(0).has(hashes).any()
    with pytest.raises(ValueError, match="power of two"):
        Bloom(np.zeros(1000, np.uint8))


def test_a_reference_comes_back_as_it_was(tmp_path: Path) -> None:
    known = Bloom.for_count(10)
    known.add(np.arange(10, dtype=np.uint64))
    entry = Reference(known, drift.histogram([0.5]), np.array([1, 2]), 3, (1, 2), 64, "model", "source")
    entry.save(tmp_path / "reference.safetensors")
    again = Reference.load(tmp_path / "reference.safetensors")
    np.testing.assert_array_equal(again.known.bits, known.bits)
    assert (again.orders, again.max_tokens, again.model, again.source, again.rows) == ((1, 2), 64, "model", "source", 3)
    (tmp_path / "other").write_bytes(b"12345678901234567890")
    with pytest.raises(DataError, match="not a reference"):
        Reference.load(tmp_path / "other")


def some_rows(times: list[int], scores: list[float] | None = None) -> Rows:
    n = len(times)
    given = np.full(n, 0.7) if scores is None else np.array(scores)
    texts = [[b"red shoe", b" "][i % 2] for i in range(n)]
    return Rows([texts], given[:, None].astype(np.float32), np.array(times), np.arange(n) // 2, np.ones(n, np.int64))


def test_windows_join_until_they_are_few() -> None:
    windows = Windows(0, (1, 1, 2))
    known = np.array([[2, 1], [0, 0]] * 5)[None, None]
    for day in range(3):
        for hour in range(24):
            windows.add(some_rows([day * DAY + hour * HOUR + i for i in range(10)]), known)
    result = windows.finish()
    assert windows.length == 6 * HOUR
    assert [start for start, _ in result] == [6 * HOUR * i for i in range(12)]
    first = result[0][1]
    assert [first[name] for name in first.NAMES] == [60, 30, 60, 30, 30, 270]
    assert (first.tokens.tolist(), first.new.tolist(), first.classes.tolist()) == ([[60]], [[30]], [0, 60])
    assert first.scores.sum() == 60


def test_windows_of_a_given_length() -> None:
    windows = Windows(seconds_of("15m"), (1, 1, 2))
    windows.add(some_rows([0, 899, 900, 5000], [0.2, np.nan, 0.5, 0.9]), np.zeros((1, 1, 4, 2), np.int64))
    assert [(start, entry["rows"], entry["scored"]) for start, entry in windows.finish()] == [
        (0, 2, 1),
        (900, 1, 1),
        (4500, 1, 1),
    ]
    with pytest.raises(DataError, match="--window takes longer ones"):
        windows.add(some_rows([900 * i for i in range(2100)]), np.zeros((1, 1, 2100, 2), np.int64))
    for wrong in ("1", "m", "0h", "-1d", "1.5h", "2 h"):
        with pytest.raises(DataError, match="15m, 6h or 1d"):
            seconds_of(wrong)
    assert seconds_of("") == 0
    assert seconds_of("2w") == 14 * DAY


def test_every_row_has_the_same_chance() -> None:
    counts = np.zeros(50)
    for seed in range(400):
        kept: Reservoir[int] = Reservoir(10, seed)
        for start in range(0, 50, 7):
            kept.offer(min(7, 50 - start), lambda i, start=start: start + i)
        items = kept.items()
        assert len(items) == 10
        assert items == sorted(items)
        counts[items] += 1
    assert counts.min() > 50  # of 80 expected; three and a half standard deviations
    assert counts.max() < 110
    few: Reservoir[int] = Reservoir(10, 0)
    few.offer(5, lambda i: i if i != 2 else None)
    assert few.items() == [0, 1, 3, 4]


def test_fidelity_by_hand() -> None:
    teacher, student = np.array([0.9, 0.2, 0.6, 0.4] * 10), np.array([0.8, 0.3, 0.4, 0.3] * 10)
    result = fidelity(teacher, student, np.arange(40) // 4)
    assert result["rows"] == 40
    assert result["agreement"]["value"] == 0.75
    assert result["distance"]["value"] == pytest.approx(0.125)
    z = [np.log(p / (1 - p)) for p in (teacher, student)]
    assert result["correlation"]["value"] == pytest.approx(np.corrcoef(z)[0, 1])
    # every request holds the same four rows, so drawing requests changes nothing; drawing rows does
    np.testing.assert_allclose(result["agreement"]["ci95"], 0.75)
    low, high = fidelity(teacher, student, np.arange(40))["agreement"]["ci95"]
    assert (low, high) == (pytest.approx(0.62, abs=0.04), pytest.approx(0.88, abs=0.04))
    nothing = fidelity(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    assert nothing["agreement"] == {"value": None, "ci95": None}
    assert fidelity(teacher[:4], student[:4], np.arange(4))["agreement"]["ci95"] is None
    assert fidelity(np.full(20, 0.5), student[:20], np.arange(20))["correlation"]["value"] is None


def test_a_table_written_again_replaces_its_parts_alone(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "part-00007.parquet").write_bytes(b"of another time")
    rows = [SampledRow((text,), np.zeros(1, np.float32), 0, 0, 1) for text in ("a", "b", "a")]
    assert write_sample(folder, Task(("text",)), rows) == [0, 1, 0]
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "part-00000.parquet"]
    assert read_table(folder)["text"].to_pylist() == ["a", "b"]
    assert list(tmp_path.iterdir()) == [folder]


def test_the_next_run_of_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    write_json("config.json", {"data": {"unlabelled": []}, "teachers": {}, "export": {"name": ""}, "name": "shop"})
    command = write_recipe(tmp_path, Path(), None, tmp_path / "fresh", Task(("text",)))
    assert command.endswith(f"--workdir={tmp_path / 'shop-next'}")


def test_records_without_a_request_are_all_broken() -> None:
    result = {
        "logs": {"broken": {"not a PredictionLog": 3, "truncated": 1}, "records": 4},
        "skew": {"largest": None},
        "windows": [],
        "fidelity": None,
    }
    assert [(entry["what"], entry["value"]) for entry in alerts(result, Thresholds())] == [("broken", 0.5)]


def test_fidelity_of_classes() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(300, 3))
    same = probabilities(logits)
    result = fidelity(same, probabilities(2 * logits + 1), np.arange(300))
    assert result["agreement"]["value"] == 1.0
    assert result["correlation"]["value"] == pytest.approx(1.0)
    assert 0.05 < result["distance"]["value"] < 0.5
