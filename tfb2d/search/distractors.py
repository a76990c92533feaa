"""Makes titles that nobody sells out of the words of real ones: a small catalogue is searched like a large one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path
from tfb2d.data.keys import hash64, text_key
from tfb2d.errors import DataError

_CHUNK = 20_000
_TRIES = 50  # for each title, before the real ones are said to be too few to recombine


def distractors(titles: Sequence[str], count: int, seed: int = 0) -> Iterator[str]:
    """Yields titles that are neither a real one nor each other; the same arguments give the same ones.

    Each has the words of a real title, about half of them replaced by words that stand at the same place (from the left) in
    other titles. So lengths, brands in front and sizes at the end are as in the real ones.

    Args:
      titles: real titles.
      count: how many to make.
      seed: of the choices.

    Raises:
      DataError: the titles have too few words to make `count` of them.
    """
    split = [words for words in (title.split() for title in titles) if words]
    if not split:
        raise DataError("there are no titles whose words could be recombined")
    by_position: list[list[str]] = []
    for words in split:
        for position, word in enumerate(words):
            if position == len(by_position):
                by_position.append([])
            by_position[position].append(word)
    used = {hash64(text_key(title)) for title in titles}
    generator = np.random.default_rng(seed)
    made, tries = 0, 0
    while made < count:
        starts = generator.integers(len(split), size=_CHUNK)
        longest = max(len(split[start]) for start in starts)
        swaps = generator.random((_CHUNK, longest)) < 0.5
        choices = generator.random((_CHUNK, longest))
        for start, swap, choice in zip(starts, swaps, choices, strict=True):
            words = list(split[start])
            for position in np.flatnonzero(swap[: len(words)]).tolist():
                others = by_position[position]
                words[position] = others[int(choice[position] * len(others))]
            title = " ".join(words)
            tries += 1
            if (key := hash64(text_key(title))) in used:
                if tries > _TRIES * (made + 1_000):
                    raise DataError(
                        f"{len(titles):,} titles have too few words: only {made:,} others can be made of them"
                    )
                continue
            used.add(key)
            made += 1
            yield title
            if made == count:
                return


def write_distractors(path: Path, titles: Sequence[str], count: int, seed: int, columns: tuple[str, str]) -> None:
    """Writes distractors with ids as Parquet, atomically; `columns` are the names of id and title."""
    schema = pa.schema([(name, pa.string()) for name in columns])
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        made = distractors(titles, count, seed)
        for start in range(0, count, _CHUNK):
            some = [title for title, _ in zip(made, range(min(_CHUNK, count - start)), strict=False)]
            ids = [f"distractor-{start + index}" for index in range(len(some))]
            writer.write_table(pa.table([ids, some], schema=schema))
