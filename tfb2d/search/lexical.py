"""The lexical leg: BM25 by bm25s over the words of titles; saved once, read by memory mapping.

Titles and queries are cut into the words that BM25 counts. Nothing that a shopper types is dropped.

Words of one letter, numbers and codes stay ("usb c", "5 m", "iPhone X", "4K"), and there are no stop words. Some words
are written in several ways, so these give several tokens:

    usb-c   usb, c, usbc     (so that "usb c" and "usbc" find it, too)
    64gb    64gb, 64, gb     (so that "64 gb" finds it)
    1.5     1.5              (not 1 and 5)

Case, width (NFKC) and accents of Latin letters do not count. Scripts without spaces give a token for each character.
"""

import json
import re
import shutil
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import sync
from tfb2d.best import Floats, Rows, best_rows
from tfb2d.imports import import_bm25s
from tfb2d.search.answer import REPAIR, SearchError

K1, B = 1.2, 0.75  # Lucene's defaults
_BLOCK = 64  # scores of which the maximum is taken
_ROWS = "rows.npy"
_SIZES = "sizes.json"  # written last: what a whole index holds
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)([a-z]{1,4})")
_DECIMAL = re.compile(r"\d+(?:[.,]\d+)+")
_JOINTS = "-./'&,_"  # inside of a word they join its parts


class Lexical:
    """Searches the live rows of a catalogue by BM25, from the folder of `write`; SearchError if it is not whole."""

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
        documents, best = best_rows(matches, scores[matches], k)
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


class _Plain(dict[int, str]):
    """A table for str.translate, filled on use: word characters stay (Latin ones lose accents), others become spaces."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        base = unicodedata.normalize("NFKD", char)[0]
        if base.isascii() and base.isalnum():
            plain = base
        elif _UNSPACED.match(char):
            plain = f" {char} "
        elif unicodedata.category(char)[0] in "LMN":
            plain = "" if 0x300 <= code < 0x370 else char  # accents that NFKC could not join
        else:
            plain = char if char in _JOINTS or char in "+#" else " "
        self[code] = plain
        return plain


_PLAIN = _Plain()


def words(text: str) -> list[str]:
    """Returns a text's tokens, in order, repeated ones included; [] for a text without letters and numbers."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN)
    return [token for word in folded.split() for token in _tokens(word)]


@lru_cache(2**16)
def _tokens(word: str) -> tuple[str, ...]:
    """Returns the tokens of a text between two spaces."""
    word = word.strip(_JOINTS).lstrip("+")
    name = word.rstrip("+#")  # C++, C#
    if not any(char.isalnum() for char in name):
        return ()
    if name != word and len(name) <= 2:
        return (word, name)
    word = name.lstrip("#")
    if _DECIMAL.fullmatch(word):
        return (word.replace(",", "."),)
    parts = [part for part in re.split(rf"[{re.escape(_JOINTS)}+#]+", word) if part]
    if any(_DECIMAL.fullmatch(part) for part in re.findall(r"[\d.,]+", word)):
        parts = [part for part in re.split(r"(?<!\d)[.,]|[.,](?!\d)|[-/'&_+#]+", word) if part]
    tokens = [token for part in parts for token in _with_unit(part)]
    return (*tokens, "".join(parts)) if len(parts) > 1 else tuple(tokens)


def _with_unit(part: str) -> tuple[str, ...]:
    match = _NUMBER_UNIT.fullmatch(part)
    return (part, match[1], match[2]) if match else (part,)
