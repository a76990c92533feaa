"""Writes text in the form of the Penn Treebank, and takes markup out of it.

SST-2 and many other published data sets come in the treebank's form: lower-cased, with spaces around punctuation and
clitics (`do n't`, `it 's`), quotes as `` and '', dashes as --.

Reference: the treebank's tokenizer script (https://www.cis.upenn.edu/~treebank/tokenization.html).
"""

import html
import re

_SAME = {
    '"': "“”„\x93\x94",
    "'": "‘’´\x91\x92",
    "--": "–—\x96\x97",
    "...": "…\x85",
}  # \x85 to \x97: Windows-1252 read as Latin-1
_PLAIN = str.maketrans({variant: plain for plain, variants in _SAME.items() for variant in variants})
_RULES = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"(?<![^\s(\[{\-])\"(?=\S)", " `` "),  # opening: nothing before it, or a bracket
        (r"\"", " '' "),
        (r"-{2,}", " -- "),
        (r"\.(?:\s*\.)+", " ... "),
        (r"[,:](?!\d)|(?<!\d)[,:]|[;?!()\[\]{}$#%]", r" \g<0> "),  # but not within 1,000 and 3:10
        (r"(?<!\.)\.(?=[\s'\")\]}]*$)", " ."),
        (r"(?<!\S)'(?=\w)(?!(?:s|em|n|til|twas|tis|\d\ds)\b)", "` "),
        (r"(?<=[^\s'])'(?=\s|$)", " '"),
        (r"(?<=\w)n't\b", " n't"),
        (r"(?<=\w)'(?:s|m|d|re|ve|ll)\b", r" \g<0>"),
        (r"\bcannot\b", "can not"),
        (r"\b(gon|wan)na\b", r"\1 na"),
        (r"\bgotta\b", "got ta"),
    )
)
_BLOCK = re.compile(r"<\s*/?\s*(?:br|p|div|hr|li|ul|ol|table|tr|td|h[1-6])\b[^<>]*>", re.I)
_TAG = re.compile(r"</?[a-z][^<>]{0,200}>", re.I)


def treebank(text: str) -> str:
    """Writes a sentence in the treebank's form, with single spaces between its tokens.

    >>> treebank('"Don\\'t," he said (twice)...')
    "`` do n't , '' he said ( twice ) ..."
    """
    text = text.lower().translate(_PLAIN)
    for pattern, to in _RULES:
        text = pattern.sub(to, text)
    return " ".join(text.split())


def without_markup(text: str) -> str:
    """Takes HTML out of a text.

    Line breaks and blocks become blank lines, which end a sentence. Other tags are dropped, and entities decoded.
    """
    if "<" in text:
        text = _TAG.sub("", _BLOCK.sub("\n\n", text))
    return html.unescape(text) if "&" in text else text
