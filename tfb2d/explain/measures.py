"""Measures of a row that may explain why a student of n-grams scores it otherwise than its teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.errors import RunError
from tfb2d.explain.nearest import row_orders
from tfb2d.runs import Run
from tfb2d.students import ngrams, text_spec

if TYPE_CHECKING:
    from tfb2d.students.model import Student

NEGATIONS = frozenset(
    b"not no never nor neither none nothing nobody nowhere without hardly barely scarcely cannot t".split()
)
SHORT = frozenset(b"t".split())  # `don't` is don ' t to the student: its last token counts after an apostrophe alone


@dataclass(frozen=True)
class Measure:
    """Holds a measure's title and number format; `low` says that small values are suspicious, not large ones."""

    title: str
    form: str
    low: bool = False

    def describe(self, value: float, usual: float) -> str:
        """Formats a row's value beside the median of the rows on which teacher and student agree."""
        return f"{self.title} {value:{self.form}} (where they agree: {usual:{self.form}})"


MEASURES = {
    "unseen": Measure("n-grams unseen in the transfer set", ".0%"),
    "rare": Measure("n-grams seen fewer than five times there", ".0%"),
    "collided": Measure("n-grams whose row belongs mostly to others", ".0%"),
    "negations": Measure("negations (English)", ".0f"),
    "tokens": Measure("tokens", ".0f"),
    "cut": Measure("tokens beyond max_tokens", ".0f"),
    "margin": Measure("the teacher's margin", ".3f", low=True),
    "unmatched_query": Measure("query n-grams that the title lacks", ".0%"),
}


@dataclass(frozen=True)
class Seen:
    """Counts of n-grams in the transfer set: by key for those of some rows, by table row for all."""

    keys: np.ndarray  # rising, `[n]` int64
    counts: np.ndarray  # `[n]` occurrences of each key
    rows: np.ndarray  # `[buckets]` occurrences in each row of the table
    rows_of: Callable[[np.ndarray], np.ndarray]  # from keys to rows

    def of(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts how often keys occur, and how often any n-gram occurs in their rows; both int64 of the shape of `keys`."""
        own = self.counts[np.searchsorted(self.keys, keys)] if len(self.keys) else np.zeros(keys.shape, np.int64)
        return own, self.rows[self.rows_of(keys)]


def seen_in_transfer(student: "Student", columns: Sequence[Sequence[str]], run: Run) -> Seen:
    """Counts how often some rows' n-grams occur in a run's transfer set, and all occurrences in each row of the table.

    Raises RunError where the run's stage `rows` is not finished, or was made for another student.
    """
    from tfb2d.students.rows import HashedRows

    run.finished_record("rows")
    hashed, config = HashedRows(run.rows("transfer")), student.config
    if (hashed.max_tokens, hashed.affixes) != (config.max_tokens, config.affixes):
        raise RunError(
            f"{hashed.folder} has {hashed.max_tokens} tokens of a text and affixes {hashed.affixes}, the student reads "
            f"{config.max_tokens} and {config.affixes}; tfb2d train brings the run up to date"
        )
    orders = row_orders(student)
    parts = [ngrams_of(student, text, field).ravel() for field, column in enumerate(columns) for text in column]
    keys = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
    counts, rows = np.zeros(len(keys), np.int64), np.zeros(student.config.buckets, np.int64)
    for hashes, splits in ngrams.chunks(hashed):
        seen = text_spec.ngram_keys(hashes, orders, splits).ravel()
        rows += np.bincount(student.ngrams.rows_of(seen), minlength=len(rows))
        position = np.searchsorted(keys, seen)
        position[position == len(keys)] = 0
        if len(keys):
            counts += np.bincount(position[keys[position] == seen], minlength=len(keys))
    return Seen(keys, counts, rows, student.ngrams.rows_of)


def ngrams_of(student: "Student", text: str, field: int) -> np.ndarray:
    """Returns the keys of the n-grams of a field's text as the student reads them, `[tokens, orders]` int64."""
    hashes = [text_spec.token_hash(word, student.config.affixes) for word in student.tokens_read(text, field)]
    return text_spec.ngram_keys(np.array(hashes, np.int64), row_orders(student))


def measures(
    student: "Student", columns: Sequence[Sequence[str]], teacher: np.ndarray, seen: Seen | None
) -> dict[str, np.ndarray]:
    """Measures all rows; returns `[n]` float64 by the names of MEASURES.

    `columns` are texts, one sequence a field; `teacher` are its probabilities, `[n]` or `[n, k]`. `seen` says how often the
    rows' n-grams occur in the transfer set; None leaves the measures that need it out.
    """
    n, most = len(columns[0]), student.config.max_tokens
    names = ["unseen", "rare", "collided"] * (seen is not None) + ["negations", "tokens", "cut", "margin"]
    measured = {name: np.zeros(n) for name in names + ["unmatched_query"] * (len(columns) == 2)}
    for at, texts in enumerate(zip(*columns, strict=True)):
        tokens = [text_spec.tokens(text, 2**31 - 1) for text in texts]
        measured["tokens"][at] = sum(map(len, tokens))
        measured["cut"][at] = sum(max(len(text) - most, 0) for text in tokens)
        measured["negations"][at] = sum(map(negations, tokens))
        keys = [ngrams_of(student, text, field) for field, text in enumerate(texts)]
        if seen is not None and (flat := np.concatenate([field.ravel() for field in keys])).size:
            own, row = seen.of(flat)
            measured["unseen"][at] = np.mean(own == 0)
            measured["rare"][at] = np.mean(own < 5)
            measured["collided"][at] = np.mean(row > 2 * own)
        if len(texts) == 2 and keys[0].size:
            measured["unmatched_query"][at] = 1 - np.isin(keys[0], keys[1]).mean()
    if teacher.ndim == 1:
        measured["margin"] = 2 * np.abs(teacher - 0.5)
    else:
        best = np.sort(teacher, axis=1)
        measured["margin"] = best[:, -1] - best[:, -2]
    return measured


def negations(tokens: Sequence[bytes]) -> int:
    """Counts the English negations among a text's tokens."""
    before = [b"", *tokens[:-1]]
    return sum(
        token in NEGATIONS and (token not in SHORT or last == b"'") for token, last in zip(tokens, before, strict=True)
    )
