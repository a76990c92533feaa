"""Finds the sentences that phrases were cut from, by their words alone.

A treebank's phrases (SST-2's training rows) come without the number of their sentence. The longest ones stand for the
sentences: a phrase that is contained in no other is a root. Of SST-2's 66,978 distinct phrases 6,885 are roots; its
training sentences are 6,920. Phrases of a sentence that is not there itself are roots of their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tfb2d.config import DataConfig
from tfb2d.data.splits import Cutter

TORN = "torn"  # of sentences that lie in different splits


def roots(texts: Iterable[str]) -> dict[str, list[str]]:
    """Returns the roots that contain each text, as whole words in order; a root contains itself alone.

    Args:
      texts: phrases and sentences, in any order; case and spacing do not count.

    Returns:
      Normalised text -> the normalised roots, the longest first.
    """
    containing: dict[str, list[str]] = {}
    by_word: dict[str, list[str]] = defaultdict(list)  # roots, longest first
    # A text's candidates are the roots with the rarest of its words.
    for text in sorted({_normalised(text) for text in texts}, key=lambda text: (-text.count(" "), text)):
        words = set(text.split(" "))
        rarest = min(words, key=lambda word: (len(by_word[word]), word))
        containing[text] = [root for root in by_word[rarest] if f" {text} " in f" {root} "] or [text]
        if containing[text] == [text]:
            for word in words:
                by_word[word].append(text)
    return containing


class PhraseCutter:
    """Cuts valid and test from rows of phrases so that all phrases of a sentence lie in the same split.

    Args:
      data: the settings.
      texts: all texts of the training files.
    """

    def __init__(self, data: DataConfig, texts: Iterable[str]) -> None:
        self._roots: Mapping[str, Sequence[str]] = roots(texts)
        self._cutter = Cutter(data)

    def split(self, fields: Sequence[str], group: str = "") -> str:
        """Says "train", "valid", "test", or `TORN` of a phrase that sentences of different splits share ("the film")."""
        splits = {self._cutter.split((root,)) for root in self._roots[_normalised(fields[0])]}
        return splits.pop() if len(splits) == 1 else TORN


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())
