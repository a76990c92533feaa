"""Holds what a search answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfb2d.errors import UserError

REPAIR = "the `tfb2d search build` that made the index mends it from the catalogue"


class SearchError(UserError, RuntimeError):
    """An index that cannot be searched, or a search that nothing could answer; the message says what would do."""


@dataclass(frozen=True)
class Hit:
    """A title that a search found.

    Attributes:
      id, title: the catalogue's.
      score: of the last stage that ran; larger is better, and only hits of one answer can be compared.
      stages: by stage (`bm25`, `twin`, `fuse`, `rank`) the hit's rank, counted from 1, and that stage's own score. A leg
        that did not find the title is not there; neither is `rank` for titles beyond the ranked ones.
    """

    id: str
    title: str
    score: float
    stages: Mapping[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The hits of a query, best first.

    Attributes:
      query: as it was searched for, which may be shorter than what was asked.
      hits: best first.
      milliseconds: by stage: `embed`, `twin`, `bm25`, `fuse`, `rank`, `total`; only stages that ran.
      notes: sentences about what the user should know: a leg that did not answer, a query that was cut.
    """

    query: str
    hits: tuple[Hit, ...] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the answer in JSON's types."""
        hits = [
            {
                "id": hit.id,
                "title": hit.title,
                "score": hit.score,
                "stages": {name: {"rank": rank, "score": score} for name, (rank, score) in hit.stages.items()},
            }
            for hit in self.hits
        ]
        return {"query": self.query, "hits": hits, "milliseconds": dict(self.milliseconds), "notes": list(self.notes)}
