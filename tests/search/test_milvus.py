"""Milvus through pymilvus: Milvus Lite's file, and its server on loopback, which goes away and comes back.

Milvus Lite is exact until it has built its index, some time after a flush, and ignores index parameters. So recall is
measured after opening anew, and no test says how good a Milvus server's index is.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.search.indexes import delete, make_index, unit
from tests.search.shop import Models, write_titles
from tfb2d.search import Searcher
from tfb2d.search.answer import SearchError
from tfb2d.search.indexing import build
from tfb2d.search.manifest import Manifest
from tfb2d.search.snapshot import Snapshot
from tfb2d.search.titles import Source

pytest.importorskip("milvus_lite")
VECTORS = unit(1500, clusters=40)
QUERIES = unit(10, seed=5, clusters=40)


class Server:
    """Milvus Lite's server on a port of loopback."""

    def __init__(self, folder: Path, port: int) -> None:
        words = ["server", f"--data-dir={folder}", "--host=127.0.0.1", f"--port={port}"]
        command = [sys.executable, "-m", "milvus_lite", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert time.monotonic() < end
            assert self.process.poll() is None
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def recall(index: Snapshot, k: int = 10, gone: tuple[int, ...] = ()) -> float:
    shares = []
    for query in QUERIES:
        scores = VECTORS @ query
        scores[list(gone)] = -9
        rows = index.backend.search(query, k, index.catalogue.deleted)
        shares.append(len(set(rows.tolist()) & set(np.argsort(-scores)[:k].tolist())) / k)
    return float(np.mean(shares))


def eventually(search: Callable[[], list[int]]) -> list[int]:
    """Searches until the server answers: gRPC waits a second or more before it connects anew."""
    end = time.monotonic() + 20
    while True:
        try:
            return search()
        except SearchError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_a_local_file_opened_again(tmp_path: Path) -> None:
    first = make_index(tmp_path / "index", VECTORS, "milvus", "float16", uri=str(tmp_path / "milvus.db"))
    first.close()
    index = Snapshot.open(tmp_path / "index")
    rows, scores = index.nearest(VECTORS[3], 5)
    assert rows[0] == 3
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert (np.diff(scores) <= 0).all()
    assert recall(index) >= 0.9
    assert len(index.nearest(VECTORS[3], 5000)[0]) == 1500
    index.close()
    gone = tuple(rows.tolist())
    index = delete(index, list(gone))
    assert not set(index.nearest(VECTORS[3], 50)[0].tolist()) & set(gone)
    assert recall(index, gone=gone) >= 0.9
    index.close()


def test_rows_of_an_update_that_was_cut_short_are_not_found(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index", VECTORS[:200], "milvus", uri=str(tmp_path / "milvus.db"))
    index.backend.add(200, VECTORS[3][None])  # the row, without its catalogue
    index.backend.add(7, VECTORS[7][None])  # and a row again
    index.backend.save(tmp_path)
    rows, _ = index.nearest(VECTORS[3], 200)
    assert sorted(rows.tolist()) == list(range(200))
    index.close()


def test_an_index_type_that_there_is_not_fails_while_building(tmp_path: Path) -> None:
    # Milvus Lite would accept it, and refuse the next load, when nothing can be searched any more.
    with pytest.raises(SearchError, match="did not answer"):
        make_index(tmp_path / "index", VECTORS[:50], "milvus", uri=str(tmp_path / "milvus.db"), index_type="NONSENSE")
    with pytest.raises(SearchError, match="holds no index"):
        Snapshot.open(tmp_path / "index")


def test_a_new_catalogue_leaves_no_collection_behind(models: Models, titles_file: Path, tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    uri, index = str(tmp_path / "milvus.db"), tmp_path / "index"
    for source in (titles_file, write_titles(tmp_path / "other.tsv", {"a": "a red kettle"})):
        build(index, Source([str(source)]), str(models.twin), backend="milvus", parameters={"uri": uri}, progress=False)
    client = MilvusClient(uri)
    (name,) = client.list_collections()
    client.close()
    with Searcher.open(index) as searcher:
        assert name == "tfb2d_" + Manifest.read(index).catalogue.partition("-")[2]
        assert [hit.id for hit in searcher.search("kettle", legs=("twin",)).hits] == ["a"]


@pytest.mark.timeout(180)
def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path / "data", port)
    try:
        index = make_index(tmp_path / "index", VECTORS[:500], "milvus", uri=f"http://127.0.0.1:{port}")
        assert index.nearest(VECTORS[3], 1)[0].tolist() == [3]
        server.stop()
        with pytest.raises(SearchError, match=f"Milvus at http://127.0.0.1:{port} did not answer"):
            index.nearest(VECTORS[3], 1)
        away = Snapshot.open(tmp_path / "index")  # opens all the same: BM25 can answer
        with pytest.raises(SearchError, match="did not answer"):
            away.nearest(VECTORS[3], 1)
        server = Server(tmp_path / "data", port)
        for each in (index, away):
            assert eventually(lambda each=each: each.nearest(VECTORS[3], 1)[0].tolist()) == [3]
            each.close()
    finally:
        server.stop()
