"""Contributions sum to the logit, are exact where the network is linear, and belong to the right n-grams."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.explain.students import PAIRS, REVIEWS, student
from tests.students.harness import PAIR, SMALL, strong_student
from tfb2d.explain.contributions import explain
from tfb2d.explain.spans import spans
from tfb2d.explain.views import view
from tfb2d.outcomes import Calibration
from tfb2d.students import text_spec
from tfb2d.students.model import Student

WORDS = ["red", "blue", "shoe", "hat", "42", "don't", "3.5", "é", "靴", "-"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)


def total(explanation) -> float:
    return sum(ngram.value for ngram in (*explanation.ngrams, *explanation.soft))


@settings(max_examples=8)
@given(TEXT)
def test_contributions_sum_to_the_logit_less_that_of_an_empty_row(reviews: Student, text: str) -> None:
    explanation = explain(reviews, [text])
    empty = float(reviews.model([tf.constant([""])])[0, 0])
    assert explanation.baseline == pytest.approx(empty, abs=1e-5)
    assert explanation.logit == pytest.approx(float(reviews.model([tf.constant([text])])[0, 0]), abs=1e-5)
    assert explanation.gap == pytest.approx(explanation.logit - explanation.baseline - total(explanation), abs=1e-9)
    assert abs(explanation.gap) < 0.02 * max(1.0, abs(explanation.logit - explanation.baseline))
    assert sum(values.sum() for values in explanation.token_values()) == pytest.approx(total(explanation))


@settings(max_examples=8)
@given(TEXT, TEXT)
def test_so_do_those_of_pairs(pairs: Student, query: str, title: str) -> None:
    explanation = explain(pairs, [query, title])
    assert explanation.baseline == pytest.approx(float(pairs.model([tf.constant([""])] * 2)[0, 0]), abs=1e-5)
    assert abs(explanation.gap) < 0.02 * max(1.0, abs(explanation.logit - explanation.baseline))
    assert len(explanation.soft) == len(explanation.tokens[0]) * len(explanation.tokens[1])
    assert sum(values.sum() for values in explanation.token_values()) == pytest.approx(total(explanation))


def test_more_steps_come_nearer(pairs: Student) -> None:
    texts = ["red shoe 42", "blue shoe red hat"]
    gaps = [abs(explain(pairs, texts, steps).gap) for steps in (1, 16, 1024)]
    assert gaps[2] < gaps[0]
    assert gaps[2] < 2e-3


@pytest.mark.parametrize("off", [("products", "matched"), ("differences", "soft_match")])
def test_interaction_features_can_be_missing(off: tuple[str, str]) -> None:
    explanation = explain(student(PAIRS, **dict.fromkeys(off, False)), ["red shoe", "red hat"])
    assert abs(explanation.gap) < 0.02 * max(1.0, abs(explanation.logit))


def test_of_a_linear_student_they_are_what_is_lost_by_leaving_the_ngram_out_of_the_sum() -> None:
    linear = student(REVIEWS, orders=(1, 2), ffn=())
    explanation = explain(linear, ["red shoe red"], steps=1)
    kernel, bias = linear.first_dense.kernel.numpy()[:, 0], float(linear.first_dense.bias[0])
    assert explanation.baseline == pytest.approx(bias)
    for ngram in explanation.ngrams:
        vector = linear.ngrams.vectors(tf.constant([ngram.row]))[0].numpy()
        assert ngram.value == pytest.approx(vector @ kernel / np.sqrt(6), rel=1e-4)
    assert [ngram.text for ngram in explanation.ngrams] == ["red", "red shoe", "shoe", "shoe red", "red", "red ⊣"]


@pytest.mark.parametrize(
    "shape",
    [{}, {"convolutions": (1, 2)}, {"convolutions": (1,), "convolution_width": 9, "vocabulary": 4, "affixes": (2, 1)}],
)
def test_composed_ngrams_share_out_the_logit_too(shape: dict) -> None:
    made = student(REVIEWS, window=3, **shape)
    if made.config.vocabulary:
        known = [text_spec.token_hash(word, made.config.affixes) for word in (b"red", b"shoe", b"hat")]
        made.ngrams.known.assign(sorted([*known, text_spec.UNUSED]))
    explanation = explain(made, ["red shoe blue hat"])
    assert [ngram.text for ngram in explanation.ngrams] == ["red shoe blue", "shoe blue hat", "blue hat ⊣", "hat ⊣"]
    assert abs(explanation.gap) < 0.02 * max(1.0, abs(explanation.logit))
    assert explanation.token_values()[0].sum() == pytest.approx(total(explanation))


def test_the_likeliest_class_is_explained_or_the_one_asked_for(news: Student) -> None:
    logits = news.model([tf.constant(["red shoe"])]).numpy()[0]
    for target in (None, 0, 1, 2):
        explanation = explain(news, ["red shoe"], target=target)
        assert explanation.predicted == (int(logits.argmax()) if target is None else target)
        assert explanation.logit == pytest.approx(float(logits[explanation.predicted]), abs=1e-5)


def test_the_likeliest_class_is_that_of_the_calibrated_scores(news: Student) -> None:
    raw = int(news.model([tf.constant(["red shoe"])]).numpy()[0].argmax())
    other = (raw + 1) % 3
    bias = tuple(50.0 if at == other else 0.0 for at in range(3))
    assert explain(news, ["red shoe"], calibration=Calibration(1.0, bias)).predicted == other
    assert explain(news, ["red shoe"], target=raw, calibration=Calibration(1.0, bias)).predicted == raw


def test_a_composed_ngram_is_unseen_only_if_all_of_its_rows_are_zero() -> None:
    made = student(REVIEWS, window=2)
    made.pool.bias.assign(np.full(8, -1e3, np.float32))  # the ReLU lets nothing through
    assert [ngram.unseen for ngram in explain(made, ["red shoe"]).ngrams] == [False, False]
    made.ngrams.table.assign(tf.zeros_like(made.ngrams.table))
    made.pool.bias.assign(np.ones(8, np.float32))  # which is all that comes through
    explanation = explain(made, ["red shoe"])
    assert [ngram.unseen for ngram in explanation.ngrams] == [True, True]
    assert all(ngram.value for ngram in explanation.ngrams)


def test_matches_and_cut_tokens_are_told(pairs: Student) -> None:
    explanation = explain(pairs, ["red shoe", "a red hat" + " x" * 20])
    matched = {(ngram.field, ngram.text) for ngram in explanation.ngrams if ngram.matched}
    assert matched == {(0, "red"), (1, "red")}
    assert explanation.cut == (0, 11)
    best = max(explanation.soft, key=lambda pair: pair.cosine)
    assert best.texts == ("red", "red")


@pytest.mark.parametrize("exits", [True, False])
def test_with_an_early_exit_the_output_that_decided_is_explained(exits: bool) -> None:
    made = student(REVIEWS, window=2, convolutions=(1,), convolution_dim=5, early_exit=0.1)
    assert made.exit is not None
    made.exit.set_weights([np.float32(0.8), np.ones(1), np.zeros(1), np.float32(0 if exits else 1e9)])
    explanation = explain(made, ["red shoe red hat blue"], steps=512)
    cheap, full = (float(side[0, 0]) for side in made.paths([made.tokens(tf.constant(["red shoe red hat blue"]))]))
    assert explanation.exits is exits
    assert explanation.logit == pytest.approx(0.8 * cheap + 1 if exits else full, abs=1e-5)
    assert abs(explanation.gap) < 0.02 * max(1.0, abs(explanation.logit - explanation.baseline))
    (note,) = view(REVIEWS, Calibration(), explanation).notes
    assert note == "decided by the " + ("early exit" if exits else "convolutions: the early exit was unsure")


def test_a_query_is_explained_as_it_is_read() -> None:
    made = strong_student(PAIR, replace(SMALL, spelling=True))
    typed, right = (explain(made, [query, "battrey pack"]) for query in ("Battrey red battrey", "battery red battery"))
    assert typed.tokens == (("battery", "red", "battery"), ("battrey", "pack"))
    assert typed.typed(0) == ["battrey", "red", "battrey"]
    assert [span.text for span in spans("Battrey red", typed.typed(0), [0.1, 0.2, 0.3])] == ["Battrey", " ", "red"]
    assert typed.logit == right.logit
    assert typed.ngrams == right.ngrams
    notes = [view(PAIR, Calibration(1.0, (0.0,)), found).notes for found in (typed, right)]
    assert set(notes[0]) - set(notes[1]) == {'query: "battrey" is read as "battery"'}
