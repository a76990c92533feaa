"""Contrast pairs: which words are taken, what is counted, and when there are none."""

from collections.abc import Sequence

import numpy as np
import pytest

from tfb2d.config import ConfigError, ReportConfig
from tfb2d.evaluation.contrasts import contrast_line, contrast_note, contrast_table, contrasts

GOOD = ("fine", "warm", "clever")
BAD = ("dull", "stale", "empty")
FRAMES = ("not {}", "hardly {}", "not {} at all", "kaum {}")
NEGATIONS = {"not", "hardly", "kaum"}
DEGREES = ("very", "so")


def texts() -> tuple[list[str], list[int]]:
    """Returns labelled texts: adjectives behind words of degree, nouns that go with a class, negations of both classes."""
    rows, labels = [], []
    for round_ in range(12):
        for good, bad in zip(GOOD, BAD, strict=True):
            rows += [f"A very {good} portrait.", f"So {bad}, this mess!", f"not {good}, hardly {bad}", "all of it"]
            labels += [1, 0, round_ % 2, round_ % 2]
    return rows, labels


def reader(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Scores as one who reads negations, but not those of bad words by "hardly"."""
    scores = []
    for text in columns[0]:
        words = text.split()
        good = bool(set(words) & {*GOOD, "portrait"})
        negated = bool(set(words) & NEGATIONS) and not (set(words) & set(BAD) and "hardly" in words)
        scores.append(0.9 if good != negated else 0.1)
    return np.array(scores)


def single_words(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Scores by the adjective alone."""
    return np.array([0.8 if set(text.split()) & set(GOOD) else 0.2 for text in columns[0]])


def test_words_are_those_of_degree_that_tell_the_label() -> None:
    found = contrasts(*texts(), {"teacher": reader, "student": single_words}, FRAMES, DEGREES)
    assert found is not None
    assert set(found["words"]) == {*GOOD, *BAD}  # not "portrait" and "mess", which no word of degree precedes
    assert [word in GOOD for word in found["words"]] == [True, False] * 3  # by turns
    assert found["frames"] == ["not {}", "hardly {}"]  # the texts hold neither "kaum" nor "at all" often enough
    assert found["pairs"] == 12
    assert found["turned"] == {"teacher": 9 / 12, "student": 0.0}
    assert found["alike"] == {"student": 3 / 12}


def test_every_frame_is_shown_and_scores_are_those_of_the_models() -> None:
    found = contrasts(*texts(), {"teacher": reader, "student": single_words}, FRAMES, DEGREES)
    assert found is not None
    shown = found["shown"]
    assert len(shown) == 5
    for index, pair in enumerate(shown):
        assert pair["negated"] == ("not ", "hardly ")[index % 2] + pair["plain"]
        for key, score in (("teacher", reader), ("student", single_words)):
            assert pair["scores"][key] == score([[pair["plain"], pair["negated"]]]).tolist()
    assert contrast_table(found)["titles"] == ["plain → negated", "teacher", "student"]
    first = [cell for cell, _ in contrast_table(found)["rows"][0]["cells"]]
    assert first == [f"{shown[0]['plain']} → {shown[0]['negated']}", "0.90 → 0.10", "0.80 → 0.80"]
    assert contrast_line(found, "student") == "turns 0 of 12 negated words, the teacher 9; decides 3 as the teacher"
    assert "the teacher turns 9, the student turns 0; the student decides 3 of them" in contrast_note(found)


def test_without_a_teacher_the_student_stands_alone() -> None:
    found = contrasts(*texts(), {"student": reader}, FRAMES, DEGREES)
    assert found is not None
    assert (found["reference"], found["alike"]) == ("student", {})
    assert contrast_line(found, "student") == "turns 9 of 12 negated words"


def test_without_words_of_degree_every_telling_word_counts() -> None:
    found = contrasts(*texts(), {"teacher": reader}, FRAMES, ())
    assert found is not None
    assert "portrait" in found["words"]
    assert "all" not in found["words"]  # goes with both classes


def test_what_has_no_pair_is_left_out() -> None:
    rows, labels = texts()
    assert contrasts(rows, labels, {"teacher": reader}, ("ikke {}",), DEGREES) is None  # of another language
    assert contrasts(rows, labels, {"teacher": lambda c: np.full(len(c[0]), 0.5)}, FRAMES, DEGREES) is None
    assert contrasts(rows, [1] * len(rows), {"teacher": reader}, FRAMES, DEGREES) is None
    assert contrasts(["a"], [1], {"teacher": reader}, FRAMES, DEGREES) is None


@pytest.mark.parametrize("frame", ["not", "{}", "not {} {}"])
def test_a_frame_holds_words_and_one_gap(frame: str) -> None:
    with pytest.raises(ConfigError, match=r"report\.negations"):
        ReportConfig(negations=(frame,))
