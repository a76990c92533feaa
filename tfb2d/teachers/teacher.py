"""A fine-tuned teacher: computes logits of texts, and is saved and loaded."""

import datetime
import functools
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from tfb2d.atomic import write_json
from tfb2d.data.task import Task
from tfb2d.teachers.models import load_classifier
from tfb2d.teachers.packing import Packed, Packer
from tfb2d.teachers.saved import FILE, MODEL, read_about
from tfb2d.teachers.steps import forward
from tfb2d.teachers.tokens import cut_by, tokenizer_hash
from tfb2d.teachers.unpadded import UnpaddedForward, can_skip_padding

BATCH_TOKENS = 4096  # of a forward pass, padding included


class Teacher:
    """A classifier with its tokenizer and its task.

    Args:
      classifier: a `keras_hub.models.TextClassifier`; its preprocessor is used and then detached.
      task: what the logits mean.
      max_length: tokens of the longest row, special ones included; longer texts are cut off.
      reference: see `Packer`.

    Attributes:
      mask_token: stands for a masked word in texts, such as "[MASK]"; "" if the model has none.
      skips_padding: whether logits are computed by `unpadded.UnpaddedForward`, not by the model's own forward pass.
    """

    def __init__(
        self, classifier: keras_hub.models.TextClassifier, task: Task, max_length: int, reference: bool = True
    ) -> None:
        self.task = task
        self.reference = reference
        self.max_length = max_length
        self.preprocessor = classifier.preprocessor
        classifier.preprocessor = None  # inputs are packed here
        self.model = classifier
        self.packer = Packer(self.preprocessor, list(classifier.input), max_length, reference)
        self.mask_token = self.packer.mask_token
        self._forward = forward(self.model)
        self.skips_padding = can_skip_padding(self.model)
        self._unpadded = UnpaddedForward(self.model) if self.skips_padding else None

    def pack(self, columns: Sequence[Sequence[str]]) -> Packed:
        """Tokenizes a column of texts per field of the task.

        Raises ValueError for another number of columns than the task has fields, or columns of different lengths.
        """
        if len(columns) != len(self.task.fields):
            raise ValueError(
                f"{len(columns)} columns of text for a task of {len(self.task.fields)}: {self.task.fields}"
            )
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of different lengths: {[len(column) for column in columns]}")
        return self.packer.pack(columns)

    def logits(self, columns: Sequence[Sequence[str]], batch_tokens: int = BATCH_TOKENS) -> np.ndarray:
        """Scores rows of text, a sequence per field of the task in its order: float32 [n, task.n_logits].

        Batches are of similar length, with `batch_tokens` tokens, padding included. The same rows in the same call give
        the same bytes. Raises ValueError for another number of columns, or columns of different lengths.
        """
        return self.logits_of(self.pack(columns), batch_tokens)

    def logits_of(self, packed: Packed, batch_tokens: int = BATCH_TOKENS) -> np.ndarray:
        """Computes `logits` of rows that are tokenized already."""
        logits = np.empty((len(packed), self.task.n_logits), np.float32)
        compute = self._unpadded.with_present_weights() if self._unpadded else self._forward
        for rows in self.packer.batches(packed, batch_tokens):
            logits[rows] = compute(self.packer.pad(packed, rows))
        return logits

    def word_vectors(self, words: Sequence[str], kind: str = "tokens") -> np.ndarray:
        """Returns vectors of n whole words, float32 [n, width]; zeros for a word without a token.

        The kind "tokens" is the mean of the token embeddings of a word's pieces. "contextual" is the mean of the
        encoder's last states of the word on its own, special tokens included, as in Model2Vec
        (https://github.com/MinishLab/model2vec).
        """
        if isinstance(self.packer.tokenizer, keras_hub.tokenizers.BytePairTokenizer):
            words = [f" {word}" for word in words]  # as within a text; without the space it is another token
        if kind == "contextual":
            return self._contextual(words)
        if kind != "tokens":
            raise ValueError(f"kind is {kind!r}; there are 'tokens' and 'contextual'")
        ids, lengths = self.packer.tokenize(words)
        table = keras.ops.convert_to_numpy(self.model.backbone.token_embedding.embeddings)
        word_of = np.repeat(np.arange(len(words)), lengths)
        sums = np.zeros((len(words), table.shape[1]), np.float32)
        np.add.at(sums, word_of, table[ids])
        return sums / np.maximum(lengths, 1)[:, None].astype(np.float32)

    def whole_words(self) -> list[str]:
        """Returns the entries of the tokenizer's vocabulary that stand for whole words, in its order."""
        entries = list(self.preprocessor.tokenizer.get_vocabulary())
        for mark in ("\u0120", "\u2581"):  # byte-pair and SentencePiece vocabularies mark where a word begins
            begun = [entry[1:] for entry in entries if entry.startswith(mark) and len(entry) > 1]
            if begun:
                return begun
        return [
            entry for entry in entries if not entry.startswith(("##", "["))
        ]  # WordPiece marks what continues a word

    def _contextual(self, words: Sequence[str]) -> np.ndarray:
        packed = self.packer.pack([words])
        vectors = np.zeros((len(words), self.model.backbone.hidden_dim), np.float32)
        for rows in self.packer.batches(packed, BATCH_TOKENS):
            states = self._encode(self.packer.pad(packed, rows))
            states = states["sequence_output"] if isinstance(states, Mapping) else states
            real = np.arange(states.shape[1]) < packed.lengths[rows][:, None]
            sums = (states.astype(np.float32) * real[:, :, None]).sum(1)
            vectors[rows] = sums / packed.lengths[rows][:, None].astype(np.float32)
        return vectors

    @functools.cached_property
    def _encode(self) -> Any:
        return forward(self.model.backbone)

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Writes the model and `teacher.json`, which also gets the values of `about`.

        A folder that has a `teacher.json` is whole, also after a kill.
        """
        fresh = folder / f".{MODEL}.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        self.preprocessor.sequence_length = self.max_length  # for those who load it with KerasHub alone
        self.model.preprocessor = self.preprocessor
        self.model.save_to_preset(str(fresh))
        self.model.preprocessor = None
        (folder / FILE).unlink(missing_ok=True)
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        fresh.rename(folder / MODEL)
        write_json(
            folder / FILE,
            {
                "class": type(self.model).__name__,
                "task": self.task.to_json(),
                "max_length": self.max_length,
                "mixed_precision": self.model.backbone.dtype_policy.name == "mixed_bfloat16",
                "mask_token": self.mask_token,
                "word_pieces": cut_by(self.preprocessor.tokenizer) if self.reference else "",
                "tokens": tokenizer_hash(self.preprocessor.tokenizer, self.reference),
                "weights": weights_hash(self.model),
                "versions": {"keras": keras.__version__, "keras_hub": keras_hub.__version__},
                "saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                **about,
            },
        )


def weights_hash(model: keras.Model) -> str:
    """Returns a hash of a model's weights."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()


def load_teacher(folder: str | Path) -> Teacher:
    """Loads a saved teacher; raises ConfigError where the folder holds none, or an unfinished one."""
    folder = Path(folder)
    about = read_about(folder)
    classifier = load_classifier(folder / MODEL, about["mixed_precision"])
    # Older teachers keep the tokens that they learnt with.
    reference = about.get("word_pieces") == cut_by(classifier.preprocessor.tokenizer)
    return Teacher(classifier, Task.from_json(about["task"]), about["max_length"], reference)
