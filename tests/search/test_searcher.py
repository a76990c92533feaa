"""Two stages in one call, on real models and a real index; what is missing or broken is answered, and said."""

import socket
import threading
from pathlib import Path

import pytest

from tests.search.shop import TITLES, Models, write_titles
from tfb2d.search import Searcher
from tfb2d.search.answer import SearchError
from tfb2d.search.indexing import update
from tfb2d.search.models import Model
from tfb2d.search.searcher import MAX_QUERY
from tfb2d.search.titles import Source
from tfb2d.serving.local import LocalServer


def titles(answer) -> list[str]:
    return [hit.title for hit in answer.hits]


def test_both_stages_say_what_they_did(index: Path, models: Models) -> None:
    with Searcher.open(index, ranker=str(models.ranker)) as searcher:
        answer = searcher.search("acme usb-c cable", k=5, retrieve=20)
        assert set(answer.milliseconds) == {"bm25", "embed", "twin", "fuse", "rank", "total"}
        assert answer.notes == ()
        assert len(answer.hits) == 5
        assert answer.hits[0].title.startswith("acme usb-c cable")
        for place, hit in enumerate(answer.hits, 1):
            assert TITLES[int(hit.id[1:])] == hit.title
            assert hit.stages["rank"][1] == hit.score
            assert hit.stages["rank"][0] <= place
            assert set(hit.stages) <= {"bm25", "twin", "fuse", "rank"}
        assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
        first = searcher.search("acme usb-c cable", k=5, retrieve=20, rank=False)
        assert "rank" not in first.milliseconds
        assert first.hits[0].stages["fuse"] == (1, first.hits[0].score)
        assert first.to_json()["hits"][0]["stages"]["fuse"]["rank"] == 1


def test_a_leg_alone_finds_by_itself(index: Path) -> None:
    with Searcher.open(index) as searcher:
        words = searcher.search("corvo 4k", legs=("bm25",))
        assert words.hits[0].title.startswith("corvo")
        assert all(set(hit.stages) == {"bm25", "fuse"} for hit in words.hits)
        near = searcher.search("corvo 4k", legs=("twin",))
        assert all(set(hit.stages) == {"twin", "fuse"} for hit in near.hits)
        assert near.hits[0].stages["twin"][1] == pytest.approx(max(hit.stages["twin"][1] for hit in near.hits))
        for legs in ((), ("tiwn",)):
            with pytest.raises(ValueError, match="there are bm25 and twin"):
                searcher.search("x", legs=legs)
        with pytest.raises(ValueError, match="k is 0"):
            searcher.search("x", k=0)


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "\0"])
def test_an_empty_query_is_answered_with_nothing(index: Path, query: str) -> None:
    with Searcher.open(index) as searcher:
        answer = searcher.search(query)
        assert answer.hits == ()
        assert "the query is empty" in answer.notes


@pytest.mark.parametrize("query", ["!!! --- ***", "冰箱", "тапочки", "हिन्दी", "🦊", "zzz unknown"])
def test_without_a_known_word_the_twin_alone_answers(index: Path, query: str) -> None:
    with Searcher.open(index) as searcher:
        answer = searcher.search(query, k=3)
        assert len(answer.hits) == 3
        assert "BM25 found no title with a word of the query" in answer.notes
        assert all("bm25" not in hit.stages for hit in answer.hits)
        alone = searcher.search(query, legs=("bm25",))
        assert alone.hits == ()


def test_a_query_of_a_megabyte_is_cut_and_said(index: Path) -> None:
    with Searcher.open(index) as searcher:
        answer = searcher.search("usb-c cable " * 100_000, k=3)
        assert len(answer.query) <= MAX_QUERY
        assert "1,200,000 characters; its first 1,000" in answer.notes[0]
        assert "usb-c" in answer.hits[0].title
        broken = searcher.search("usb \ud800 cable")
        assert "characters that are no text" in broken.notes[0]
        assert len(broken.hits) == 10


def test_more_titles_than_there_are(index: Path) -> None:
    with Searcher.open(index) as searcher:
        answer = searcher.search("red", k=1000)
        assert sorted(titles(answer)) == sorted(TITLES)
        assert answer.notes == (f"the catalogue has {len(TITLES)} titles, fewer than the 1,000 asked for",)


def test_an_unreachable_ranker_leaves_the_first_order(index: Path, models: Models) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Searcher.open(index, ranker=Model(f"127.0.0.1:{port}/shop", timeout=0.5)) as searcher:
        answer = searcher.search("blue jacket", k=4)
        assert titles(answer) == titles(searcher.search("blue jacket", k=4, rank=False))
        assert answer.notes[0].startswith("not ranked, in the order of the first stage: the ranker did not answer: ")
    with (
        LocalServer([f"--model_base_path={models.ranker}", "--model_name=shop"]) as server,
        Searcher.open(index, ranker=f"{server.address}/shop") as remote,
        Searcher.open(index, ranker=str(models.ranker)) as local,
    ):
        ranked = remote.search("blue jacket", k=4)
        assert ranked.notes == ()
        assert titles(local.search("blue jacket", k=4)) == titles(ranked)


def test_a_title_deleted_while_a_query_is_answered(index: Path, models: Models) -> None:
    deletions: list[str] = []

    class Interrupted(Model):
        """A twin; while it embeds a query, somebody else deletes titles."""

        def query(self, text):
            if deletions:
                update(index, None, [deletions.pop()], progress=False)
            return super().query(text)

    with Searcher.open(index, twin=Interrupted(str(models.twin)), ranker=str(models.ranker)) as searcher:
        before = searcher.search("acme rain jacket", k=3)
        gone = before.hits[0]
        deletions.append(gone.id)
        answer = searcher.search("acme rain jacket", k=3)
        assert gone.id not in [hit.id for hit in answer.hits]
        assert answer.notes == ("1 titles were deleted or replaced while this query was answered",)
        after = searcher.search("acme rain jacket", k=3)
        assert after.notes == ()
        assert gone.id not in [hit.id for hit in after.hits]
        assert searcher.describe()["titles"] == len(TITLES) - 1


def test_updates_are_seen_without_a_restart(index: Path, tmp_path: Path) -> None:
    with Searcher.open(index) as searcher:
        assert not searcher.search("zeppelin", legs=("bm25",)).hits
        new = write_titles(tmp_path / "new.tsv", {"z1": "zeppelin model 1:72", "t0": "acme usb-c cable crimson"})
        update(index, Source([str(new)]), progress=False)
        assert searcher.search("zeppelin", k=1).hits[0].id == "z1"
        assert searcher.search("zeppelin", k=1, legs=("twin",)).hits[0].id == "z1"
        assert searcher.search("crimson", k=1).hits[0].title == "acme usb-c cable crimson"
        assert "acme usb-c cable red" not in titles(searcher.search("acme usb-c cable red", k=100))
        everything = [*(f"t{place}" for place in range(len(TITLES))), "z1"]
        update(index, None, everything, progress=False)
        answer = searcher.search("usb")
        assert answer.hits == ()
        assert "the catalogue is empty" in answer.notes
        assert searcher.describe()["samples"] == []
        assert "a rebuild pays" in searcher.describe()["notes"][0]
        update(index, Source([str(new)]), progress=False)
        assert {hit.id for hit in searcher.search("usb zeppelin").hits} == {"z1", "t0"}


def test_another_model_is_refused(index: Path, models: Models) -> None:
    with pytest.raises(SearchError, match="built by another version of the model: name the model that it was built"):
        Searcher.open(index, twin=str(models.other_twin))
    path = index / "index.json"
    path.write_text(path.read_text().replace(str(models.twin), "/nowhere/twin"))
    with pytest.raises(SearchError, match=r"no such folder.*--twin names its folder now") as refused:
        Searcher.open(index)
    assert "\n" not in str(refused.value)
    Searcher.open(index, twin=str(models.twin)).close()
    with pytest.raises(SearchError, match="holds no index"):
        Searcher.open(index.parent / "none")


def test_a_twin_behind_a_server(index: Path, models: Models) -> None:
    local = Searcher.open(index).search("bolt lamp", k=5)
    with LocalServer([f"--model_base_path={models.twin}", "--model_name=twin"]) as server:
        searcher = Searcher.open(index, twin=Model(f"{server.address}/twin", timeout=3))
        assert titles(searcher.search("bolt lamp", k=5)) == titles(local)
        with pytest.raises(SearchError, match=r"the twin cannot be asked: .*nobody"):
            Searcher.open(index, twin=f"{server.address}/nobody")
    gone = searcher.search("bolt lamp", k=5)
    assert gone.notes[0].startswith("the twin did not answer")
    assert gone.hits[0].stages.keys() == {"bm25", "fuse"}
    with pytest.raises(SearchError, match="the twin did not answer"):
        searcher.search("bolt lamp", legs=("twin",))
    searcher.close()


def test_a_restart_builds_nothing(index: Path) -> None:
    def stamps() -> dict[str, tuple[int, int]]:
        files = [path for path in index.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

    before = stamps()
    with Searcher.open(index) as searcher:
        searcher.search("red", k=5)
    assert stamps() == before


def test_threads_share_a_searcher(index: Path) -> None:
    with Searcher.open(index) as searcher:
        expected = titles(searcher.search("acme lamp"))
        seen: list[list[str]] = []
        threads = [threading.Thread(target=lambda: seen.append(titles(searcher.search("acme lamp")))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [expected] * 8
