"""Hides tokens for masked-language training: whole words, or phrases of words that belong together.

To guess a whole word an encoder must know its meaning, where a word piece takes spelling alone. To guess a phrase
("special effects", "60cm wide") it must know the domain. This helps on product text (E-BERT, Zhang et al. 2020, arXiv
2009.02835). E-BERT mines its phrases; here they are words that often go together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras_hub
import numpy as np

from tfb2d.teachers.packing import Packed

TOGETHER = 10  # times that two words of a phrase are neighbours, at least
NPMI = 0.4  # least normalised pointwise mutual information of the two (Bouma 2009; 0: by chance, 1: always together)
MASKED, ANY = 0.8, 0.1  # shares of hidden words that the mask token, or any token, replaces; others stay, as in BERT
IGNORED = -1  # label of a position that is not hidden
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Units:
    """Rows cut into units, which are hidden as a whole."""

    packed: Packed  # the rows
    of: np.ndarray  # int64 [tokens], the index of each token's unit, counted over all rows; -1 for special tokens
    rows: np.ndarray  # int64 [units], the index of each unit's row

    def hide(self, rate: float, mask_id: int, plain: np.ndarray, rng: np.random.Generator) -> tuple[Packed, np.ndarray]:
        """Hides a share `rate` of the units at random, at least one in each row; `plain` are ids that may replace a token.

        Returns the rows with hidden tokens replaced, and labels, int32 [tokens]: the token that was there, or
        `IGNORED`.
        """
        chance = rng.random(len(self.rows))
        least = np.full(len(self.packed), 1.0)
        np.minimum.at(least, self.rows, chance)
        hidden = (chance < rate) | (chance == least[self.rows])
        how = rng.random(len(self.rows))
        within = self.of >= 0
        chosen, manner = np.zeros(len(self.of), bool), np.ones(len(self.of))
        chosen[within], manner[within] = hidden[self.of[within]], how[self.of[within]]
        ids = self.packed.ids.copy()
        ids[chosen & (manner < MASKED)] = mask_id
        other = chosen & (manner >= MASKED) & (manner < MASKED + ANY)
        ids[other] = rng.choice(plain, int(other.sum()))
        labels = np.where(chosen, self.packed.ids, IGNORED).astype(np.int32)
        return Packed(ids, self.packed.starts, self.packed.second), labels


def units(packed: Packed, tokenizer: Any, kind: str) -> Units:
    """Cuts rows into words ("whole_word"), or into phrases of any length ("phrase")."""
    special = np.isin(packed.ids, list(special_ids(tokenizer)))
    row_of = np.repeat(np.arange(len(packed)), packed.lengths)
    begins = word_begins(tokenizer)[packed.ids] & ~special
    begins |= ~special & (np.concatenate([[True], special[:-1]]) | np.concatenate([[True], row_of[1:] != row_of[:-1]]))
    of = np.where(special, -1, np.cumsum(begins) - 1)
    first = np.flatnonzero(begins)
    if kind == "phrase" and len(first):
        hashes = np.zeros(len(first), np.uint64)
        np.add.at(hashes, of[~special], (packed.ids[~special].astype(np.uint64) + np.uint64(1)) * _MIX)
        last = np.zeros(len(first), np.int64)
        np.maximum.at(last, of[~special], np.flatnonzero(~special))
        adjacent = first[1:] == last[:-1] + 1  # nothing special between them, such as the border of two fields
        joined = np.concatenate([[False], adjacent & _belong_together(hashes, adjacent)])
        phrase = np.cumsum(~joined) - 1
        of = np.where(of >= 0, phrase[of], -1)
        first = first[~joined]
    return Units(packed, of, row_of[first])


def _belong_together(words: np.ndarray, adjacent: np.ndarray) -> np.ndarray:
    """Says for each word whether it makes a phrase with the next, bool [words - 1]; see TOGETHER and NPMI."""
    _, word, count = np.unique(words, return_inverse=True, return_counts=True)
    pair = word[:-1].astype(np.int64) * len(count) + word[1:]
    _, which, pairs = np.unique(np.where(adjacent, pair, -1), return_inverse=True, return_counts=True)
    share = pairs[which] / len(words)
    chance = count[word[:-1]] / len(words) * (count[word[1:]] / len(words))
    with np.errstate(divide="ignore", invalid="ignore"):
        npmi = np.log(share / chance) / -np.log(share)
    return (pairs[which] >= TOGETHER) & (npmi > NPMI)


def special_ids(tokenizer: Any) -> set[int]:
    """Returns the ids of a tokenizer's special tokens."""
    return {int(value) for value in getattr(tokenizer, "special_token_ids", []) if value is not None}


def word_begins(tokenizer: Any) -> np.ndarray:
    """Says for each token of a vocabulary whether a word begins with it, bool [tokens]."""
    entries: Sequence[str] = list(tokenizer.get_vocabulary())
    if isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        return np.array([not entry.startswith("##") for entry in entries])
    mark = "\u0120" if isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer) else "\u2581"
    begins = np.zeros(max(len(entries), tokenizer.vocabulary_size()), bool)
    for entry in entries:
        begins[tokenizer.token_to_id(entry)] |= entry.startswith(mark)
    return begins
