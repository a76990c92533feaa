"""Words that tell the label, and the transfer rows that negate them."""

import csv
from pathlib import Path

import pytest

from tfb2d.config import AugmentConfig, ConfigError, DataConfig
from tfb2d.data.indicative_words import IndicativeWords, framed
from tfb2d.data.prepare import prepare
from tfb2d.data.tables import read_table

ROWS = [("a very fine film", 1), ("a very dull film, not for me", 0), ("so fine and warm", 1), ("too dull", 0)] * 12


def test_words_that_go_with_a_class_and_stand_behind_a_degree() -> None:
    telling = IndicativeWords(*zip(*ROWS, strict=True))
    assert telling.by_class(("very", "so", "too"), 2.0) == (["dull"], ["fine"])
    low, high = telling.by_class((), 2.0)
    assert {"dull", "not", "for", "me"} <= set(low)
    assert {"fine", "warm", "and"} <= set(high)
    assert telling.by_class(("very",), 99.0) == ([], [])
    assert telling.known(("not {}", "NOT {}", "not {} for me", "nicht {}")) == ["not {}", "NOT {}", "not {} for me"]


def test_long_lists_are_read_at_equal_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfb2d.data.indicative_words.MOST_TEXTS", len(ROWS))
    many = [row for row in ROWS for _ in range(3)]  # every third is read
    assert IndicativeWords(*zip(*many, strict=True)).known(("not {}",)) == ["not {}"]
    many = [row if index % 3 else ("nothing", index % 2) for index, row in enumerate(many)]
    assert IndicativeWords(*zip(*many, strict=True)).known(("not {}",)) == []
    assert IndicativeWords(*zip(*ROWS, strict=True)).by_class(("very", "so", "too"), 2.0) == (["dull"], ["fine"])


def test_frames_take_any_word() -> None:
    assert list(framed(["{odd}", "b"], ["not {}", "{} at all"])) == ["not {odd}", "{odd} at all", "not b", "b at all"]


def test_negated_words_join_the_transfer_set_unless_they_leak(tmp_path: Path) -> None:
    source, test = tmp_path / "labelled.csv", tmp_path / "test.csv"
    numbered = [(f"{text} {row}", label) for row, (text, label) in enumerate(ROWS)]
    for path, rows in ((source, numbered), (test, [("Not  fine!", 0), ("seen nowhere", 1)])):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    frames = ("not {}", "not {} for me", "kaum {}")
    negated = AugmentConfig(negated=5, negations=frames, degrees=("very", "too"))
    data = DataConfig(train=(str(source),), test=(str(test),), augment=negated)
    stats = prepare(data, tmp_path / "out", progress=False)
    transfer = read_table(tmp_path / "out/transfer").slice(stats["train"])
    assert transfer["text"].to_pylist() == ["not dull", "not dull for me", "not fine for me"]
    assert transfer["label"].to_numpy().tolist() == pytest.approx([float("nan")] * 3, nan_ok=True)
    assert (stats["augmented"], stats["augmented_left_out"]) == (3, 1)  # "not fine" is a test text
    without = prepare(DataConfig(train=(str(source),), test=(str(test),)), tmp_path / "none", progress=False)
    assert without["augmented"] == 0


def test_other_tasks_have_no_negated_words(tmp_path: Path) -> None:
    source = tmp_path / "labelled.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((f"{text} {row}", "abc"[row % 3]) for row, (text, _) in enumerate(ROWS))]
        )
    negated = AugmentConfig(negated=5)
    data = DataConfig(train=(str(source),), classes=("a", "b", "c"), augment=negated)
    assert prepare(data, tmp_path / "out", progress=False)["augmented"] == 0
    assert not DataConfig(fields=("query", "title"), augment=negated).has_negations
    assert not DataConfig(label_range=(1.0, 5.0), augment=negated).has_negations


def test_a_frame_is_words_and_a_gap() -> None:
    with pytest.raises(ConfigError, match=r"data\.augment\.negations has 'not'"):
        AugmentConfig(negations=("not",))
