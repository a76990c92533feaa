"""The one harness of teachers' tests: tiny encoders of each family, tables that they learn from, the step of a killed run.

The encoders have random weights and a vocabulary of a few words, and are saved as KerasHub presets.
"""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece
from safetensors import safe_open

from tfb2d.config import TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers import electra, mpnet

PAIR = Task(("query", "title"))
SINGLE = Task(("text",))
WORDS = ["the", "good", "bad", "film", "red", "shoe", "blue", "hat"]
WORDS += ["query", "title", "of", "and", "not", "fine", "poor"]
# How most tests fine-tune an encoder; `tuning` sets its preset.
TUNING = TeacherConfig(preset="-", layers=1, max_length=16, epochs=3, batch_size=4, learning_rate=1e-2)
SHAPE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64, "max_sequence_length": 32}
PREPROCESSORS = {
    "bert": keras_hub.models.BertTextClassifierPreprocessor,
    "roberta": keras_hub.models.RobertaTextClassifierPreprocessor,
    "distil_bert": keras_hub.models.DistilBertTextClassifierPreprocessor,
    "electra": electra.ElectraTextClassifierPreprocessor,
    "mpnet": mpnet.MPNetTextClassifierPreprocessor,
    "albert": keras_hub.models.AlbertTextClassifierPreprocessor,
    "deberta_v3": keras_hub.models.DebertaV3TextClassifierPreprocessor,
    "xlm_roberta": keras_hub.models.XLMRobertaTextClassifierPreprocessor,
    "f_net": keras_hub.models.FNetTextClassifierPreprocessor,
    "roformer_v2": keras_hub.models.RoformerV2TextClassifierPreprocessor,
}
FAMILIES = tuple(PREPROCESSORS)
SPECIAL = {  # pieces of the SentencePiece families: padding, unknown, start, end, mask; "" where the file has none
    "albert": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    "deberta_v3": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", ""),
    "xlm_roberta": ("", "<unk>", "<s>", "</s>", ""),
    "f_net": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
}
OTHER_SHAPES = {  # what an encoder takes besides SHAPE; None where it does not take a part of it
    "electra": {"embedding_dim": 8},
    "albert": {"embedding_dim": 8},
    "deberta_v3": {"bucket_size": 8},
    "f_net": {"num_heads": None},
    "roformer_v2": {"head_size": 16, "max_sequence_length": None},
}


def save_encoder(family: str, folder: Path, pieces: Sequence[str] = (), lowercase: bool = True) -> Path:
    """Writes a preset (encoder and tokenizer, no head); returns its folder.

    Args:
      family: one of FAMILIES.
      folder: where it goes.
      pieces: a WordPiece family's vocabulary, in place of WORDS and letters.
      lowercase: whether a WordPiece tokenizer lower-cases; none strips accents, as in KerasHub's presets.
    """
    keras.utils.set_random_seed(7)
    preprocessor = PREPROCESSORS[family]
    if family in SPECIAL:
        tokenizer = preprocessor.tokenizer_cls(sentence_pieces(*SPECIAL[family]))
    elif family == "roberta":
        tokenizer = preprocessor.tokenizer_cls(*_byte_pairs())
    else:
        pieces = mpnet_pieces(pieces) if family == "mpnet" else list(pieces or word_pieces())
        tokenizer = preprocessor.tokenizer_cls(pieces, lowercase=lowercase, strip_accents=False)
    shape = {**SHAPE, **OTHER_SHAPES.get(family, {})}
    shape = {name: value for name, value in shape.items() if value is not None}
    preprocessor.backbone_cls(tokenizer.vocabulary_size(), **shape).save_to_preset(str(folder))
    preprocessor(tokenizer).save_to_preset(str(folder))
    return folder


def word_pieces() -> list[str]:
    """Returns BERT's special tokens, WORDS, and letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]


def mpnet_pieces(pieces: Sequence[str] = ()) -> list[str]:
    """Returns MPNet's vocabulary: its special tokens stand around BERT's."""
    return ["<s>", "<pad>", "</s>", "<unk>", *(pieces or word_pieces()), "<mask>"]


def phrases(rows: int, seed: int, longest: int = 8) -> list[str]:
    """Makes random texts of 1 to `longest` words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(rows)]


def write_table(folder: Path, columns: dict[str, list], parts: int = 1) -> Path:
    """Writes a table as the data stage does, in `parts` parts of uneven size."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {"label": pa.float32()}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})
    edges = np.linspace(0, 1, parts + 1) ** 2 * table.num_rows
    for number, (start, end) in enumerate(zip(edges[:-1].astype(int), edges[1:].astype(int), strict=True)):
        pq.write_table(table.slice(start, end - start), folder / f"part-{number:05d}.parquet")
    return folder


def write_pairs(folder: Path, rows: int = 96, valid_rows: int = 48) -> Path:
    """Writes `train` and `valid` of a task that a tiny model learns: is the title about the query's thing?"""
    for name, seed, size in (("train", 1, rows), ("valid", 2, valid_rows)):
        rng = np.random.default_rng(seed)
        queries = rng.choice(["red shoe", "blue hat"], size)
        titles = [
            f"the {q}" if same else "poor film" for q, same in zip(queries, rng.integers(0, 2, size), strict=True)
        ]
        labels = [float(title != "poor film") for title in titles]
        write_table(folder / name, {"query": list(queries), "title": titles, "label": labels})
    return folder


def tuning(preset: Path, **changes: object) -> TeacherConfig:
    """Returns TUNING with an encoder and some changes."""
    return dataclasses.replace(TUNING, preset=str(preset), **changes)


def saved_step(out: Path) -> int:
    """Reads the step of a training's newest checkpoint; 0 if there is none yet."""
    state = out / "checkpoints" / "state.safetensors"
    if not state.exists():
        return 0
    with safe_open(state, "np") as file:
        return json.loads(file.metadata()["progress"])["step"]


def _byte_pairs() -> tuple[dict[str, int], list[str]]:
    """Makes a vocabulary of letters and of the pairs that WORDS begin with; "Ġ" stands for a space."""
    merges = sorted({f"Ġ {word[0]}" for word in WORDS} | {f"{word[0]} {word[1]}" for word in WORDS if len(word) > 1})
    tokens = ["<s>", "<pad>", "</s>", "<mask>", "Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: number for number, token in enumerate(tokens)}, merges


def sentence_pieces(
    pad: str, unknown: str, start: str, end: str, mask: str = "", texts: Sequence[str] = WORDS, size: int = 60
) -> bytes:
    """Trains a SentencePiece model; without `pad`, as in XLM-R's file, or without `mask` there is no such piece."""
    model = io.BytesIO()
    ids = iter(range(4))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(texts), *texts] * 3),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        model_type="unigram",
        character_coverage=1.0,
        pad_id=next(ids) if pad else -1,
        unk_id=next(ids),
        bos_id=next(ids),
        eos_id=next(ids),
        pad_piece=pad or "<pad>",
        unk_piece=unknown,
        bos_piece=start,
        eos_piece=end,
        user_defined_symbols=[mask] if mask else [],
        minloglevel=2,
    )
    return model.getvalue()
