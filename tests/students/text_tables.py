"""Makes `hash_spec_2.json`, the hash spec's tables, from Python's Unicode data: `python -m tests.students.text_tables`.

The file is part of the spec and is not made again: a model depends on every entry. This module says where the entries
come from, and the tests compare it with the file.
"""

import unicodedata
from pathlib import Path

from tfb2d.atomic import write_atomic
from tfb2d.students import text_spec

PATH = Path(text_spec.__file__).with_name("hash_spec_2.json")
DELETED, SPACE = 0, 32
_ACCENTS = range(0x300, 0x370)  # combining marks of Latin, Greek and Cyrillic
_VARIANTS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810))  # choose a glyph, not a letter
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
# Characters that people type for one another and Unicode's mappings keep apart.
_ALIKE = {
    ord(character): ord(to)
    for to, characters in {
        "'": "‘’‚‛′‵´",
        '"': "“”„‟″‶«»",
        "-": "‐‑‒–—―−",
        "/": "⁄∕",
        "x": "×",
        "i": "ı",
        "o": "ø",
        "d": "đ",
        "l": "ł",
        "h": "ħ",
        "t": "ŧ",
    }.items()
    for character in characters
}


def _plain(character: str) -> str:
    """Returns the compatibility form without accents, where that is a single character."""
    parts = [part for part in unicodedata.normalize("NFKD", character) if ord(part) not in _ACCENTS]
    return parts[0] if len(parts) == 1 and parts[0] != " " else character


def fold(code: int) -> int:
    """Returns what replaces a code point: another one, SPACE where it separates tokens, DELETED where it is dropped."""
    character = chr(code)
    category = unicodedata.category(character)
    if category in ("Cs", "Co", "Cn"):
        return code
    if category in ("Cc", "Zs", "Zl", "Zp") or code == 0x200B:
        return SPACE
    if category == "Cf" or code in _ACCENTS or code in _VARIANTS:
        return DELETED
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return ord("0") + digit
    character = _plain(character)
    for lower in (character.casefold(), character.lower()):
        if len(lower) == 1:
            character = lower
            break
    character = _plain(character)
    return _ALIKE.get(ord(character), ord(character))


def isolated(code: int) -> bool:
    """Says whether a folded code point is a token of its own: punctuation, symbols, Han characters."""
    if any(first <= code <= last for first, last in _HAN):
        return True
    return unicodedata.category(chr(code))[0] in "PS" and fold(code) == code


def runs(mapping: dict[int, int]) -> list[list[int]]:
    """Packs a mapping: `[from, to]` is one entry; `[from, to, count, step, to_step]` is `count` of them in even steps."""
    codes = sorted(mapping)
    packed: list[list[int]] = []
    at = 0
    while at < len(codes):
        first, best = codes[at], [codes[at], mapping[codes[at]]]
        length = 1
        for step, to_step in ((1, 0), (1, 1), (2, 0), (2, 2)):
            count = 1
            while (
                at + count < len(codes)
                and codes[at + count] == first + count * step
                and mapping[codes[at + count]] == mapping[first] + count * to_step
            ):
                count += 1
            if count > length:
                length, best = count, [first, mapping[first], count, step, to_step]
        packed.append(best)
        at += length
    return packed


def ranges(codes: list[int]) -> list[list[int]]:
    """Packs rising code points into inclusive `[first, last]` ranges, across gaps of codes that folding never gives."""
    packed: list[list[int]] = []
    for code in codes:
        if packed and all(_unused(gap) for gap in range(packed[-1][1] + 1, code)):
            packed[-1][1] = code
        else:
            packed.append([code, code])
    return packed


def _unused(code: int) -> bool:
    return code > 127 and (unicodedata.category(chr(code)) == "Cn" or fold(code) != code)


def tables() -> dict[str, object]:
    """Returns the spec's two tables, as the JSON file holds them."""
    every = range(0x110000)
    return {
        "fold": runs({code: fold(code) for code in every if fold(code) != code}),
        "isolated": ranges([code for code in every if isolated(code)]),
    }


def main() -> None:
    """Writes the JSON file."""
    made = tables()
    lines = [f'{{\n"version": 2,\n"unicode": "{unicodedata.unidata_version}"']
    for name, rows in made.items():
        assert isinstance(rows, list)
        texts = [str(row).replace(" ", "") for row in rows]
        wrapped = [",".join(texts[at : at + 8]) for at in range(0, len(texts), 8)]
        lines.append(f'"{name}": [\n' + ",\n".join(wrapped) + "\n]")
    write_atomic(PATH, ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
