"""The lexical leg: BM25 by bm25s over the words of titles; saved once, read by memory mapping."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import sync
from tfb2d.imports import import_bm25s
from tfb2d.search.answer import REPAIR, SearchError
from tfb2d.search.fusion import Floats, Rows, ordered
from tfb2d.search.words import words

K1, B = 1.2, 0.75  # Lucene's defaults
_BLOCK = 64  # scores of which the maximum is taken
_ROWS = "rows.npy"
_SIZES = "sizes.json"  # written last: what a whole index holds


class Lexical:
    """BM25 over the live rows of a catalogue, read from the folder that `write` wrote.

    Raises:
      SearchError: it is not whole.
    """

    def __init__(self, folder: Path) -> None:
        bm25s = import_bm25s()
        try:
            for name, size in json.loads((folder / _SIZES).read_bytes()).items():
                if (actual := (folder / name).stat().st_size) != size:
                    raise ValueError(f"{name} has {actual:,} bytes instead of {size:,}")
            self._rows: NDArray[np.int64] = np.load(folder / _ROWS, mmap_mode="r")
            self._bm25 = bm25s.BM25.load(folder, mmap=True) if len(self._rows) else None
        except (OSError, ValueError, KeyError) as error:
            raise SearchError(f"{folder}: this BM25 index is not whole ({error}); {REPAIR}") from error

    def search(self, query: str, k: int) -> tuple[Rows, Floats]:
        """Returns at most k rows and their scores, best first; only rows that hold a word of the query.

        bm25s gives any query k documents, if need be with the score 0. Those hold none of its words and are left out.
        """
        tokens = words(query)
        # Asked first: bm25s raises IndexError for a query without tokens.
        if not tokens or self._bm25 is None:
            return np.zeros(0, np.int64), np.zeros(0)
        scores = self._bm25.get_scores(tokens)
        matches = contenders(scores, k)
        documents, best = ordered(matches, scores[matches], k)
        return np.asarray(self._rows[documents], np.int64), best


def contenders(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Returns the places of scores above 0 among which the k best are; of a million scores few are left to be sorted.

    The k-th best of the blocks' maxima is a score that at least k places reach, so whatever is below cannot be among them.
    """
    least = 0.0
    if len(scores) > _BLOCK * k:
        whole = scores[: len(scores) // _BLOCK * _BLOCK].reshape(_BLOCK, -1).max(axis=0)  # the faster axis
        least = float(np.partition(whole, len(whole) - k)[len(whole) - k])
    return np.flatnonzero(scores >= least if least > 0 else scores > 0)


def write(folder: Path, titles: Iterable[tuple[int, str]]) -> None:
    """Indexes row and title of each live row, by rising row, into a folder, which is replaced when the new one is whole."""
    bm25s = import_bm25s()
    vocabulary: dict[str, int] = {}
    rows: list[int] = []
    documents: list[NDArray[np.int32]] = []
    for row, title in titles:
        rows.append(row)
        ids = [vocabulary.setdefault(word, len(vocabulary)) for word in words(title)]
        documents.append(np.array(ids, np.int32))
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    # bm25s fails on a corpus without a single word: such titles are no documents here.
    np.save(temporary / _ROWS, np.array(rows if vocabulary else [], np.int64))
    if vocabulary:
        bm25 = bm25s.BM25(method="lucene", k1=K1, b=B)
        bm25.index(
            bm25s.tokenization.Tokenized(ids=documents, vocab=vocabulary), create_empty_token=False, show_progress=False
        )
        bm25.save(temporary, show_progress=False)
    sizes = {path.name: path.stat().st_size for path in temporary.iterdir()}
    (temporary / _SIZES).write_text(json.dumps(sizes))
    for path in temporary.iterdir():
        sync(path)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    sync(folder.parent)
