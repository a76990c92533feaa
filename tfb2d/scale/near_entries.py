"""Entries by which near texts meet: one for each text and band, sorted by the band's key, and compared there."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tfb2d.scale import near
from tfb2d.scale.held_texts import SETS, HeldTexts

SLICE = 32_768  # texts whose keys are made together
LEADERS = 64  # a text is compared with so many texts of its band; bounds the work where very many are alike


def entry_schema(sets: Sequence[str]) -> pa.Schema:
    """Returns the columns of entries: the band's key, the row's number, and its words, for each field."""
    return pa.schema([("band", pa.uint64()), ("row", pa.uint64()), *((name, SETS) for name in sets)])


def entries(
    rows: pa.RecordBatch, sets: Sequence[str], number: int, kept: np.ndarray, held: HeldTexts, threshold: float
) -> Iterator[pa.RecordBatch]:
    """Makes the entries of rows, without those that are near a held-out text.

    Args:
      rows: with their words (`sets`) and `exact`, see `near.word_sets`.
      sets: names of the columns of words.
      number: of the first row that stays; they are numbered one behind the other.
      kept: bool `[n]`, True; gets False where a row is near a held-out text.
      held: the held-out texts.
      threshold: the similarity that is near.

    Yields:
      The entries of some rows, sorted by the key. Rows rise from one batch to the next.
    """
    for start in range(0, rows.num_rows, SLICE):
        some = rows.slice(start, SLICE)
        words = [some.column(name) for name in sets]
        keys = near.band_keys(words, some.column("exact").to_numpy(), threshold)
        stays = ~held.are_near(words, keys)
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

    Entries are compared in groups of bounded size. Of the groups before, a key's first LEADERS entries are kept, so the
    size of the groups does not matter to what is found.

    Args:
      batches: all entries of some keys; rows rise from one batch to the next.
      sets, threshold: see `entries`.
      group_bytes: of entries that are compared together.

    Yields:
      Numbers of near rows, uint64 `[m]`, perhaps several times.
    """
    waiting: list[pa.RecordBatch] = []
    leaders: list[pa.RecordBatch] = []
    size, seen = 0, -1
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= group_bytes:
            found, leaders, seen = _compared([*leaders, *waiting], sets, threshold, seen)
            yield found
            waiting, size = [], 0
    if waiting:
        yield _compared([*leaders, *waiting], sets, threshold, seen)[0]


def _compared(
    batches: Sequence[pa.RecordBatch], sets: Sequence[str], threshold: float, seen: int
) -> tuple[np.ndarray, list[pa.RecordBatch], int]:
    """Returns the near rows of those behind the row `seen`, the entries to keep, and the last row."""
    table = pa.Table.from_batches(batches, entry_schema(sets))
    table = table.sort_by([("band", "ascending"), ("row", "ascending")]).combine_chunks()
    keys, rows = (table[name].to_numpy() for name in ("band", "row"))
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    first = np.repeat(starts, np.diff(np.append(starts, len(keys))))
    rank = np.arange(len(keys)) - first
    count = np.where(rows.astype(np.int64) > seen, np.minimum(rank, LEADERS), 0)
    words = [table[name].chunk(0) for name in sets]
    found = near.any_near(words, words, np.arange(len(keys)), first, count, threshold)
    return rows[found], table.filter(pa.array(rank < LEADERS)).to_batches(), int(rows.max())
