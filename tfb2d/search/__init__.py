"""Search over a catalogue: a twin and BM25 retrieve titles, a student ranks them, one call does both.

    from tfb2d.search import Searcher

    with Searcher.open("index", ranker="saved_models/shop") as searcher:
        for hit in searcher.search("usb-c cable 2 m").hits:
            print(hit.score, hit.id, hit.title)

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING

from tfb2d.imports import late

if TYPE_CHECKING:
    from tfb2d.search.answer import Answer as Answer
    from tfb2d.search.answer import Hit as Hit
    from tfb2d.search.searcher import Searcher as Searcher

_HOMES = {"Answer": "answer", "Hit": "answer", "Searcher": "searcher"}
__all__ = sorted(_HOMES)

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = late(__name__, _HOMES)
