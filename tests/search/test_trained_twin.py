"""A trained and exported twin over real offers: what is retrieved is right, by every backend, after opening anew."""

from pathlib import Path

import numpy as np
import pytest

from tests.search.shop import write_titles
from tests.twin.trained import some_offers
from tfb2d.evaluation.retrieval import measure_retrieval
from tfb2d.search import Searcher
from tfb2d.search.indexing import build
from tfb2d.search.titles import Source

QUERIES = 100


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    titles = {offer.id: offer.title for offer in some_offers()}
    return write_titles(tmp_path_factory.mktemp("offers") / "offers.tsv", titles)


def recall(index: Path, legs: tuple[str, ...]) -> float:
    """Recall@10 of the offers of a product, by its name."""
    relevant: dict[str, dict[str, float]] = {}
    for offer in some_offers():
        relevant.setdefault(offer.product, {})[offer.id] = 1.0
    chosen = sorted(relevant)[:QUERIES]
    with Searcher.open(index) as searcher:
        hits = {
            query: [(hit.id, hit.score) for hit in searcher.search(query, k=10, legs=legs).hits] for query in chosen
        }
    figures = measure_retrieval({query: relevant[query] for query in chosen}, hits, recall_at=(10,))
    return float(figures.means()["recall@10"] or 0.0)


def test_offers_of_a_product_are_found_by_its_name(tiny_twin: Path, offers: Path, tmp_path: Path) -> None:
    source, figures = Source([str(offers)]), {}
    for backend, dtype in (("exact", "float32"), ("exact", "int8"), ("hnsw", "int8")):
        index = tmp_path / f"{backend}-{dtype}"
        manifest = build(index, source, str(tiny_twin), backend=backend, dtype=dtype, progress=False)
        figures[backend, dtype] = recall(index, ("twin",))
    assert manifest.model.fingerprint
    random = 10 / manifest.live
    assert figures["exact", "float32"] > 50 * random
    assert figures["exact", "int8"] >= figures["exact", "float32"] - 0.01
    assert figures["hnsw", "int8"] >= figures["exact", "int8"] - 0.01
    assert recall(tmp_path / "hnsw-int8", ("bm25",)) > 50 * random
    with Searcher.open(tmp_path / "hnsw-int8") as searcher:
        vectors = searcher.catalogue.vectors(searcher.catalogue.live_rows())
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.02)


def test_a_twin_ranks_what_was_retrieved(tiny_twin: Path, offers: Path, tmp_path: Path) -> None:
    build(tmp_path / "index", Source([str(offers)]), str(tiny_twin), progress=False)
    with Searcher.open(tmp_path / "index", ranker=str(tiny_twin)) as searcher:
        answer = searcher.search(some_offers()[0].product, k=5)
        assert answer.notes == ()
        assert all("rank" in hit.stages for hit in answer.hits)
