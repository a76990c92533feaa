"""Explains a title on demand: what moved the ranker's score, and what the teacher thinks.

Two ways lead to the n-grams, and to the words that they are made of. Where the student's weights are at hand, integrated
gradients give each n-gram its share of the logit (`tfb2d.explain`). An exported model alone, or a server, is asked again
with each word left out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tfb2d.data.task import Task
from tfb2d.errors import UserError
from tfb2d.explain.leave_one_out import Rank, leave_one_out
from tfb2d.explain.spans import Span, spans
from tfb2d.probability import probabilities
from tfb2d.teachers.saved import read_about

if TYPE_CHECKING:
    from tfb2d.explain.source import Source
    from tfb2d.teachers.teacher import Teacher

GRADIENTS, LEFT_OUT = "integrated gradients", "each word left out"
STEPS = 64  # of the integral: the gap is far below what a page shows
TOLERANCE = 0.02  # between the student's score and the served one, whose tables may be int8
NGRAMS = 12  # listed of a pair, those that moved the score most
_LOG = logging.getLogger("tfb2d.search")


@dataclass(frozen=True)
class NGramShare:
    """An n-gram, or a query word and a title word that match softly, and what it adds to the logit."""

    text: str
    value: float
    about: str


@dataclass(frozen=True)
class Moved:
    """Holds what moved the score of a pair."""

    score: float  # the ranker's, from 0 to 1
    # query, title: the texts, cut into words and what is between them
    query: tuple[Span, ...]
    title: tuple[Span, ...]
    ngrams: tuple[NGramShare, ...]  # the largest contributions first; none where words were left out
    method: str  # `GRADIENTS` or `LEFT_OUT`


class Explainer:
    """Explains the scores of a ranker; the student's weights are looked for and loaded at the first call.

    `rank` asks the ranker. `model` is its exported folder, whose run is looked for as `tfb2d explain` does; "" where a
    server ranks. `student` is the student's folder or its run's, where it cannot be found from `model`.
    """

    def __init__(self, rank: Rank, model: str = "", student: str = "") -> None:
        self._rank, self._model, self._student = rank, model, student
        self._lock = Lock()
        self._source: Source | None = None
        self._looked = False

    def explain(self, query: str, titles: Sequence[str]) -> list[Moved]:
        """Explains the scores of titles for one query; any texts will do."""
        query, titles = _clean(query), [_clean(title) for title in titles]
        source = self._find(query, titles)
        if source is None:
            return [self._by_leaving_out(query, title) for title in titles]
        return [_by_gradients(source, query, title) for title in titles]

    def _find(self, query: str, titles: Sequence[str]) -> "Source | None":
        with self._lock:
            if not self._looked and titles and (self._model or self._student):
                try:
                    self._source = self._load(query, titles[0])
                except UserError as error:
                    _LOG.warning("explanations leave out each word: %s", error)
                self._looked = True
            return self._source

    def _load(self, query: str, title: str) -> "Source":
        """Finds the student; raises UserError where there is none, or where it is not the one that ranks."""
        from tfb2d.explain.contributions import explain
        from tfb2d.explain.source import find

        source = find(self._model or self._student, self._student if self._model else "")
        if len(source.student.task.fields) != 2:
            raise UserError(f"{source.folder} takes single texts, so it is not the student of a ranker")
        logits = explain(source.student, (query, title), steps=1).logits
        own, served = float(source.calibration.apply(logits)[0]), float(self._rank(query, [title])[0])
        if abs(own - served) > TOLERANCE:
            raise UserError(
                f"{source.folder} scores {own:.3f} where the ranker scores {served:.3f}: it is another student"
            )
        return source

    def _by_leaving_out(self, query: str, title: str) -> Moved:
        score, tokens, values = leave_one_out(self._rank, query, title)
        cut = [spans(*side) for side in zip((query, title), tokens, values, strict=True)]
        return Moved(score, cut[0], cut[1], (), LEFT_OUT)


class TeacherOnDemand:
    """A saved teacher's scores of single titles: it is slow, so it looks only at what somebody asks it about.

    It is loaded at its first question, which takes some seconds, and answers one at a time. Raises ConfigError where
    the folder holds no teacher; UserError where the teacher takes single texts.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        task = Task.from_json(read_about(self.folder)["task"])
        if len(task.fields) != 2 or task.n_logits != 1:
            fields = ", ".join(task.fields)
            raise UserError(f"{folder} reads {fields}: a teacher that scores search takes query and title")
        self._lock = Lock()
        self._teacher: Teacher | None = None

    def score(self, query: str, titles: Sequence[str]) -> list[float]:
        """Returns the teacher's probability (or grade) for each title, uncalibrated, from 0 to 1."""
        with self._lock:
            if self._teacher is None:
                from tfb2d.teachers.teacher import load_teacher

                self._teacher = load_teacher(self.folder)
            logits = self._teacher.logits([[query] * len(titles), list(titles)])
        return [float(score) for score in probabilities(logits)]


def _by_gradients(source: "Source", query: str, title: str) -> Moved:
    from tfb2d.explain.contributions import explain
    from tfb2d.explain.views import view

    explanation = explain(source.student, (query, title), STEPS, calibration=source.calibration)
    shown = view(source.student.task, source.calibration, explanation)
    cut = [
        # Words are marked where they were typed, whatever they are read as.
        spans(text, explanation.typed(field), [value for _, value in words])
        for field, (text, (_, words)) in enumerate(zip((query, title), shown.fields, strict=True))
    ]
    parts = sorted((*shown.parts, *shown.soft), key=lambda part: -abs(part.value))[:NGRAMS]
    ngrams = tuple(NGramShare(part.text, part.value, part.about) for part in parts)
    return Moved(shown.probability, cut[0], cut[1], ngrams, GRADIENTS)


def _clean(text: str) -> str:
    """Replaces lone surrogates, which no model reads."""
    return text.encode("utf-8", "replace").decode()
