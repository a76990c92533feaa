"""Makes queries of titles: a few of a title's words, as many as real queries have, sometimes in another order."""

import random
from collections.abc import Iterator, Sequence

from tfb2d.data.keys import hash64

WHOLE_RUN = 0.5  # share of the queries that are consecutive words; the others leave words out in between
REORDERED = 0.25


def title_queries(titles: Sequence[str], lengths: Sequence[int], turns: int, seed: int) -> Iterator[str]:
    """Yields a query of every title, in random order, then a second one of each, up to `turns`; repeats are possible.

    Args:
      titles: the titles.
      lengths: how many words queries have, one entry a query.
      turns: queries of each title.
      seed: of the choice. A query depends on its title, `lengths`, the turn and the seed alone.
    """
    order = random.Random(hash64(f"{seed}\0title queries")).sample(range(len(titles)), len(titles))
    for turn in range(turns):
        for index in order:
            draw = random.Random(hash64(f"{seed}\0{turn}\0{titles[index]}"))
            yield query_of(titles[index], draw.choice(lengths), draw)


def query_of(title: str, length: int, draw: random.Random) -> str:
    """Takes `length` of a title's words, or all where it has fewer."""
    words = title.lower().split()
    size = max(1, min(length, len(words)))
    if draw.random() < WHOLE_RUN:
        start = draw.randint(0, len(words) - size)
        chosen = words[start : start + size]
    else:
        chosen = [words[at] for at in sorted(draw.sample(range(len(words)), size))]
    if draw.random() < REORDERED:
        draw.shuffle(chosen)
    return " ".join(chosen)
