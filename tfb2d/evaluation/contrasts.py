"""Contrast pairs: frequent words of the training text, plain and negated, as teacher and students score them.

"dull" beside "hardly dull" shows whether a student reads more than single words. The pairs come from the user's own
labelled text, so no word list is needed. The frames, and the words before adjectives, are English by default and are
settings (`report.negations`, `report.degrees`).

Reference: contrast sets (Gardner et al. 2020, arXiv 2004.02709) change an input a little so that its label changes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.data.indicative_words import IndicativeWords, framed
from tfb2d.evaluation.models import MODELS
from tfb2d.evaluation.scores import THRESHOLD
from tfb2d.report.page import table_row

if TYPE_CHECKING:
    from tfb2d.evaluation.run_scores import Score

ASSOCIATION = 2.0  # least z-score of a word's share of positive labels
DISTANCE = 0.25  # of a plain word's score from the base rate
CANDIDATES = 60  # words a side that are scored
WORDS = 10  # words a side that are negated
SHOWN = 5  # pairs that the report prints


def contrasts(
    texts: Sequence[str],
    labels: ArrayLike,
    score: Mapping[str, "Score"],
    frames: Sequence[str],
    degrees: Sequence[str],
) -> dict[str, Any] | None:
    """Negates words that go with one class, and scores each plain and negated.

    A word is used if it is frequent, goes with one class, often follows a word of degree, and by itself has a score
    far from the base rate, on its class's side. The first model of `score` gives that score.

    Args:
      texts, labels: `[n]`, the labelled training texts, and 0 or 1.
      score: model's key -> what scores texts; the first is the reference, the teacher where there is one.
      frames: with `{}` in the word's place, such as "not {}". Those with words that the texts lack are left out.
      degrees: words before adjectives; () takes every word.

    Returns:
      `{"reference", "frames", "words", "pairs", "turned", "alike", "shown"}`. `pairs` counts the negated texts: every word
      in every frame. `turned` has the share of them that a model decides otherwise than the plain word, by model. `alike`
      has the share that it decides as the reference does. `shown` holds SHOWN of them: `{"plain", "negated", "scores":
      {model: [of plain, of negated]}}`. None where no frame or no word is left.
    """
    indicative, reference = IndicativeWords(texts, labels), next(iter(score))
    usable = indicative.known(frames)
    sides = indicative.by_class(degrees, ASSOCIATION) if usable else ([], [])
    base = float(np.asarray(labels, np.float64).mean())
    chosen = _far_from_base(sides, base, score[reference])
    if not chosen:
        return None
    plain = [word for word in chosen for _ in usable]
    negated = list(framed(chosen, usable))
    distinct = list(dict.fromkeys([*plain, *negated]))
    scored = {}
    for key, of_texts in score.items():
        scores = dict(zip(distinct, np.asarray(of_texts([distinct]), np.float64), strict=True))
        scored[key] = np.array([[scores[text] for text in pair] for pair in zip(plain, negated, strict=True)])
    decided = {key: pairs >= THRESHOLD for key, pairs in scored.items()}
    # Word i in frame i, so that every frame is shown once; words come from both sides by turns.
    rows = [i * len(usable) + i % len(usable) for i in range(min(SHOWN, len(chosen)))]
    return {
        "reference": reference,
        "frames": usable,
        "words": chosen,
        "pairs": len(plain),
        "turned": {key: float((yes[:, 0] != yes[:, 1]).mean()) for key, yes in decided.items()},
        "alike": {
            key: float((yes[:, 1] == decided[reference][:, 1]).mean())
            for key, yes in decided.items()
            if key != reference
        },
        "shown": [
            {
                "plain": plain[row],
                "negated": negated[row],
                "scores": {key: pairs[row].tolist() for key, pairs in scored.items()},
            }
            for row in rows
        ],
    }


def _far_from_base(sides: tuple[list[str], list[str]], base: float, score: "Score") -> list[str]:
    """Returns up to WORDS words a side whose own score is far from the base rate, sides by turns."""
    sides = sides[0][:CANDIDATES], sides[1][:CANDIDATES]
    known = [*sides[0], *sides[1]]
    if not known:
        return []
    scores = dict(zip(known, np.asarray(score([known]), np.float64), strict=True))
    low = [word for word in sides[0] if scores[word] <= min(base - DISTANCE, THRESHOLD)][:WORDS]
    high = [word for word in sides[1] if scores[word] >= max(base + DISTANCE, THRESHOLD)][:WORDS]
    turns = list(zip(high, low, strict=False))
    longer = max(high, low, key=len)[len(turns) :]
    return [word for pair in turns for word in pair] + longer


def contrast_table(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the pairs that are shown as a table: a row each, a column each model."""
    keys = list(measured["turned"])
    rows = []
    for pair in measured["shown"]:
        scores = [" → ".join(f"{score:.2f}" for score in pair["scores"][key]) for key in keys]
        rows.append(table_row([(text, "") for text in (f"{pair['plain']} → {pair['negated']}", *scores)]))
    return {"titles": ["plain → negated", *(MODELS[key] for key in keys)], "rows": rows}


def contrast_note(measured: Mapping[str, Any]) -> str:
    """Says how many negated words each model turns, and how often it decides them as the teacher does."""
    turned = ", ".join(
        f"the {MODELS[key]} turns {_count(measured, share)}" for key, share in measured["turned"].items()
    )
    alike = "".join(
        f"; the {MODELS[key]} decides {_count(measured, share)} of them as the {MODELS[measured['reference']]} does"
        for key, share in measured["alike"].items()
    )
    return (
        f"{len(measured['words'])} frequent words of the training text in {len(measured['frames'])} frames make "
        f"{measured['pairs']} negated texts. Of these, {turned}{alike}. The frames are a setting (report.negations)."
    )


def contrast_line(measured: Mapping[str, Any], key: str) -> str:
    """Says the same of one distilled model in a line."""
    reference = measured["reference"]
    line = f"turns {_count(measured, measured['turned'][key])} of {measured['pairs']} negated words"
    if key == reference:
        return line
    alike = _count(measured, measured["alike"][key])
    return f"{line}, the teacher {_count(measured, measured['turned'][reference])}; decides {alike} as the teacher"


def _count(measured: Mapping[str, Any], share: float) -> int:
    return round(share * measured["pairs"])
