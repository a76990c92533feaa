from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import AugmentConfig, ConfigError, DataConfig
from tfb2d.data.prepare import prepare
from tfb2d.data.splits import TORN, PhraseCutter, roots
from tfb2d.data.tables import read_table

SENTENCES = [f"film number {i} is a rather {word} one" for i in range(30) for word in ("good", "bad")]


def test_roots() -> None:
    result = roots(["the good film", "A good  film", "good film", "film", "a film", "goodfilm"])
    assert result["good film"] == ["a good film", "the good film"]
    assert set(result["film"]) == {"a film", "a good film", "the good film"}
    assert result["a good film"] == ["a good film"]
    assert result["a film"] == ["a film"]  # not as words in a row
    assert result["goodfilm"] == ["goodfilm"]


@given(st.lists(st.text("ab ", min_size=1, max_size=12).filter(str.strip), max_size=30))
def test_roots_are_what_a_plain_search_finds(texts: list[str]) -> None:
    plain = {" ".join(text.split()) for text in texts}
    top = {t for t in plain if not any(f" {t} " in f" {other} " for other in plain - {t})}
    result = roots(texts)
    assert set(result) == plain
    for text, its in result.items():
        assert set(its) == ({text} if text in top else {root for root in top if f" {text} " in f" {root} "})


def test_phrases_of_a_sentence_keep_together(tmp_path: Path) -> None:
    rows = []
    for number, sentence in enumerate(SENTENCES):
        words = sentence.split()
        rows += [(" ".join(words[:end]), number % 2) for end in range(3, len(words) + 1)] + [("film", number % 2)]
    lines = [f"{text}\t{label}" for text, label in rows]
    (tmp_path / "train.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    data = DataConfig(train=(str(tmp_path / "train.tsv"),), valid_fraction=0.2, test_fraction=0.2, phrases=True)
    stats = prepare(data, tmp_path / "out", progress=False)
    texts = {name: set(read_table(tmp_path / "out" / name)["text"].to_pylist()) for name in ("train", "valid", "test")}
    assert all(texts.values())
    assert stats["torn"] > 0  # "film" is in all of them
    for name, own in texts.items():
        others = [text for other in texts if other != name for text in texts[other]]
        assert not any(f" {text} " in f" {other} " for text in own for other in others)
    cutter = PhraseCutter(data, [text for text, _ in rows])
    assert cutter.split(("FILM",)) == TORN


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DataConfig(fields=("q", "t"), phrases=True), "data.phrases is for single texts"),
        (lambda: DataConfig(group="movie", phrases=True), "exclude"),
        (lambda: DataConfig(fields=("q", "t"), augment=AugmentConfig(treebank=True)), "augment.treebank is for single"),
        (lambda: AugmentConfig(min_words=-1), "min_words is -1"),
    ],
)
def test_settings_that_cannot_work(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_where_leaks_came_from(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\na good film\t1\nbad\t0\nfine film\t1\npoor\t0\n")
    (tmp_path / "test.tsv").write_text("text\tlabel\nA good film!\t1\nno\t0\n")
    (tmp_path / "more.tsv").write_text("text\nNo! It was fine.\nwords words\n")
    data = DataConfig(
        train=(str(tmp_path / "train.tsv"),),
        test=(str(tmp_path / "test.tsv"),),
        unlabelled=(str(tmp_path / "more.tsv"),),
        valid_fraction=0.0,
        augment=AugmentConfig(sentences=True),
    )
    assert prepare(data, tmp_path / "out", progress=False)["leaked_from"] == {"labelled": 1, "unlabelled": 1}
