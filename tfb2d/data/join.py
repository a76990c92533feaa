"""Joins scores to rows by their texts.

Texts match exactly, or else loosely: up to spaces, case, HTML escapes and Unicode form.
"""

import dataclasses
import difflib
import html
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from absl import logging
from numpy.typing import NDArray

from tfb2d.data.files import expand
from tfb2d.data.keys import HashSet, look_up, text_hashes
from tfb2d.data.readers import AS_USUAL, Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.scores import check_rejected, read_scores
from tfb2d.data.task import Task
from tfb2d.errors import DataError, counted

LEAST_SHARE = 0.5  # of the smaller side (rows, or scored texts) must match
SAMPLE = 200  # scored texts among which the message's examples are looked for
SHOWN = 2  # examples
EXCERPT = 80  # characters of a text in the message
Flags = NDArray[np.bool_]


@dataclass
class Matches:
    """Counts the rows that have a score, by the rule that matched them, and those that have none."""

    exact: int = 0  # rows whose exact texts were scored
    loose: int = 0  # rows that match a scored text loosely
    ambiguous: int = 0  # rows without a score because they match several scored texts loosely
    missing: int = 0  # the other rows without a score, those among them whose score is blank
    unused: int = 0  # scored texts that match no row
    rejected: int = 0  # score rows that cannot be used

    def plus(self, other: "Matches") -> "Matches":
        """Adds the rows of another table that was joined to the same scores."""
        names = ("exact", "loose", "ambiguous", "missing")
        return dataclasses.replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        rows = self.exact + self.loose + self.ambiguous + self.missing
        text = f"{self.exact + self.loose:,} of {rows:,} rows have a score, {self.exact:,} by exactly their text"
        if self.loose:
            text += f", {self.loose:,} up to spaces, case, HTML escapes and Unicode form"
        if self.ambiguous:
            text += f"; without one, like several scored texts in that way: {self.ambiguous:,}"
        return text + (f"; {counted(self.rejected, 'score row')} rejected" if self.rejected else "")


@dataclass
class ScoreTable:
    """Holds the logits of scored texts, in which rows are looked up.

    A text that was scored more than once has the mean of its logits. Memory: 16 bytes a scored text for its two hashes,
    and 4 a logit. `used`, bool [texts], says which scored texts matched a row. Raises DataError for a file that cannot
    be used, too many bad rows, or no rows at all.
    """

    task: Task  # what was scored
    files: Sequence[str | Path]  # paths, globs, folders
    column: str = ""  # see `scores.score_columns`
    reading: Reading = AS_USUAL
    rejects: Rejects = field(init=False)  # score rows that cannot be used

    def __post_init__(self) -> None:
        self.rejects = Rejects(None, self.reading.max_rejected)
        exact, loose, logits, rows = [], [], [], 0
        self.sample: list[tuple[str, ...]] = []
        for path in expand(self.files):
            for part in read_scores(path, self.task, self.rejects, self.column, self.reading):
                rows += len(part.texts)
                known = np.isfinite(part.logits).all(1)
                texts = [part.texts[row] for row in np.flatnonzero(known)]
                self.sample += texts[: SAMPLE - len(self.sample)]
                exact.append(text_hashes(texts))
                loose.append(text_hashes(map(loose_texts, texts)))
                logits.append(part.logits[known])
        check_rejected(self.rejects, rows + self.rejects.count, self.task)
        if not rows:
            raise DataError(f"{', '.join(map(str, self.files))}: no rows")
        self._fill(np.concatenate(exact), np.concatenate(loose), np.concatenate(logits))
        self.used = np.zeros(len(self.exact), bool)
        self._unmatched: list[tuple[str, ...]] = []
        self._several_like: list[tuple[str, ...]] = []
        self._seen = HashSet()
        self._matched = self._ambiguous = 0

    def _fill(self, exact: NDArray[np.uint64], loose: NDArray[np.uint64], logits: NDArray[np.float64]) -> None:
        self.exact, first, index, counts = np.unique(exact, return_index=True, return_inverse=True, return_counts=True)
        sums = np.zeros((len(self.exact), self.task.n_logits))
        np.add.at(sums, index, logits)
        self.logits = (sums / counts[:, None]).astype(np.float32)
        # Where several scored texts have the same loose form, none of them is sure to be a row's.
        self.loose, self._text_of, times = np.unique(loose[first], return_index=True, return_counts=True)
        self._several = times > 1

    def find(self, columns: Sequence[Sequence[str]]) -> tuple[NDArray[np.float32], Matches]:
        """Looks up rows, given as n texts per field, in the task's order.

        Returns logits, float32 [n, k], NaN where a row has none; and how many of these rows matched.
        """
        rows = list(zip(*columns, strict=True))
        logits = np.full((len(rows), self.task.n_logits), np.nan, np.float32)
        matches = Matches(rejected=self.rejects.count)
        if not rows:
            return logits, matches
        hashes = text_hashes(rows)
        texts, exact = look_up(hashes, self.exact)  # indices of scored texts
        others = np.flatnonzero(~exact)
        forms, alike = look_up(text_hashes(loose_texts(rows[i]) for i in others), self.loose)
        clear = alike.copy()
        clear[alike] = ~self._several[forms[alike]]
        texts[others[clear]] = self._text_of[forms[clear]]
        scored = exact.copy()
        scored[others[clear]] = True
        logits[scored] = self.logits[texts[scored]]
        self.used[texts[scored]] = True
        matches.exact, matches.loose = int(exact.sum()), int(clear.sum())
        ambiguous = np.zeros(len(rows), bool)
        ambiguous[others[alike & ~clear]] = True
        matches.ambiguous = int(ambiguous.sum())
        matches.missing = len(rows) - matches.exact - matches.loose - matches.ambiguous
        self._remember(rows, hashes, scored, ambiguous)
        return logits, matches

    def _remember(
        self, rows: list[tuple[str, ...]], hashes: NDArray[np.uint64], scored: Flags, ambiguous: Flags
    ) -> None:
        """Keeps what `check` needs: how many different texts there were, matched and are ambiguous, and examples."""
        new = self._seen.add(hashes)
        self._matched += int((new & scored).sum())
        self._ambiguous += int((new & ambiguous).sum())
        for examples, kind in ((self._unmatched, ~scored & ~ambiguous), (self._several_like, ambiguous)):
            for row in np.flatnonzero(new & kind)[: SHOWN - len(examples)]:
                examples.append(rows[row])

    def check(self) -> None:
        """Stops where the files seem to hold scores of other rows.

        Raises DataError where less than LEAST_SHARE of the smaller side matches. The message shows rows beside the scored
        texts that are most like them, and says which rows are ambiguous.
        """
        smaller = min(len(self._seen), len(self.exact))
        if not len(self._seen) or (smaller and self._matched >= LEAST_SHARE * smaller):
            return
        names = ", ".join(map(str, self.files))
        if not smaller:
            raise DataError(f"{names}: no row has a score")
        message = (
            f"{names}: scores match {self._matched:,} of {len(self._seen):,} different texts of the data, "
            f"from {len(self.exact):,} scored ones."
        )
        if self._ambiguous:
            like = "; ".join(self._like(row) for row in self._several_like)
            message += (
                f" Ambiguous: {self._ambiguous:,}, each like several scored texts up to spaces, case, HTML escapes "
                f"and Unicode form, but the same as none. Score the data's exact texts. For example: {like}."
            )
        if self._unmatched:
            rule = "Texts must be the same up to spaces, case, HTML escapes and Unicode form."
            message += f" {rule} {self.side_by_side()}"
        raise DataError(message)

    def side_by_side(self) -> str:
        """Returns up to two rows without a score beside the scored texts that are most like them; "" if there are none."""
        if not (self._unmatched and self.sample):
            return ""
        near = ((_shown(_nearest(row, self.sample)), _shown(row)) for row in self._unmatched)
        return "For example: " + "; ".join(f"score row {scored}, data row {row}" for scored, row in near)

    def _like(self, row: tuple[str, ...]) -> str:
        """Returns an ambiguous row and the scored texts like it, as far as the sample holds them."""
        form = loose_texts(row)
        scored = list(dict.fromkeys(_shown(texts) for texts in self.sample if loose_texts(texts) == form))
        return ", ".join([f"data row {_shown(row)}", *(f"score row {text}" for text in scored[:SHOWN])])


def join_scores(
    task: Task,
    files: Sequence[str | Path],
    columns: Sequence[Sequence[str]],
    column: str = "",
    reading: Reading = AS_USUAL,
) -> tuple[NDArray[np.float32], Matches]:
    """Looks up the logits of rows that are held in memory; see `ScoreTable`, its `find` and its `check`."""
    table = ScoreTable(task, files, column, reading)
    logits, matches = table.find(columns)
    matches.unused = int((~table.used).sum())
    table.check()
    log_matches(files, matches, table.rejects.reasons)
    return logits, matches


def log_matches(files: Sequence[str | Path], matches: Matches, reasons: Counter[str], where: str = "") -> None:
    """Logs how many rows, of the table `where`, have a score, and why score rows were rejected."""
    why = ": " + ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) if reasons else ""
    logging.info("%s: %s%s%s", ", ".join(map(str, files)), f"{where}: " if where else "", matches, why)


def loose_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns a row's texts in one form for all that match loosely: a scorer may change spaces, case and the like."""
    return tuple(map(_loose, texts))


def _loose(text: str) -> str:
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(text.lower().split())


def _nearest(row: tuple[str, ...], scored: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the scored texts whose first characters are most like a row's."""
    forms = {_beginning(texts): texts for texts in scored}
    return forms[difflib.get_close_matches(_beginning(row), forms, 1, 0.0)[0]]


def _beginning(texts: tuple[str, ...]) -> str:
    return " ".join(_loose(text[:EXCERPT]) for text in texts)


def _shown(texts: tuple[str, ...]) -> str:
    return " | ".join(repr(text[:EXCERPT]) for text in texts)
