"""Cuts texts into byte pairs exactly as in the encoders' pre-training.

KerasHub 0.32 gives its pattern for words to the `tokenizers` library as a plain string, which matches nothing. So pairs are
merged across the ends of words, which changes the tokens of scripts with combining marks. It also makes special tokens of
what is written in a text.
"""

from collections.abc import Callable, Sequence
from typing import Any


def reference_byte_pairs(tokenizer: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    """Returns a function from texts to token ids: the `tokenizers` library with GPT-2's words, as RoBERTa was pre-trained.

    A special token in a text is cut like any other text, so a text cannot end its row.

    Args:
      tokenizer: a `keras_hub.tokenizers.BytePairTokenizer`; its vocabulary and merges are used.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    merges = [tuple(merge.split(" ")) for merge in tokenizer.merges if not merge.lstrip().startswith("#version:")]
    reference = Tokenizer(models.BPE(dict(tokenizer.vocabulary), merges))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=tokenizer.add_prefix_space)
    return lambda texts: [row.ids for row in reference.encode_batch_fast(list(texts), add_special_tokens=False)]
