"""Cuts titles and queries into the words that BM25 counts. Nothing that a shopper types is dropped.

Words of one letter, numbers and codes stay ("usb c", "5 m", "iPhone X", "4K"), and there are no stop words. Some words
are written in several ways, so these give several tokens:

    usb-c   usb, c, usbc     (so that "usb c" and "usbc" find it, too)
    64gb    64gb, 64, gb     (so that "64 gb" finds it)
    1.5     1.5              (not 1 and 5)

Case, width (NFKC) and accents of Latin letters do not count. Scripts without spaces give a token for each character.
"""

import re
import unicodedata
from functools import lru_cache

_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)([a-z]{1,4})")
_DECIMAL = re.compile(r"\d+(?:[.,]\d+)+")
_JOINTS = "-./'&,_"  # inside of a word they join its parts


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
    """Returns the tokens of what stands between two spaces."""
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
