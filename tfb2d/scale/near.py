"""Says which texts are near: the same numbers and signs, and nearly the same words, field by field.

MinHash finds the candidates (Broder 1997; datasketch computes it). Texts share a band of minima, and so become candidates,
with a chance of `1 - (1 - J^r)^b`, where J is the Jaccard similarity of their words. Each candidate is then compared word
by word, so what is called near is near. What is missed is at most MISSED of the pairs at the threshold, fewer above.

Rows meet by entries, one for each text and band, sorted by the band's key. Where very many texts are alike, each is
compared with the first LEADERS of its band. The later ones are like these, so a near one is rarely missed.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress, pairwise

import numpy as np
import pyarrow as pa

from tfb2d.data.keys import BETWEEN, hash64

MINIMA = 64  # the most that are computed of a text
LEADERS = 64  # candidates of a band that a text is compared with; bounds the work
SLICE = 32_768  # texts whose keys are made together
MISSED = 0.01  # chance to miss a pair whose similarity is the threshold
SHORT = 2  # letters of a word that is compared like a number: sizes (S, XL), model codes (X, SE), Roman numerals (II)
PAIRS = 32_768  # that are compared at once; bounds memory
SETS = pa.list_(pa.uint32())  # word hashes a text
_SCHEME = "affine32"  # of datasketch, by name: its default may change, and with it which pairs are missed
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_FIELD = 0x9E3779B1  # times a field's number, so that a word counts in its own field alone

Leaks = Callable[[Sequence[pa.ListArray], np.ndarray], np.ndarray]  # of words and `band_keys`; bool `[n]`


def bands(threshold: float) -> tuple[int, int]:
    """Returns how many bands to take of how many minima each: the most selective ones that miss at most MISSED."""
    for rows in range(MINIMA, 1, -1):
        shared = threshold**rows
        count = 1 if shared == 1 else math.ceil(math.log(MISSED) / math.log1p(-shared)) if shared else MINIMA + 1
        if count * rows <= MINIMA:
            return count, rows
    return MINIMA, 1


@lru_cache(1 << 16)
def _word(word: str) -> tuple[int, bool]:
    """Returns a word's 32-bit hash, and whether near texts must both have it."""
    exact = len(word) <= SHORT or any(unicodedata.category(character)[0] not in "LM" for character in word)
    return hash64(word) & 0xFFFFFFFF, exact


def word_sets(near_key: str) -> tuple[list[list[int]], int]:
    """Returns the words of each field as 32-bit hashes, and a hash of those that near texts must share.

    These are the short words, and those that hold anything but letters ("15", "1.5", "a515f", "c#", "%"). The key is that
    of `data.keys.both_keys`.
    """
    sets, exact = [], []
    for field in near_key.split(BETWEEN):
        words = field.split(" ") if field else []
        known = list(map(_word, words))
        sets.append([number for number, _ in known])
        exact.append(" ".join(compress(words, (whole for _, whole in known))))
    return sets, hash64(BETWEEN.join(exact))


def word_columns(near_keys: Iterable[str], fields: int) -> tuple[list[pa.ListArray], np.ndarray]:
    """Returns what `word_sets` makes of each near key: the words of all texts for each field, and uint64 `[n]`."""
    made = [word_sets(key) for key in near_keys]
    sets = [pa.array([words[field] for words, _ in made], SETS) for field in range(fields)]
    return sets, np.array([exact for _, exact in made], np.uint64)


def band_keys(sets: Sequence[pa.ListArray], exact: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the keys by which near texts find each other, uint64 `[n, bands]`.

    `sets` and `exact` are those of `word_sets`. Texts of at least the similarity `threshold` share a key with a chance
    of at least 1 - MISSED.
    """
    from datasketch import MinHash

    count, rows = bands(threshold)
    sketch = MinHash(count * rows, scheme=_SCHEME, hashfunc=int)
    minima = np.empty((len(exact), count * rows), np.uint32)
    for row, fields in enumerate(zip(*(_tagged(column, field) for field, column in enumerate(sets)), strict=True)):
        sketch.clear()
        sketch.update_batch([word for words in fields for word in words])
        minima[row] = sketch.hashvalues
    keys = exact[:, None] + np.arange(count, dtype=np.uint64)
    for column in np.moveaxis(minima.reshape(len(exact), count, rows), 2, 0):
        keys = (keys ^ column) * _FACTOR
        keys ^= keys >> np.uint64(32)
    return keys * _FACTOR


def _tagged(column: pa.ListArray, field: int) -> Iterator[list[int]]:
    """Yields the hashes of each text's field, changed by the field's number."""
    values = (column.flatten().to_numpy() + np.uint32(field * _FIELD % 2**32)).tolist()
    ends = np.cumsum(column.value_lengths().to_numpy()).tolist()
    return (values[begin:end] for begin, end in pairwise([0, *ends]))


def are_near(
    left: Sequence[pa.ListArray], i: np.ndarray, right: Sequence[pa.ListArray], j: np.ndarray, threshold: float
) -> np.ndarray:
    """Compares pairs (i, j) of texts whose exact words are the same: whether they are near, bool `[p]`.

    A text is given by its distinct word hashes in each field. `threshold` is the least Jaccard similarity in each
    field. Two blank fields are alike.
    """
    near = np.ones(len(i), bool)
    for own, other in zip(left, right, strict=True):
        a, b = own.take(pa.array(i)), other.take(pa.array(j))
        both = np.sort(np.concatenate([_numbered(a), _numbered(b)]))
        shared = np.bincount((both[1:][both[1:] == both[:-1]] >> np.uint64(32)).astype(np.int64), minlength=len(i))
        lengths = a.value_lengths().to_numpy() + b.value_lengths().to_numpy()
        near &= shared >= threshold * (lengths - shared) - 1e-9
    return near


def _numbered(column: pa.ListArray) -> np.ndarray:
    """Returns the hashes of all lists, each after the number of its list."""
    numbers = np.repeat(np.arange(len(column), dtype=np.uint64), column.value_lengths().to_numpy())
    return numbers << np.uint64(32) | column.flatten().to_numpy().astype(np.uint64)


def any_near(
    left: Sequence[pa.ListArray],
    right: Sequence[pa.ListArray],
    place: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Says which texts are near one of their first LEADERS candidates, bool `[n]`; the first near one ends the search.

    `place` `[m]` is the row of `right` by the candidate's number. `first` and `count`, `[n]`, say where a text's candidates
    begin and how many there are. The others are those of `are_near`.
    """
    matched = np.zeros(len(first), bool)
    todo = np.flatnonzero(count)
    for step in range(LEADERS):
        if not len(todo):
            break
        blocks = np.split(todo, range(PAIRS, len(todo), PAIRS))
        near = np.concatenate([are_near(left, i, right, place[first[i] + step], threshold) for i in blocks])
        matched[todo[near]] = True
        todo = todo[~near & (count[todo] > step + 1)]
    return matched


def entry_schema(sets: Sequence[str]) -> pa.Schema:
    """Returns the columns of entries: the band's key, the row's number, and its words, for each field."""
    return pa.schema([("band", pa.uint64()), ("row", pa.uint64()), *((name, SETS) for name in sets)])


def entries(
    rows: pa.RecordBatch, sets: Sequence[str], number: int, kept: np.ndarray, leaks: Leaks, threshold: float
) -> Iterator[pa.RecordBatch]:
    """Makes the entries of rows, without those that are near a held-out text, as `leaks` says.

    Rows have their words in the columns `sets` and `exact`, see `word_sets`. `number` is that of the first row that
    stays; the next ones follow. `kept`, bool `[n]`, gets False where a row is near a held-out text.

    Yields the entries of some rows, sorted by the key. Rows rise from one batch to the next.
    """
    for start in range(0, rows.num_rows, SLICE):
        some = rows.slice(start, SLICE)
        words = [some.column(name) for name in sets]
        keys = band_keys(words, some.column("exact").to_numpy(), threshold)
        stays = ~leaks(words, keys)
        kept[start : start + SLICE] = stays
        numbers = np.where(stays, number + np.cumsum(stays) - 1, 0).astype(np.uint64)
        number += int(stays.sum())
        order = np.argsort(keys, axis=None, kind="stable")
        order = order[stays[order // keys.shape[1]]]
        place = order // keys.shape[1]
        columns = [keys.ravel()[order], numbers[place], *(column.take(pa.array(place)) for column in words)]
        yield pa.record_batch(columns, schema=entry_schema(sets))


def near_rows(
    batches: Iterator[pa.RecordBatch], sets: Sequence[str], threshold: float, group_bytes: int
) -> Iterator[np.ndarray]:
    """Finds rows that are near an earlier one with the same key, among the first LEADERS with this key.

    Entries are compared in groups of about `group_bytes`. Of the groups before, a key's first LEADERS entries are kept,
    so the groups' size does not change the outcome. `batches` have all entries of some keys; rows rise from one to the
    next.

    Yields numbers of near rows, uint64 `[m]`, perhaps several times.
    """
    waiting: list[pa.RecordBatch] = []
    leaders: list[pa.RecordBatch] = []
    size, seen = 0, -1
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= group_bytes:
            near, leaders, seen = _compared([*leaders, *waiting], sets, threshold, seen)
            yield near
            waiting, size = [], 0
    if waiting:
        yield _compared([*leaders, *waiting], sets, threshold, seen)[0]


def _compared(
    batches: Sequence[pa.RecordBatch], sets: Sequence[str], threshold: float, seen: int
) -> tuple[np.ndarray, list[pa.RecordBatch], int]:
    """Returns the near rows of those after the row `seen`, the entries to keep, and the last row."""
    table = pa.Table.from_batches(batches, entry_schema(sets))
    table = table.sort_by([("band", "ascending"), ("row", "ascending")]).combine_chunks()
    keys, rows = (table[name].to_numpy() for name in ("band", "row"))
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    first = np.repeat(starts, np.diff(np.append(starts, len(keys))))
    rank = np.arange(len(keys)) - first
    count = np.where(rows.astype(np.int64) > seen, rank, 0)
    words = [table[name].chunk(0) for name in sets]
    near = any_near(words, words, np.arange(len(keys)), first, count, threshold)
    return rows[near], table.filter(pa.array(rank < LEADERS)).to_batches(), int(rows.max())
