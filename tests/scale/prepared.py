"""The harness of preparing: runs it on small parts, and says by brute force what must come out."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.scale.jobs import content
from tfb2d.data.keys import both_keys, hash64, text_key
from tfb2d.data.tables import read_table
from tfb2d.scale import near, passes, prepare_config, prepare_files
from tfb2d.scale.near import word_sets
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.prepare_files import PrepareOutcome

Texts = tuple[str, ...]


@cache
def _words(row: Texts) -> tuple[int, list[set[str]]]:
    near_key = both_keys(row)[1]
    return word_sets(near_key)[1], [set(field.split(" ")) - {""} for field in near_key.split("\0")]


def are_near(one: Texts, other: Texts, threshold: float) -> bool:
    """Compares the words of two rows as Python's sets."""
    (exact, sets), (others, other_sets) = _words(one), _words(other)
    fields = zip(sets, other_sets, strict=True)
    return exact == others and all(len(a & b) >= threshold * len(a | b) - 1e-9 for a, b in fields)


def left(rows: Sequence[Texts], held_out: Sequence[Texts], near: float, seed: int) -> tuple[list[Texts], list[Texts]]:
    """Returns the texts that must be left, in order, where near ones are always found; and those that were near."""
    keys = {text_key(*row) for row in held_out}
    words = {both_keys(row)[1] for row in held_out}
    first = {}
    for row in sorted(rows, reverse=True):  # of the spellings the first in alphabetical order
        if text_key(*row) not in keys and both_keys(row)[1] not in words:
            first[text_key(*row)] = row
    ordered = [first[key] for key in sorted(first, key=lambda key: (hash64(f"{seed}\0{key}"), key))]
    if not near:
        return ordered, []
    ordered = [row for row in ordered if not any(are_near(row, held, near) for held in held_out)]
    is_near = [any(are_near(row, before, near) for before in ordered[:i]) for i, row in enumerate(ordered)]
    both = list(zip(ordered, is_near, strict=True))
    return [row for row, wrong in both if not wrong], [row for row, wrong in both if wrong]


def write(path: Path, rows: Sequence[Texts], fields: Sequence[str]) -> str:
    """Writes rows as TSV; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in (fields, *rows)), encoding="utf-8")
    return str(path)


def prepare(inputs: Sequence[str], held_out: Sequence[str], out: Path, config: PrepareConfig) -> PrepareOutcome:
    """Prepares without a bar, and checks that the counts sum up."""
    told = prepare_files.prepare_files(inputs, held_out, out, config, progress=False)
    counts = told.to_json()
    counts.pop("shards")
    assert counts.pop("rows") == sum(counts.values())
    assert len(content(out)) == told.shards
    return told


def rows_of(out: Path, fields: Sequence[str]) -> list[Texts]:
    """Returns the texts of an output, in order."""
    return list(zip(*(column.to_pylist() for column in read_table(out, fields).columns), strict=True))


@contextmanager
def small_parts() -> Iterator[None]:
    """Cuts everything into parts of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_config, "MEGABYTE", 125)  # with 32 of them a part
        patch.setattr(passes, "RUN_ROWS", 16)
        patch.setattr(passes, "GROUP_PARTS", 0.4)
        patch.setattr(near, "SLICE", 4)
        patch.setattr("tfb2d.data.checked_rows.BATCH_ROWS", 8)
        yield


def offers(count: int, seed: int) -> list[Texts]:
    """Returns queries and titles, of which some are the same, some near, and some differ in a number alone."""
    chance = random.Random(seed)
    words = [
        "waterproof",
        "digital",
        "wrist",
        "watch",
        "leather",
        "strap",
        "steel",
        "case",
        "kids",
        "summer",
        "cotton",
        "shirt",
        "running",
        "shoe",
    ]
    rows: list[Texts] = []
    for _ in range(count):
        title = [*chance.sample(words, chance.randint(5, 11)), f"{chance.randint(1, 3) * 5} mm"]
        if rows and chance.random() < 0.3:
            title = chance.choice(rows)[1].split()
            title[chance.randrange(len(title))] = chance.choice(words)
        text = " ".join(title)
        rows.append((chance.choice(["watch", "shoe", ""]), text.upper() if chance.random() < 0.2 else text))
    return rows
