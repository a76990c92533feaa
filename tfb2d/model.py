"""An exported student in this process: strings in, scores out. Imports TensorFlow when a model is loaded, not before."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tfb2d.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tfb2d.evaluation.scorer import Scorer


class Model:
    """A student or twin that tfb2d exported; `tfb2d.load` makes one.

    Attributes:
      folder: the version's folder.
      fields: names of the text fields, in order: one, or query and title.
      classes: names of the classes; of two the second is the positive one; () where labels are numbers.
    """

    def __init__(self, scorer: "Scorer") -> None:
        self._scorer = scorer
        self.folder: Path = scorer.folder
        self.fields: tuple[str, ...] = tuple(scorer.task.fields)
        self.classes: tuple[str, ...] = tuple(scorer.task.classes)

    def __repr__(self) -> str:
        return f"<tfb2d.Model {self.folder}: {', '.join(self.fields)}>"

    def score(self, rows: Sequence[str] | Sequence[tuple[str, str]]) -> "NDArray[np.float32]":
        """Returns calibrated probabilities.

        Args:
          rows: a text a row, or a (query, title) pair a row where the model has two fields.

        Returns:
          `[n]`: the probability of the positive class, or the grade. `[n, k]` where the model has k > 2 classes.

        Raises:
          TypeError: one string instead of a list, or rows that are no texts.
          ValueError: rows with another number of texts than the model has fields.
        """
        return self._scorer.score(self._columns(rows))[0]

    def logits(self, rows: Sequence[str] | Sequence[tuple[str, str]]) -> "NDArray[np.float32]":
        """Returns raw logits, before calibration; arguments and shape as of `score`."""
        return self._scorer.score(self._columns(rows))[1]

    def rank(self, query: str, titles: Sequence[str]) -> "NDArray[np.float32]":
        """Returns the scores of titles for one query, `[n]`, in the order of `titles`.

        Raises TypeError for one string instead of a list, or a value that is no text; UserError where the model takes
        single texts.
        """
        if len(self.fields) != 2:
            raise UserError(f"{self.folder} takes {self.fields[0]} alone; only models of query and title rank")
        if isinstance(titles, str):
            raise TypeError("titles is one string; it takes a list of them")
        self._check([query], "query")
        self._check(titles, "title")
        return self._scorer.rank(query, titles)

    def embed(self, texts: Sequence[str], signature: str = "embed") -> "NDArray[np.float32]":
        """Returns the vectors of texts, `[n, dim]`, from a model that has towers.

        Args:
          texts: n texts.
          signature: the tower's, as of `Client.embed`.

        Raises:
          TypeError: one string instead of a list, or a value that is no text.
          UserError: the model has no such signature.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("texts is one string; it takes a list of them")
        self._check(texts, "text")
        return self._scorer.embed(texts, signature)

    def embed_query(self, queries: Sequence[str]) -> "NDArray[np.float32]":
        """Returns a twin's vectors of queries, `[n, dim]`, of length 1; raises UserError where it is a student."""
        return self.embed(queries, "embed_query")

    def embed_title(self, titles: Sequence[str]) -> "NDArray[np.float32]":
        """Returns a twin's vectors of titles, as `embed_query` those of queries."""
        return self.embed(titles, "embed_title")

    def _columns(self, rows: Sequence[str] | Sequence[tuple[str, str]]) -> list[list[str]]:
        if isinstance(rows, str | bytes):
            raise TypeError("rows is one string; it takes a list of rows")
        if len(self.fields) == 1:
            texts = [row[0] if isinstance(row, tuple | list) and len(row) == 1 else row for row in rows]
            self._check(texts, "row")
            return [cast(list[str], texts)]
        for number, row in enumerate(rows):
            whole = hasattr(row, "__len__") and not isinstance(row, str) and len(row) == len(self.fields)
            if not whole or not all(isinstance(text, str) for text in row):
                raise ValueError(f"row {number} is {row!r}; {self.folder} takes ({', '.join(self.fields)}) a row")
        return [[row[field] for row in rows] for field in range(len(self.fields))]

    def _check(self, texts: Sequence[object], what: str) -> None:
        """Refuses what is no text; a missing value of a table (None, NaN) is none."""
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"{what} {number} is {text!r}; {self.folder} takes texts")


def load(folder: str | Path) -> Model:
    """Loads a student or twin that tfb2d exported, in a few seconds, most of them TensorFlow's start.

    Args:
      folder: a version's folder, or a model's, of which the highest version is taken.

    Raises:
      DataError: there is no such model.

    Example:
      >>> tfb2d.load("saved_models/quickstart").score(["a fine film", "two hours lost"])
    """
    from tfb2d.cli.terminal import without_chatter
    from tfb2d.evaluation.scorer import Scorer

    with without_chatter():
        return Model(Scorer(folder))
