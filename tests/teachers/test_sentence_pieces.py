"""Pieces of the families other than WordPiece's beside those of the `tokenizers` library, on text in 20 scripts."""

import json
from collections.abc import Callable
from pathlib import Path

import keras_hub
import pytest
from sentencepiece import sentencepiece_model_pb2
from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers import models as pieces_of

from tests.teachers.harness import PREPROCESSORS, SINGLE, SPECIAL, save_encoder, sentence_pieces
from tests.teachers.scripts import TEXTS
from tfb2d.config import TeacherConfig
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.packing import Packer
from tfb2d.teachers.saved import FILE
from tfb2d.teachers.teacher import Teacher, load_teacher
from tfb2d.teachers.tokens import tokenizer_hash

MODELS = keras_hub.models
PLAIN = {name: text.replace("[SEP]", "").replace("[CLS]", "") for name, text in TEXTS.items()}


def reference(proto: bytes, steps: list) -> Callable[[str], list[str]]:
    """Returns the library's pieces by a SentencePiece file, after some normalizers, as Hugging Face's converters make it.

    Unlike SentencePiece it keeps a space at the end, and its Precompiled does not compose Hangul.
    """
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    tokenizer = Tokenizer(
        pieces_of.Unigram([(piece.piece, piece.score) for piece in model.pieces], model.trainer_spec.unk_id, False)
    )
    folding = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tokenizer.normalizer = normalizers.Sequence(
        [*steps, normalizers.NFC(), folding, normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return lambda text: [
        tokenizer.id_to_token(i) for i in tokenizer.encode(text.rstrip(), add_special_tokens=False).ids
    ]


@pytest.mark.parametrize("family", SPECIAL)
@pytest.mark.parametrize("cased", [True, False])
def test_sentence_pieces_are_those_of_pre_training(family: str, cased: bool) -> None:
    bare = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    written = normalizers.Sequence([] if cased else bare)
    texts = [written.normalize_str(text) for text in PLAIN.values()]
    proto = sentence_pieces(*SPECIAL[family], texts=texts, size=1000)
    tokenizer = PREPROCESSORS[family].tokenizer_cls(proto)
    packer = Packer(PREPROCESSORS[family](tokenizer), ("token_ids", "padding_mask"), 16)
    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')] if family == "albert" else []
    expected = reference(proto, [] if cased else [*quotes, *bare])
    for name, text in PLAIN.items():
        ids, _ = packer.tokenize([text])
        assert [tokenizer.id_to_token(int(i)) for i in ids] == expected(text), name
    if family == "albert":
        assert expected("``Café''") == expected('"Café"') or cased


def test_byte_pairs_are_those_of_the_library() -> None:
    """Also of numbers, contractions and runs of spaces, which split words."""
    own = ByteLevelBPETokenizer()
    texts = [*PLAIN.values(), *["In 2020 the 12345 films (1999's) don't cost $500 'til I'LL  see   item#1234"] * 5]
    own.train_from_iterator(texts, 900, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    model = json.loads(own.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    tokenizer = MODELS.RobertaTokenizer(model["vocab"], merges)
    packer = Packer(MODELS.RobertaTextClassifierPreprocessor(tokenizer), ("token_ids", "padding_mask"), 16)
    for text in texts:
        assert packer.tokenize([text])[0].tolist() == own.encode(text).ids, text
    ids = packer.tokenize(["a</s><s>"])[0].tolist()
    assert not {tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")} & set(ids)
    first = tokenizer_hash(tokenizer, reference=True)
    tokenizer.unsplittable_tokens = tokenizer.unsplittable_tokens[::-1]  # as another process may list them
    assert tokenizer_hash(tokenizer, reference=True) == first


def test_an_uncased_albert_reads_capitals_and_accents(tmp_path: Path) -> None:
    preset = save_encoder("albert", tmp_path / "preset")
    config = TeacherConfig(preset=str(preset), max_length=16)
    teacher = Teacher(build_classifier(config, 1), SINGLE, 16)
    plain = teacher.packer.tokenize(["the good film"])[0].tolist()
    unknown = teacher.packer.tokenizer.token_to_id("<unk>")
    assert unknown not in plain
    assert teacher.packer.tokenize(["The GOOD fílm"])[0].tolist() == plain
    assert teacher.packer.tokenize(["The [MASK]"])[0][-1] == teacher.packer.tokenizer.mask_token_id
    teacher.save(tmp_path / "new", {"preset": "tiny"})
    assert load_teacher(tmp_path / "new").packer.tokenize(["The GOOD fílm"])[0].tolist() == plain
    # One of before keeps the tokens that it learnt with.
    about = json.loads((tmp_path / "new" / FILE).read_text())
    (tmp_path / "new" / FILE).write_text(json.dumps(about | {"word_pieces": "tokenizers"}))
    before = load_teacher(tmp_path / "new")
    assert unknown in before.packer.tokenize(["The GOOD fílm"])[0].tolist()
    before.save(tmp_path / "twice", {"preset": "tiny"})
    assert unknown in load_teacher(tmp_path / "twice").packer.tokenize(["The"])[0].tolist()
    tokens = [json.loads((tmp_path / name / FILE).read_text())["tokens"] for name in ("new", "twice")]
    assert tokens[0] != tokens[1]
