"""Makes more text for the transfer set (Tang et al. 2019, arXiv 1903.12136, section 3.2), and cuts texts into sentences.

Words are masked and n-grams sampled as in the paper. Its third rule needs a tagger and is left out: words swapped for
others of the same part of speech. The outcome depends on the seed, the copy's index and the text alone.
"""

import random
import re
from collections.abc import Sequence

from tfb2d.config import AugmentConfig
from tfb2d.data.keys import hash64

MASK = "[MASK]"  # stands for a masked word in tables, whatever the teacher's own mask token is
LONGEST = 5  # words of a sampled n-gram

_END = re.compile(r"""(?<![.!?…])[.!?…]+["'”’)\]]*(?=\s)\s*|[。！？]+[”’」』）]*\s*|\n[^\S\n]*\n\s*""")
_NO_END = re.compile(  # the last word, of a sentence that continues
    r"""["'(\[]*(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Rev|Gen|Col|Capt|Lt|Sgt|Sr|Jr|St|Mt|vs|etc|cf|No|Vol)\."""
)


def sentences(text: str) -> list[str]:
    """Cuts a text after `.`, `!`, `?`, their CJK forms and at blank lines, but not after initials and abbreviations."""
    pieces, start = [], 0
    for end in _END.finditer(text):
        last = text[max(start, end.start() - 12) : end.end()].split()[-1:]
        goes_on = text[end.end() : end.end() + 1].islower() or (last and _NO_END.fullmatch(last[0]))
        if goes_on and end.group().count("\n") < 2:
            continue
        pieces.append(text[start : end.end()].strip())
        start = end.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def augmented(fields: Sequence[str], config: AugmentConfig, mask_token: str, seed: int) -> list[tuple[str, ...]]:
    """Makes `config.copies` changed copies of a row; copies that are unchanged or nothing but masks are left out.

    Each word of a field becomes `mask_token` with probability `config.mask`. Then the field is cut down to 1 to 5
    consecutive words with probability `config.ngram`. Of a pair, each copy changes a single field: the more words a field
    has, the likelier.
    """
    made, split = [], [field.split() for field in fields]
    for copy in range(config.copies):
        draw = random.Random(hash64("\0".join((str(seed), str(copy), *fields)))).random
        lengths = [len(words) for words in split]
        at = int(len(fields) > 1 and draw() * sum(lengths) >= lengths[0])
        words = [mask_token if draw() < config.mask else word for word in split[at]]
        if draw() < config.ngram:
            size = 1 + int(draw() * LONGEST)
            start = int(draw() * max(1, len(words) - size + 1))
            words = words[start : start + size]
        row = (*fields[:at], " ".join(words), *fields[at + 1 :])
        if row != tuple(fields) and any(word != mask_token for word in words):
            made.append(row)
    return made
