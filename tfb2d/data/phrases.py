"""Finds the sentences that phrases were cut from, by their words alone.

A treebank's phrases (SST-2's training rows) come without a reference to their sentence. A phrase that no other contains is
a root, and stands for a sentence. Of SST-2's 66,978 distinct phrases 6,885 are roots; it has 6,920 training sentences.
Where a sentence itself is missing, its longest phrases are roots.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tfb2d.config import DataConfig
from tfb2d.data.splits import Cutter

TORN = "torn"  # a phrase of sentences that belong to different splits


def roots(texts: Iterable[str]) -> dict[str, list[str]]:
    """Returns the roots that contain each text, as whole words in order; a root contains itself alone.

    Args:
      texts: phrases and sentences, in any order; case and spacing do not count.

    Returns:
      For each normalised text its normalised roots, the longest first.
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
    """Assigns phrases to train, valid or test, all phrases of a sentence to the same split.

    Args:
      data: the settings.
      texts: all texts of the training files.
    """

    def __init__(self, data: DataConfig, texts: Iterable[str]) -> None:
        self._roots: Mapping[str, Sequence[str]] = roots(texts)
        self._cutter = Cutter(data)

    def split(self, fields: Sequence[str], group: str = "") -> str:
        """Returns "train", "valid" or "test"; `TORN` for a phrase ("the film") that sentences of different splits share."""
        splits = {self._cutter.split((root,)) for root in self._roots[_normalised(fields[0])]}
        return splits.pop() if len(splits) == 1 else TORN


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())
