"""Token ids of every WordPiece family beside those of the `tokenizers` library, on text in 20 scripts."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import BertWordPieceTokenizer, Tokenizer

from tests.teachers.harness import PAIR, SINGLE, mpnet_pieces, save_encoder, write_table
from tests.teachers.scripts import TEXTS, uncased
from tfb2d.config import ConfigError, LabelConfig, TeacherConfig
from tfb2d.data.tables import read_table
from tfb2d.teachers.hugging_face import read_settings
from tfb2d.teachers.label import label_folder
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.saved import teacher_identity
from tfb2d.teachers.teacher import Teacher, load_teacher

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WHOLE = ["the", "cafe", "naive", "strasse", "straße", "café", "Café"]


def vocabulary(prepare: Callable[[str], str], known: Sequence[str] = tuple(TEXTS)) -> list[str]:
    """Returns special tokens, a few words, and a piece for each character in the texts."""
    characters = sorted({c for name in known for c in prepare(TEXTS[name]) if not c.isspace()})
    words = dict.fromkeys(prepare(word) for word in WHOLE)
    return list(dict.fromkeys([*SPECIAL, *words, *characters, *(f"##{character}" for character in characters)]))


def reference(pieces: list[str], lowercase: bool, strip_accents: bool | None) -> Callable[[str], list[int]]:
    tokenizer = BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, lowercase=lowercase, strip_accents=strip_accents
    )
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def ids_of(teacher: Teacher, text: str) -> list[int]:
    return teacher.packer.tokenize([text])[0].tolist()


def check(teacher: Teacher, expected: Callable[[str], list[int]]) -> None:
    """Compares the ids of all texts, cut at special tokens, which teachers do not make of a text."""
    for name, text in TEXTS.items():
        text = text.replace("[SEP]", "").replace("[CLS]", "")
        assert ids_of(teacher, text) == expected(text), name


def hugging_face(folder: Path, model_type: str, pieces: list[str], files: dict[str, Any]) -> Path:
    """Writes a tiny encoder of zeros, as Hugging Face's libraries do."""
    folder.mkdir(parents=True)
    size = {"bert": "hidden_size", "distilbert": "dim", "mpnet": "hidden_size"}[model_type]
    config = {
        "model_type": model_type,
        "architectures": ["Encoder"],
        "vocab_size": len(pieces),
        size: 8,
        "max_position_embeddings": 34,
        "type_vocab_size": 2,
        "hidden_dropout_prob": 0.1,
        "dropout": 0.1,
        "relative_attention_num_buckets": 32,
        **dict.fromkeys(("num_hidden_layers", "n_layers"), 0),
        **dict.fromkeys(("num_attention_heads", "n_heads"), 2),
        **dict.fromkeys(("intermediate_size", "hidden_dim"), 16),
    }
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    prefix = {"bert": "", "distilbert": "distilbert.", "mpnet": ""}[model_type]
    shapes = {"word_embeddings.weight": (len(pieces), 8), "position_embeddings.weight": (34, 8)}
    shapes |= {"token_type_embeddings.weight": (2, 8), "LayerNorm.weight": (8,), "LayerNorm.bias": (8,)}
    tensors = {f"{prefix}embeddings.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors |= {
        "pooler.dense.weight": np.zeros((8, 8), np.float32),
        "pooler.dense.bias": np.zeros(8, np.float32),
        "encoder.relative_attention_bias.weight": np.zeros((32, 2), np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def load(preset: Path) -> Teacher:
    return Teacher(build_classifier(TeacherConfig(preset=str(preset), max_length=16), 1), SINGLE, 16)


def tokenizer_json(pieces: list[str], lowercase: bool, strip_accents: bool | None) -> dict[str, Any]:
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }
    return {"normalizer": normalizer, "model": {"type": "WordPiece", "vocab": {p: i for i, p in enumerate(pieces)}}}


def of_ids(first: int, second: int) -> dict[str, Any]:
    return {"model": {"type": "WordPiece", "vocab": {"a": first, "b": second}}}


NORMAL = {"normalizer": {"type": "BertNormalizer"}}


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "mpnet"])
@pytest.mark.parametrize(("lowercase", "strip_accents"), [(True, None), (True, False), (False, None), (False, True)])
def test_a_hugging_face_folder_is_read_as_the_reference_reads_it(
    model_type: str, lowercase: bool, strip_accents: bool | None, tmp_path: Path
) -> None:
    pieces = vocabulary({True: uncased, False: str}[lowercase and strip_accents is None])
    if lowercase and strip_accents is False:
        pieces = list(dict.fromkeys([*pieces, *vocabulary(str.lower)]))
    if model_type == "mpnet":
        pieces = mpnet_pieces(pieces)
    settings = {"do_lower_case": lowercase, "strip_accents": strip_accents}
    files = {"vocab.txt": "\n".join(pieces) + "\n", "tokenizer_config.json": settings}
    teacher = load(hugging_face(tmp_path / "preset", model_type, pieces, files))
    check(teacher, reference(pieces, lowercase, strip_accents))


@pytest.mark.parametrize("family", ["bert", "distil_bert", "electra", "mpnet", "roformer_v2"])
def test_a_kerashub_preset_strips_accents_where_its_vocabulary_has_none(family: str, tmp_path: Path) -> None:
    for lowercase, prepare in ((True, uncased), (False, str)):
        pieces = vocabulary(prepare)
        teacher = load(save_encoder(family, tmp_path / f"preset{lowercase}", pieces, lowercase))
        assert teacher.preprocessor.tokenizer.strip_accents == lowercase
        check(teacher, reference(teacher.preprocessor.tokenizer.get_vocabulary(), lowercase, lowercase))


def test_a_lower_casing_vocabulary_with_accents_keeps_them(tmp_path: Path) -> None:
    pieces = vocabulary(str.lower)  # as an uncased German BERT has it
    teacher = load(save_encoder("bert", tmp_path / "preset", pieces))
    check(teacher, reference(pieces, True, False))
    assert pieces[ids_of(teacher, "Café")[0]] == "café"


def test_the_default_encoder_reads_as_its_own_tokenizer_file_says(minilm: Path, snippets: Path) -> None:
    own = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    own.no_padding()
    own.no_truncation()
    config = TeacherConfig(preset=str(minilm), max_length=16, layers=1)
    teacher = Teacher(build_classifier(config, 1), SINGLE, 16)
    check(teacher, lambda text: own.encode(text, add_special_tokens=False).ids)
    texts = [line.split("\t")[0] for line in snippets.read_text(encoding="utf-8").splitlines()[1:]]
    accented = [text for text in texts if uncased(text) != text.lower()]
    assert len(accented) > 100
    unknown = own.token_to_id("[UNK]")
    for text in accented:
        ids = ids_of(teacher, text)
        assert unknown not in ids
        assert ids == own.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("config", "whole", "expected"),
    [
        ({"do_lower_case": True}, None, (True, True)),
        ({"do_lower_case": True, "strip_accents": None}, None, (True, True)),
        ({"do_lower_case": True, "strip_accents": False}, None, (True, False)),
        ({"do_lower_case": False}, None, (False, False)),
        ({"do_lower_case": False}, (True, None), (False, False)),  # tokenizer_config.json counts first
        (None, (False, None), (False, False)),
        (None, (True, False), (True, False)),
        ({}, (False, None), (False, False)),
        ({}, None, (True, True)),  # Hugging Face's default
        (None, None, (True, True)),
    ],
)
def test_settings_come_from_either_file(
    config: dict | None, whole: tuple | None, expected: tuple[bool, bool], tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if whole is not None:
        (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(["[UNK]", "a"], *whole)))
    settings = read_settings(tmp_path)
    assert (settings["lowercase"], settings["strip_accents"]) == expected
    assert settings["vocabulary"] == ["[UNK]", "a"]


def test_a_folder_without_a_vocabulary_file_has_it_in_its_tokenizer_file(tmp_path: Path) -> None:
    pieces = vocabulary(uncased)
    files = {"tokenizer.json": tokenizer_json(pieces, True, None)}
    teacher = load(hugging_face(tmp_path / "preset", "bert", pieces, files))
    check(teacher, reference(pieces, True, None))


@pytest.mark.parametrize("added", [True, False])
def test_gaps_between_ids_move_no_piece(added: bool, tmp_path: Path) -> None:
    """Ids are those of the library that wrote the file, where ids are missing in the vocabulary."""
    pieces = vocabulary(uncased, ["latin"])
    ids = {piece: index + 3 * (index > 4) + (index > 20) for index, piece in enumerate(pieces)}
    whole = tokenizer_json(pieces, True, None)
    whole["model"] |= {"vocab": dict(reversed(ids.items()))}
    whole["model"] |= {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    whole |= {"version": "1.0", "pre_tokenizer": {"type": "BertPreTokenizer"}}
    if added:  # a special token that stands beside the vocabulary
        del whole["model"]["vocab"]["[MASK]"]
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        whole["added_tokens"] = [{"id": ids["[MASK]"], "content": "[MASK]", "special": True, **flags}]
    own = Tokenizer.from_str(json.dumps(whole))
    rows = max(ids.values()) + 1
    preset = hugging_face(tmp_path / "preset", "bert", ["x"] * rows, {"tokenizer.json": whole})
    teacher = load(preset)
    assert teacher.packer.tokenizer.vocabulary_size() == rows
    for text in (TEXTS["latin"], "the cafe [no piece 6] no piece 6"):
        assert ids_of(teacher, text) == own.encode(text, add_special_tokens=False).ids
    assert {piece: teacher.packer.tokenizer.token_to_id(piece) for piece in pieces} == ids
    teacher.save(tmp_path / "saved", {"preset": "tiny"})
    assert ids_of(load_teacher(tmp_path / "saved"), TEXTS["latin"]) == ids_of(teacher, TEXTS["latin"])


@pytest.mark.parametrize("normalizer", [{"normalizer": None}, {}])
def test_a_tokenizer_without_a_normalizer_needs_its_setting(normalizer: dict, tmp_path: Path) -> None:
    """Without one the library keeps case and accents: "Café" is another word than "cafe"."""
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}} | normalizer)
    )
    with pytest.raises(ConfigError, match=r"its normalizer is null, .*do_lower_case"):
        read_settings(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read_settings(tmp_path) == {"vocabulary": ["[UNK]"], "lowercase": False, "strip_accents": False}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no vocab.txt, and there is no tokenizer.json either"),
        ({"tokenizer.json": NORMAL | {"model": {"type": "BPE"}}}, "no vocab.txt, and its tokenizer.json is of BPE"),
        ({"tokenizer.json": NORMAL}, "its tokenizer.json has no model of type WordPiece"),
        ({"tokenizer.json": {}}, "its tokenizer.json has no model of type WordPiece"),
        ({"tokenizer.json": NORMAL | {"model": {"type": "WordPiece"}}}, "has no model of type WordPiece with a vocab"),
        ({"tokenizer.json": NORMAL | of_ids(0, 0)}, "the id of piece 'b' is 0; ids are"),
        ({"tokenizer.json": NORMAL | of_ids(0, -1)}, "the id of piece 'b' is -1; ids are"),
        ({"tokenizer.json": NORMAL | of_ids(0, 10**9)}, "go up to 1,000,000,000; most"),
        ({"tokenizer_config.json": "{"}, "is not JSON"),
        ({"tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "MeCab"),
        ({"tokenizer_config.json": {"tokenize_chinese_chars": False}}, "tokenize_chinese_chars is false"),
        ({"tokenizer.json": {"normalizer": {"type": "Sequence"}}}, "do_lower_case"),
        ({"vocab.txt": "[UNK]\na\n"}, "its vocabulary cannot be used: .*special token"),
    ],
)
def test_a_folder_that_cannot_be_followed_says_why(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load(hugging_face(tmp_path / "preset", "bert", SPECIAL, files))


def keep_accents(teacher: Path) -> None:
    """Changes a saved teacher's own setting, which stands in more than one of KerasHub's files."""
    changed = 0
    for path in (teacher / "model").glob("*.json"):
        text = path.read_text()
        path.write_text(text.replace('"strip_accents": true', '"strip_accents": false'))
        changed += '"strip_accents": true' in text
    assert changed


def test_a_saved_teacher_keeps_what_it_learnt_with(tmp_path: Path) -> None:
    pieces = vocabulary(uncased, ["latin"])
    preset = save_encoder("bert", tmp_path / "preset", pieces)
    teacher = load(preset)
    teacher.save(tmp_path / "new", {"preset": "tiny"})
    again = load_teacher(tmp_path / "new")
    assert ids_of(again, TEXTS["latin"]) == ids_of(teacher, TEXTS["latin"])
    assert (again.word_vectors(["café"]) == again.word_vectors(["cafe"])).all()
    # As version 0.1 wrote it: KerasHub's own tokens, accents kept.
    old = shutil.copytree(tmp_path / "new", tmp_path / "old")
    about = json.loads((old / "teacher.json").read_text())
    (old / "teacher.json").write_text(
        json.dumps({k: v for k, v in about.items() if k not in ("word_pieces", "tokens")})
    )
    keep_accents(old)
    before = load_teacher(old)
    assert [pieces[i] for i in ids_of(before, "Café Straße the")] == ["[UNK]", "strasse", "the"]
    assert [pieces[i] for i in ids_of(again, "Café Straße the")] == ["cafe", "straße", "the"]
    before.save(tmp_path / "twice", {"preset": "tiny"})
    assert ids_of(load_teacher(tmp_path / "twice"), "Café Straße the") == ids_of(before, "Café Straße the")
    # Its encoder as another's start keeps the accents that it learnt with, too.
    assert load(old / "model").preprocessor.tokenizer.strip_accents is False
    tokens = [json.loads((tmp_path / name / "teacher.json").read_text())["tokens"] for name in ("new", "twice")]
    assert tokens[0] != tokens[1]


def test_labels_are_made_anew_where_tokens_change(tmp_path: Path) -> None:
    pieces = vocabulary(uncased, ["latin"])
    load(save_encoder("bert", tmp_path / "preset", pieces)).save(tmp_path / "teacher", {"preset": "tiny"})
    write_table(tmp_path / "rows", {"text": ["café", "naïve café"]})
    label_folder(tmp_path / "teacher", tmp_path / "rows", tmp_path / "out", LabelConfig(), False)
    first, identity = read_table(tmp_path / "out", ["logit"]), teacher_identity(tmp_path / "teacher")
    load_teacher(tmp_path / "teacher").save(tmp_path / "teacher", {"preset": "tiny"})
    assert teacher_identity(tmp_path / "teacher") == identity
    keep_accents(tmp_path / "teacher")
    load_teacher(tmp_path / "teacher").save(tmp_path / "teacher", {"preset": "tiny"})
    assert teacher_identity(tmp_path / "teacher") != identity  # with the same weights
    earlier = [tmp_path / "out"]  # nothing is taken from there
    label_folder(tmp_path / "teacher", tmp_path / "rows", tmp_path / "anew", LabelConfig(), False, earlier)
    assert read_table(tmp_path / "anew", ["logit"]) != first


def test_a_text_cannot_end_a_row(encoder: Callable[[str], Path]) -> None:
    """A special token that is written in a text is cut like other text: KerasHub does so, and Hugging Face does not."""
    config = TeacherConfig(preset=str(encoder("bert")), max_length=32)
    teacher = Teacher(build_classifier(config, 1), PAIR, 32)
    packed = teacher.pack([["[SEP] red [CLS]"], ["hat"]])
    separator = teacher.packer.tokenizer.sep_token_id
    assert packed.ids.tolist().count(separator) == 2
    assert packed.ids.tolist().count(teacher.packer.tokenizer.cls_token_id) == 1
