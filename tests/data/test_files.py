from pathlib import Path

import pytest

from tfb2d.data import files
from tfb2d.errors import DataError


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("b.tsv", "a.csv.gz", "sub/c.jsonl", "_SUCCESS", ".hidden.tsv", "notes.txt", "sub/deep/d.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["b.tsv"], ["b.tsv"]),
        ([""], ["a.csv.gz", "b.tsv"]),
        (["*.tsv", "*"], ["b.tsv", "_SUCCESS", "a.csv.gz", "notes.txt"]),
        (["sub", "b.tsv", "sub/c.jsonl"], ["sub/c.jsonl", "b.tsv"]),
        (["**/*.parquet"], ["sub/deep/d.parquet"]),
        (["[ab].*"], ["a.csv.gz", "b.tsv"]),
    ],
)
def test_expand(tree, patterns, names):
    assert files.expand([str(tree / p) for p in patterns]) == [tree / n for n in names]


def test_a_file_with_a_glob_character_in_its_name(tmp_path):
    (tmp_path / "a[1].tsv").write_bytes(b"x")
    assert files.expand([tmp_path / "a[1].tsv"]) == [tmp_path / "a[1].tsv"]


def test_endings_in_upper_case(tmp_path, caplog):
    for name in ("B.TSV", "c.Csv", "d.JSONL.GZ", "E.Parquet", "f.tsv.ZST"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in files.expand([tmp_path])] == [
        "B.TSV",
        "E.Parquet",
        "c.Csv",
        "d.JSONL.GZ",
        "f.tsv.ZST",
    ]
    assert not caplog.records


def test_files_of_a_folder_that_are_not_read_are_named_once(tree, caplog):
    for name in ("b.tsv.bz2", "tsv", "a.xlsx", "_stage.json", "_manifest.json"):  # the last two are tfb2d's own
        (tree / name).write_bytes(b"x")
    files.expand([tree, tree])
    files.expand([tree])
    assert [record.getMessage() for record in caplog.records] == [
        f"{tree}: not read: .hidden.tsv, _SUCCESS (hidden files and those that start with _ are not)",
        f"{tree}: not read: a.xlsx, b.tsv.bz2, notes.txt, tsv (the name must end in one of .tsv, .csv, .jsonl, .tsv.gz, "
        ".tsv.zst, .csv.gz, .csv.zst, .jsonl.gz, .jsonl.zst, .parquet)",
        f"{tree}: not read: sub (folders within folders are not: name them, or use a glob such as **/*.tsv)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    (tree / "new.txt").write_bytes(b"x")
    files.expand([tree])
    assert "new.txt" in caplog.records[-1].getMessage()


def test_nothing_found(tree):
    with pytest.raises(DataError, match=r"bb\.tsv: nothing found; did you mean .*/b\.tsv\?"):
        files.expand([tree / "bb.tsv"])
    with pytest.raises(DataError, match=r"x/\*\.tsv: nothing found; there is no folder"):
        files.expand([tree / "x/*.tsv"])
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: nothing found in the folder that ends in one of \.tsv"):
        files.expand([tree / "empty"])
