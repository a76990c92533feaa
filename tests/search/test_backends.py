"""Exact search and FAISS: one convention, whatever the library does by itself; every index is opened again."""

from pathlib import Path

import numpy as np
import pytest

from tests.search.indexes import delete, make_index, unit
from tfb2d.errors import UserError
from tfb2d.search.answer import SearchError
from tfb2d.search.backends import settle
from tfb2d.search.catalogue import restored, stored

KINDS = [
    ("exact", "float32"),
    ("exact", "float16"),
    ("exact", "int8"),
    ("hnsw", "float32"),
    ("hnsw", "float16"),
    ("hnsw", "int8"),
    ("sq", "float16"),
    ("sq", "int8"),
    ("sq", "float32"),
]
VECTORS = unit(1500, clusters=40)
QUERIES = unit(20, seed=5, clusters=40)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def index(request, tmp_path_factory):
    kind, dtype = request.param
    return make_index(tmp_path_factory.mktemp(kind), VECTORS, kind, dtype)


def best(snapshot, query, k: int, deleted=()) -> list[int]:
    """The k nearest rows, by NumPy alone."""
    scores = np.round(restored(stored(VECTORS, snapshot.manifest.dtype)) @ query, 6).astype(np.float64)
    scores[list(deleted)] = -9
    return np.lexsort((np.arange(len(scores)), -scores))[:k].tolist()


def test_a_title_finds_itself_with_score_one(index) -> None:
    for row in (0, 7, 1499):
        rows, scores = index.nearest(VECTORS[row], 3)
        assert rows[0] == row
        assert scores[0] == pytest.approx(1.0, abs=0.01)
        assert (np.diff(scores) <= 0).all()
        assert rows.dtype == np.int64


def test_the_nearest_are_found_and_scored_as_by_numpy(index) -> None:
    recalls = []
    for query in QUERIES:
        rows, scores = index.nearest(query, 20)
        vectors = restored(stored(VECTORS[rows], index.manifest.dtype))
        assert np.allclose(scores, vectors @ query, atol=2e-6)
        recalls.append(len(set(rows.tolist()) & set(best(index, query, 20))) / 20)
    assert np.mean(recalls) == 1 if index.manifest.backend in ("exact", "sq") else np.mean(recalls) >= 0.98


@pytest.mark.parametrize("dim", [12, 16, 32, 128])
@pytest.mark.parametrize("kind", ["sq", "hnsw"])
def test_int8_finds_at_every_width(kind: str, dim: int, tmp_path: Path) -> None:
    vectors = unit(200, dim)
    index = make_index(tmp_path, vectors, kind, "int8")
    assert [index.nearest(vector, 1)[0].tolist() for vector in vectors[:50]] == [[row] for row in range(50)]


def test_more_than_there_are_gives_what_there_is(index) -> None:
    rows, scores = index.nearest(QUERIES[0], 5000)
    assert sorted(rows.tolist()) == list(range(1500))
    assert np.isfinite(scores).all()


def test_deleted_rows_never_come_back_and_k_are_found_all_the_same(index, tmp_path: Path) -> None:
    fresh = make_index(tmp_path / "index", VECTORS, index.manifest.backend, index.manifest.dtype)
    gone = best(fresh, QUERIES[0], 300)
    fresh = delete(fresh, gone)
    rows, _ = fresh.nearest(QUERIES[0], 50)
    assert len(rows) == 50
    assert not set(rows.tolist()) & set(gone)
    assert len(set(rows.tolist()) & set(best(fresh, QUERIES[0], 50, gone))) >= 45
    assert len(fresh.nearest(QUERIES[1], 5000)[0]) == 1200
    assert fresh.catalogue.live == 1200


@pytest.mark.parametrize(("kind", "dtype"), [("exact", "float32"), ("hnsw", "int8"), ("sq", "float16")])
def test_equal_vectors_are_ordered_by_row(kind: str, dtype: str, tmp_path: Path) -> None:
    same = np.repeat(unit(1), 300, axis=0)
    rows, scores = make_index(tmp_path, same, kind, dtype).nearest(same[0], 300)
    assert rows.tolist() == list(range(300))
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_index_file_is_refused(damage: str, tmp_path: Path) -> None:
    index = make_index(tmp_path, VECTORS, "hnsw", "int8")
    path = tmp_path / index.manifest.vectors
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SearchError, match=r"vectors-0001.faiss is not whole .*tfb2d search build"):
        type(index).open(tmp_path)


def test_a_damaged_copy_of_a_part_is_refused(tmp_path: Path) -> None:
    index = make_index(tmp_path, VECTORS, "exact")
    path = tmp_path / index.manifest.catalogue / "part-00000.arrow"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(SearchError, match=r"part-00000.arrow is not whole .*tfb2d search build"):
        type(index).open(tmp_path)


def test_ivfpq_learns_and_refines(tmp_path: Path) -> None:
    vectors = unit(10_000, 16, clusters=200)
    index = make_index(tmp_path, vectors, "ivfpq", "float16", lists=32, bytes=4)
    recalls = []
    for query in unit(20, 16, seed=5, clusters=200):
        rows, _ = index.nearest(query, 10)
        recalls.append(len(set(rows.tolist()) & set(np.argsort(-(vectors @ query))[:10].tolist())) / 10)
    assert np.mean(recalls) >= 0.9
    assert len(index.nearest(vectors[0], 10_000)[0]) == 10_000
    index = delete(index, [0])
    assert 0 not in index.nearest(vectors[0], 100)[0]


def test_settings_that_cannot_work_are_refused() -> None:
    assert settle("auto", 100_000, 128, {})[0] == "exact"
    assert settle("auto", 100_001, 128, {})[0] == "hnsw"
    with pytest.raises(UserError, match="ivfpq needs 10,000 titles"):
        settle("ivfpq", 9_999, 128, {})
    with pytest.raises(UserError, match="hnsw has no parameter 'probes'; it has m"):
        settle("hnsw", 9, 128, {"probes": 3})
    with pytest.raises(UserError, match="48 bytes do not divide"):
        settle("ivfpq", 20_000, 128, {"bytes": 48})
    with pytest.raises(UserError, match="--milvus=URI"):
        settle("milvus", 9, 128, {})


def test_int8_keeps_within_its_range() -> None:
    vectors = np.array([[1.0, -1.0, 0.5, 1.01]], np.float32)
    assert stored(vectors, "int8").tolist() == [[127, -127, 64, 127]]
    assert restored(stored(vectors, "int8")).dtype == np.float32
