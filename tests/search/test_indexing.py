"""Building, mending, going on after SIGKILL, updating: on real models and files."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.full_disk import full_disk
from tests.killing import module, run_and_kill
from tests.search.shop import TITLES, Models, write_titles
from tests.search.twins import CrookedTwin, export
from tfb2d.errors import DataError, UserError
from tfb2d.runs import locked
from tfb2d.search import Searcher
from tfb2d.search.answer import SearchError
from tfb2d.search.catalogue import PART_ROWS
from tfb2d.search.indexing import build, update
from tfb2d.search.manifest import Manifest
from tfb2d.search.models import Model
from tfb2d.search.snapshot import Snapshot
from tfb2d.search.titles import Source


def made(folder: Path, source: Source, model: Path, **settings) -> Manifest:
    return build(folder, source, str(model), progress=False, **settings)


def stamps(index: Path, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in index.glob(pattern)}


def test_a_killed_build_goes_on(models: Models, tmp_path: Path) -> None:
    titles = {str(n): f"{TITLES[n % len(TITLES)]} number {n}" for n in range(3 * PART_ROWS + 10)}
    file, folder = write_titles(tmp_path / "titles.tsv", titles), tmp_path / "index"
    flags = (f"--titles={file}", f"--model={models.twin}", f"--index={folder}", "--backend=exact", "--noprogress")
    run_and_kill(module("tfb2d.search", "build", *flags), lambda: any(folder.glob("catalogue-*/part-00000.arrow")))
    done = stamps(folder, "catalogue-*/part-*.parquet")
    assert 1 <= len(done) <= 4
    with pytest.raises(SearchError, match="its build has not finished; run it again"):
        Snapshot.open(folder)
    manifest = made(folder, Source([str(file)]), models.twin, backend="exact")
    after = stamps(folder, "catalogue-*/part-*.parquet")
    assert {name: after[name] for name in done} == done
    assert len(after) == 4
    assert manifest.rows == len(titles)
    snapshot = Snapshot.open(folder)
    keys = [key for _, keys, _ in snapshot.catalogue.all_ids() for key in keys]
    assert keys == list(titles)
    assert not list(folder.rglob("*.tmp"))


def test_the_truth_is_in_parquet(index: Path) -> None:
    (part,) = index.glob("catalogue-*/part-*.parquet")
    table = pq.read_table(part)
    assert table.column_names == ["id", "title", "embedding"]
    assert table["title"].to_pylist() == TITLES
    assert str(table.schema.field("embedding").type) in (
        "fixed_size_list<item: int8 not null>[64]",
        "fixed_size_list<element: int8 not null>[64]",
    )


def test_ids_are_texts_and_stand_once(models: Models, tmp_path: Path) -> None:
    rows = [{"id": 1, "title": "a lamp"}, {"id": 1.0, "title": "again"}, {"id": None, "title": "none"}]
    rows += [{"id": "x", "title": ""}, {"id": "x", "title": "a shoe"}, {"id": "01", "title": "a cable"}]
    file = tmp_path / "titles.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"3 of 6 rows cannot be used.*1 duplicate id"):
        made(tmp_path / "index", Source([str(file)]), models.twin)
    manifest = made(tmp_path / "index", Source([str(file)], max_rejected=0.5), models.twin)
    file = tmp_path / "index" / manifest.catalogue / "rejected.jsonl"
    rejected = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted((row["row"], row["field"], row["reason"]) for row in rejected) == [
        (2, "id", "duplicate id"),
        (3, "id", "empty id"),
        (4, "title", "empty text"),
    ]
    snapshot = Snapshot.open(tmp_path / "index")
    assert snapshot.catalogue.ids(snapshot.catalogue.live_rows()) == ["1", "x", "01"]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("id\ttitle\n", {}, "no titles, so there is nothing to search"),
        ("sku\ttitle\n1\ta\n", {}, "has no column 'id'; it has sku, title (--id=COLUMN names it)"),
        ("id\tname\n1\ta\n", {"title": "nam"}, "has no column 'nam'; did you mean name?"),
    ],
)
def test_files_that_cannot_be_used(content: str, settings: dict, message: str, models: Models, tmp_path: Path) -> None:
    file = tmp_path / "titles.tsv"
    file.write_text(content)
    with pytest.raises(DataError) as refused:
        made(tmp_path / "index", Source([str(file)], **settings), models.twin)
    assert message in str(refused.value)


def test_another_backend_embeds_nothing_anew_and_keeps_updates(
    index: Path, models: Models, titles_file: Path, tmp_path: Path
) -> None:
    new = write_titles(tmp_path / "new.tsv", {"n1": "zeppelin", "t1": "acme usb-c cable azure"})
    update(index, Source([str(new)]), ["t2"], progress=False)
    before = stamps(index, "catalogue-*/part-*.parquet")
    assert len(before) == 2
    source = Source([str(titles_file)])
    manifest = made(index, source, models.twin, backend="exact", dtype="int8")
    assert stamps(index, "catalogue-*/part-*.parquet") == before
    assert (manifest.backend, manifest.live, manifest.rows) == ("exact", len(TITLES), len(TITLES) + 2)
    assert not list(index.glob("vectors-*"))
    with Searcher.open(index) as searcher:
        assert searcher.search("zeppelin", k=1).hits[0].id == "n1"
    again = made(index, source, models.twin, backend="exact", dtype="int8")
    assert again == manifest


@pytest.mark.parametrize(
    "file", ["vectors-*.faiss", "bm25-*/rows.npy", "catalogue-*/part-00000.arrow", "catalogue-*/part-00000.parquet"]
)
def test_the_same_build_mends_what_was_damaged(file: str, index: Path, models: Models, titles_file: Path) -> None:
    (path,) = index.glob(file)
    path.write_bytes(path.read_bytes()[:-20])
    if not file.endswith("parquet"):  # which is only read when something is made from it
        with pytest.raises(SearchError, match="is not whole"):
            Searcher.open(index)
    made(index, Source([str(titles_file)]), models.twin, backend="hnsw", dtype="int8")
    with Searcher.open(index) as searcher:
        assert searcher.search("acme usb-c cable red", k=1).hits[0].id == "t0"
    assert pq.read_metadata(next(iter(index.glob("catalogue-*/part-00000.parquet")))).num_rows == len(TITLES)


def test_an_update_counts_what_it_did(index: Path, tmp_path: Path) -> None:
    new = write_titles(tmp_path / "new.tsv", {"t0": TITLES[0], "t1": "changed", "n": "new", "m": "newer"})
    changes = update(index, Source([str(new)]), ["t5", "nobody"], progress=False)
    assert changes[:5] == (2, 1, 1, 1, ("nobody",))
    assert (changes.manifest.rows, changes.manifest.live) == (len(TITLES) + 3, len(TITLES) + 1)
    assert update(index, Source([str(new)]), [], progress=False).manifest == changes.manifest
    with pytest.raises(DataError, match="'n' is both added and deleted"):
        update(index, Source([str(new)]), ["n"], progress=False)
    assert (
        len(list(index.glob("bm25-*"))) == len(list(index.glob("vectors-*"))) == len(list(index.glob("deleted-*"))) == 1
    )


def test_bm25_after_updates_is_that_of_a_fresh_build(index: Path, models: Models, tmp_path: Path) -> None:
    new = write_titles(tmp_path / "new.tsv", {"n": "zeppelin cable", "t1": "acme usb-c cable azure"})
    update(index, Source([str(new)]), ["t2"], progress=False)
    now = Snapshot.open(index)
    rows = now.catalogue.live_rows()
    live = dict(zip(now.catalogue.ids(rows), now.catalogue.titles(rows), strict=True))
    made(tmp_path / "fresh", Source([str(write_titles(tmp_path / "live.tsv", live))]), models.twin)
    fresh = Snapshot.open(tmp_path / "fresh")
    for query in ("usb-c cable", "zeppelin", "azure lamp 4k"):
        found = [(s.catalogue.ids(r), v.tolist()) for s in (now, fresh) for r, v in (s.lexical.search(query, 100),)]
        assert found[0] == found[1]


@pytest.mark.parametrize(("room", "says"), [(500, "File too large"), (2000, r"vectors-0002.faiss .*File too large")])
def test_an_update_that_fails_changes_nothing(room: int, says: str, index: Path, tmp_path: Path) -> None:
    before = (index / "index.json").read_bytes()
    new = write_titles(tmp_path / "new.tsv", {"n": "zeppelin"})
    with full_disk(room), pytest.raises(OSError, match=says):
        update(index, Source([str(new)]), ["t0"], progress=False)
    assert (index / "index.json").read_bytes() == before
    with Searcher.open(index) as searcher:
        assert searcher.search("acme usb-c cable red", k=1).hits[0].id == "t0"
        update(index, Source([str(new)]), ["t0"], progress=False)
        assert searcher.search("zeppelin", k=1).hits[0].id == "n"


def test_one_change_at_a_time(index: Path) -> None:
    with locked(index), pytest.raises(UserError, match="another process is at work"):
        update(index, None, ["t0"], progress=False)
    assert update(index, None, ["t0"], progress=False).deleted == 1


def test_vectors_that_are_not_of_length_one_are_refused(tmp_path: Path) -> None:
    model = Model(str(export(tmp_path / "crooked", make=CrookedTwin)))
    assert model.titles(["red shoe", "blue shoe"]).shape == (2, 64)
    # Of NaN, FAISS would never find the row, and Milvus would score it NaN.
    for word, length in (("none", "0"), ("long", "2"), ("lost", "nan")):
        with pytest.raises(SearchError, match=f"gives '{word} shoe' a vector of length {length}; twins give unit"):
            model.titles(["red shoe", f"{word} shoe"])


def test_another_version_of_the_twin_may_not_update(index: Path, models: Models, tmp_path: Path) -> None:
    new = write_titles(tmp_path / "new.tsv", {"n": "zeppelin"})
    with pytest.raises(SearchError, match="another version of the model"):
        update(index, Source([str(new)]), model=str(models.other_twin), progress=False)
    manifest = Manifest.read(index)
    assert (manifest.version, manifest.rows) == (1, len(TITLES))


def test_the_old_index_stays_until_the_new_one_is_whole(index: Path, models: Models, tmp_path: Path) -> None:
    empty = tmp_path / "empty.tsv"
    empty.write_text("id\ttitle\n")
    with pytest.raises(DataError, match="no titles"):
        made(index, Source([str(empty)]), models.twin)
    with Searcher.open(index) as searcher:
        assert searcher.search("red").hits
        other = write_titles(tmp_path / "other.tsv", {"a": "a red kettle"})
        made(index, Source([str(other)]), models.twin)
        assert [hit.id for hit in searcher.search("red").hits] == ["a"]
    assert len(list(index.glob("catalogue-*"))) == 1
