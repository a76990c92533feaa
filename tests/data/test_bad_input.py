"""Every kind of bad input that the data stage promises to name: what the user reads, and what is left behind."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfb2d.config import DataConfig
from tfb2d.data.prepare import prepare
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError

GOOD = [(f"text number {i}", "rotten" if i % 2 else "fresh") for i in range(1000)]


@pytest.fixture
def run(tmp_path):
    """Prepares a train file made of some bytes; returns the counts and the rejected rows."""

    def prepare_file(content: bytes, name: str = "reviews.tsv", **settings) -> tuple[dict, list[dict]]:
        (tmp_path / name).write_bytes(content)
        settings = {"train": (str(tmp_path / name),), "classes": ("rotten", "fresh"), **settings}
        stats = prepare(DataConfig(**settings), tmp_path / "out", progress=False)
        return stats, [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]

    return prepare_file


def tsv(rows: list[tuple[str, str]], header: str = "text\tlabel") -> bytes:
    return "\n".join([header, *map("\t".join, rows)]).encode()


FATAL = {
    "missing column": (tsv(GOOD, "text\tlable"), {}, r"reviews\.tsv has no column 'label'; did you mean 'lable'\?"),
    "no overlap": (
        tsv(GOOD, "a\tb"),
        {},
        r"reviews\.tsv has none of the columns 'text', 'label' that the config names; it has 'a', 'b'",
    ),
    "no header": (tsv(GOOD[1:], "\t".join(GOOD[0])), {}, r"none of the columns .* it has 'text number 0', 'fresh'"),
    "missing group": (tsv(GOOD), {"group": "movie"}, r"reviews\.tsv has no column 'movie'"),
    "empty file": (b"", {}, r"reviews\.tsv is empty"),
    "header alone": (b"text\tlabel\n", {}, r"reviews\.tsv: no rows below the header"),
    "unknown labels": (
        tsv([(text, "good") for text, _ in GOOD]),
        {},
        r"1,000 of 1,000 rows .* 1,000 unknown label \(known: rotten, fresh\)\. The first: "
        r".*reviews\.tsv, row 2, field 'label': unknown label \(known: rotten, fresh\): 'good'",
    ),
    "one class": (
        tsv([(text, "fresh") for text, _ in GOOD]),
        {},
        r"reviews\.tsv: field 'label' is fresh in all \d+ rows of the train split; a single class can",
    ),
    "invalid UTF-8 throughout": (
        tsv([("naïve " + text, label) for text, label in GOOD]).decode().encode("latin-1"),
        {},
        r"1,000 invalid UTF-8\. The first: .*reviews\.tsv, row 2, field 'text': invalid UTF-8: 'na\\\\udcefve",
    ),
    "UTF-16": (tsv(GOOD).decode().encode("utf-16"), {}, r"reviews\.tsv is UTF-16; it must be UTF-8"),
    "unlabelled file without the text": (
        tsv(GOOD),
        {"unlabelled_fields": ("body",)},
        r"reviews\.tsv has none of the columns 'body'",
    ),
}


@pytest.mark.parametrize("case", FATAL)
def test_what_stops_the_run(run, tmp_path, case):
    content, settings, message = FATAL[case]
    if "unlabelled_fields" in settings:
        settings = {**settings, "unlabelled": (str(tmp_path / "reviews.tsv"),)}
    with pytest.raises(DataError, match=message):
        run(content, **settings)
    assert not (tmp_path / "out/stats.json").exists()


ROWS = {
    "unknown label": (b"t\tgood", "label", "unknown label (known: rotten, fresh)", "good"),
    "missing label": (b"t\t", "label", "missing label", ""),
    "ragged row": (b"t\tfresh\tmore", "", "ragged row: not the header's 2 columns", "3 columns: t\tfresh\tmore"),
    "invalid UTF-8": (b"caf\xe9\tfresh", "text", "invalid UTF-8", "caf\\udce9"),
    "NUL byte": (b"a\0b\tfresh", "text", "NUL byte", "a\0b"),
    "10 MB line": (b"x" * 10_000_000 + b"\tfresh", "", "line longer than 4,194,304 bytes", "x" * 200),
    "long text": (b"x" * 20_001 + b"\tfresh", "text", "longer than data.max_chars=20000 characters", "x" * 200),
    "empty text": (b" \tfresh", "text", "empty text", ""),
}


@pytest.mark.parametrize("case", ROWS)
def test_what_is_set_apart(run, tmp_path, case):
    line, field, reason, excerpt = ROWS[case]
    stats, apart = run(tsv(GOOD[:500]) + b"\n" + line + b"\n" + tsv(GOOD[500:]).split(b"\n", 1)[1])
    file = str(tmp_path / "reviews.tsv")
    assert apart == [{"file": file, "row": 502, "lines": 1, "field": field, "reason": reason, "excerpt": excerpt}]
    assert (stats["rejected"], stats["rejected_by_reason"]) == (1, {reason: 1})
    assert stats["train"] + stats["valid"] + stats["test"] == 1000
    with pytest.raises(DataError, match=r"1 of 1,001 rows cannot be used, more than data\.max_rejected=0 allows"):
        run((tmp_path / "reviews.tsv").read_bytes(), max_rejected=0.0)
    assert len((tmp_path / "out/rejected.jsonl").read_text().splitlines()) == 1


def test_ragged_csv(run):
    stats, apart = run(tsv(GOOD).replace(b"\t", b",") + b"\na,b,c,d\n", "reviews.csv")
    assert stats["rejected"] == 1
    assert (apart[0]["row"], apart[0]["excerpt"]) == (1002, "4 columns: a,b,c,d")


def test_duplicate_ids(run):
    rows = [(f"{i}\t{text}", label) for i, (text, label) in enumerate(GOOD)] + [("7\tagain", "fresh")]
    stats, apart = run(tsv(rows, "id\ttext\tlabel"), id="id")
    assert stats["rejected_by_reason"] == {"duplicate id": 1}
    assert (apart[0]["row"], apart[0]["field"], apart[0]["excerpt"]) == (1002, "id", "7")


@pytest.mark.parametrize("name", ["reviews.parquet", "reviews.tsv.gz"])
def test_file_cut_short(run, tmp_path, name):
    if name.endswith("parquet"):
        pq.write_table(pa.table(list(zip(*GOOD, strict=True)), ["text", "label"]), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
    else:
        whole = gzip.compress(tsv(GOOD))
    with pytest.raises(DataError, match=r"reviews\S+ cannot be read after row \d+ \(is it cut short\?\)"):
        run(whole[:-100], name)


def test_test_split_of_one_class(run, tmp_path):
    (tmp_path / "test.tsv").write_bytes(tsv([("unseen text", "fresh"), ("other text", "fresh")]))
    with pytest.raises(DataError, match=r"test\.tsv: field 'label' is fresh in all 2 rows of the test split"):
        run(tsv(GOOD), test=(str(tmp_path / "test.tsv"),))


def test_train_within_test(run, tmp_path):
    (tmp_path / "test.tsv").write_bytes(tsv(GOOD))
    with pytest.raises(DataError, match=r"reviews\.tsv: no rows for the train split; left out: 1,000 leaked"):
        run(tsv(GOOD), test=(str(tmp_path / "test.tsv"),), valid_fraction=0.0)


def test_too_few_rows_to_cut(run):
    message = (
        r"reviews\.tsv: no rows for the (valid|test) split\. data\.valid_fraction=0\.1 and data\.test_fraction=0\.1 of 4 "
        r"different texts were cut by chance, and the \1 split got none: give more of them, raise data\.\1_fraction or "
        r"name files in data\.\1, or try another data\.split_seed"
    )
    with pytest.raises(DataError, match=message):
        run(tsv(GOOD[:4]))


def test_too_few_groups_to_cut(run):
    rows = [(f"{text}\tFilm {i % 3}", label) for i, (text, label) in enumerate(GOOD)]
    with pytest.raises(
        DataError, match=r"test_fraction=0\.1 of 3 groups \(values of 'movie'\) were cut by chance, and the"
    ):
        run(tsv(rows, "text\tmovie\tlabel"), group="movie")
    with pytest.raises(
        DataError, match=r"the train split got none: give more of them, lower the fractions, or try another"
    ):
        run(tsv(rows, "text\tmovie\tlabel"), group="movie", valid_fraction=0.49, test_fraction=0.5)


@pytest.mark.parametrize("name", ["reviews.tsv", "reviews.csv", "reviews.tsv.gz"])
def test_line_ends_of_carriage_returns_alone(run, name):
    content = tsv(GOOD).replace(b"\n", b"\r").replace(b"\t", b"," if "csv" in name else b"\t")
    stats, apart = run(gzip.compress(content) if name.endswith("gz") else content, name)
    assert stats["train"] + stats["valid"] + stats["test"] == 1000
    assert apart == []


@pytest.mark.parametrize("name", ["reviews.tsv", "reviews.csv"])
def test_mixed_line_ends(run, name):
    content = tsv(GOOD).replace(b"\n", b"\r", 2).replace(b"\t", b"," if "csv" in name else b"\t")
    with pytest.raises(DataError, match=r"line 1 has carriage returns within; .* Convert the file's line ends"):
        run(content, name)


def test_no_train_files(tmp_path):
    with pytest.raises(DataError, match=r"data\.train is empty"):
        prepare(DataConfig(), tmp_path, progress=False)


def test_missing_file(tmp_path):
    (tmp_path / "reviews.tsv").write_bytes(tsv(GOOD))
    with pytest.raises(DataError, match=r"review\.tsv: nothing found; did you mean .*reviews\.tsv\?"):
        prepare(DataConfig(train=(str(tmp_path / "review.tsv"),)), tmp_path / "out", progress=False)


def test_an_error_leaves_the_last_good_state(run, tmp_path):
    run(tsv(GOOD))
    before = (tmp_path / "out/stats.json").read_bytes(), read_table(tmp_path / "out/train")
    with pytest.raises(DataError):
        run(b"")
    assert ((tmp_path / "out/stats.json").read_bytes(), read_table(tmp_path / "out/train")) == before
    assert not (tmp_path / "out/.partial").exists()


def test_two_processes_that_write_the_same_rejects_both_finish(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    with Rejects(path, 1.0) as first, Rejects(path, 1.0) as last:
        first.add("a.tsv", 2, "text", "empty text")
        last.add("b.tsv", 3, "text", "empty text")
    assert json.loads(path.read_text())["file"] == "a.tsv"  # closed behind the other
    assert list(tmp_path.iterdir()) == [path]
