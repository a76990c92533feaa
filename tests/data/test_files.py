import os
from pathlib import Path

import pytest

from tfb2d.data import files
from tfb2d.data.errors import DataError


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


def test_nothing_found(tree):
    with pytest.raises(DataError, match=r"bb\.tsv: nothing found; did you mean .*/b\.tsv\?"):
        files.expand([tree / "bb.tsv"])
    with pytest.raises(DataError, match=r"x/\*\.tsv: nothing found; there is no folder"):
        files.expand([tree / "x/*.tsv"])
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: nothing found in the folder that ends in one of \.tsv"):
        files.expand([tree / "empty"])


def test_atomic_write(tmp_path):
    path = tmp_path / "new" / "a.json"
    files.write_json(path, {"a": "ä"})
    assert files.read_json(path) == {"a": "ä"}
    files.write_atomic(path, b"other")
    assert path.read_bytes() == b"other"
    with pytest.raises(DataError, match=r"a\.json is not JSON"):
        files.read_json(path)
    assert os.listdir(path.parent) == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    files.write_atomic(path, "old")

    def fail() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
