"""Shared parts of the Transformer peers: architectures, WordPiece tokenization, batches with little padding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CHUNK = 32  # rows of one forward pass: larger ones pad more and gain nothing on a CPU

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Architecture:
    """Describes a BERT encoder with a pooler and a classification head.

    Reference: BERT (arXiv 1810.04805), TinyBERT (arXiv 1909.10351), MiniLM (arXiv 2002.10957).
    """

    layers: int
    width: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    positions: int = 512
    segments: int = 2
    logits: int = 1


ARCHITECTURES = {
    "bert-base": Architecture(12, 768, 12, 3072),
    "tinybert": Architecture(4, 312, 12, 1200),  # TinyBERT-4L-312
    "minilm": Architecture(6, 384, 12, 1536),  # MiniLM-L6-H384
    "bert-tiny": Architecture(1, 32, 2, 64),  # of tests
}


def random_weights(shape: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws BERT's initial weights: normal with deviation 0.02, biases 0, layer normalisations 1 and 0.

    Returns float32 arrays by name. Kernels are `[in, out]`; attention kernels hold those of query, key and value side by
    side, heads in order.
    """
    rng, width = np.random.default_rng(seed), shape.width
    weights: dict[str, np.ndarray] = {}

    def kernel(name: str, *size: int) -> None:
        weights[name] = 0.02 * rng.standard_normal(size, np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.gamma"], weights[f"{name}.beta"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    def dense(name: str, inputs: int, outputs: int) -> None:
        kernel(f"{name}.kernel", inputs, outputs)
        weights[f"{name}.bias"] = np.zeros(outputs, np.float32)

    kernel("word", shape.vocabulary, width)
    kernel("position", shape.positions, width)
    kernel("segment", shape.segments, width)
    norm("norm")
    for layer in range(shape.layers):
        dense(f"{layer}.attention", width, 3 * width)
        dense(f"{layer}.output", width, width)
        norm(f"{layer}.norm")
        dense(f"{layer}.up", width, shape.intermediate)
        dense(f"{layer}.down", shape.intermediate, width)
        norm(f"{layer}.last_norm")
    dense("pooler", width, width)
    dense("head", width, shape.logits)
    return weights


class WordPiece:
    """Tokenizes by a BERT's tokenizer.json, special tokens included; query and title of a pair are the two segments."""

    def __init__(self, file: str, max_length: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(file)
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()

    def batches(self, columns: Sequence[Sequence[str]], size: int = CHUNK) -> list[tuple[np.ndarray, Inputs]]:
        """Puts rows into batches of like length, padded to the longest.

        Returns (row indices `[rows]`, (token ids, segments, mask), each int32 `[rows, longest]`) of each batch.
        """
        texts: Any = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        encodings = self._tokenizer.encode_batch_fast(texts)
        ids = [encoding.ids for encoding in encodings]
        kinds = [encoding.type_ids for encoding in encodings] if len(columns) > 1 else None
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        order = np.argsort(lengths, kind="stable") if len(ids) > size else np.arange(len(ids))
        batches = []
        for start in range(0, len(ids), size):
            rows = order[start : start + size]
            mask = (np.arange(lengths[rows].max()) < lengths[rows, None]).astype(np.int32)
            padded = []
            for values in (ids, kinds):
                filled = np.zeros(mask.shape, np.int32)
                if values is not None:
                    filled[mask > 0] = np.concatenate([values[row] for row in rows])
                padded.append(filled)
            batches.append((rows, (padded[0], padded[1], mask)))
        return batches


class Transformer:
    """Scores texts with a Transformer: strings in, probabilities out.

    `forward` turns (token ids, segments, mask) into probabilities `[rows, logits]`; `about` has facts such as `file_mb`.
    """

    def __init__(
        self, forward: Callable[..., np.ndarray], tokenizer: str, max_length: int, about: Mapping[str, Any]
    ) -> None:
        self._forward, self._tokenizer = forward, WordPiece(tokenizer, max_length)
        self.about = dict(about)

    def score(self, *columns: Sequence[str]) -> np.ndarray:
        """Returns probabilities `[n, logits]` float32 of n texts, or pairs."""
        batches = self._tokenizer.batches(columns)
        if len(batches) == 1:
            return self._forward(*batches[0][1])
        parts = [self._forward(*inputs) for _, inputs in batches]
        scores = np.empty((len(columns[0]), parts[0].shape[1]), np.float32)
        for (rows, _), part in zip(batches, parts, strict=True):
            scores[rows] = part
        return scores

    def rank(self, query: str, titles: Sequence[str]) -> np.ndarray:
        """Returns probabilities `[n, logits]` of n titles; a cross-encoder reads the query anew with each."""
        return self.score([query] * len(titles), titles)
