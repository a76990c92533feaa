"""Strings to ids in the graph, held against references that share no code with it."""

import json
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_hub.tokenizers import BertTokenizer

from tfb2d.students import text_spec
from tfb2d.students.fingerprint import fingerprint64
from tfb2d.teachers.tokens import reference_word_pieces
from tfb2d.twin.bert_text import BertText
from tfb2d.twin.inputs import NGramInputs, TriLetterInputs, WordPieceInputs, inputs_from_spec

SCRIPTS = {
    "Latin": "Café crème à la carte, naïve Ærøskøbing Łódź İstanbul ıslak straße ﬁne ½ Ⅳ Ａｄ",
    "Vietnamese": "Điện thoại di động giá rẻ",
    "Greek": "Ὀδυσσεύς και οι ΣΕΙΡΗΝΕΣ, ᾳ ΐ",
    "Cyrillic": "Ёлка и чай, йогурт; Україна ґанок",
    "Armenian": "Հայաստան և գիրք։",
    "Georgian": "საქართველო Ქართული",
    "Hebrew": "שָׁלוֹם עולם־טוב",
    "Arabic": "السَّلامُ عليكم، كتابٌ ٣٫٥",
    "Syriac": "ܫܠܡܐ ܥܠܡܐ",
    "Devanagari": "नमस्ते दुनिया। क़लम",
    "Bengali": "বাংলা ভাষা ড়",
    "Gurmukhi": "ਪੰਜਾਬੀ ਸ਼ਬਦ",
    "Gujarati": "ગુજરાતી શબ્દ",
    "Oriya": "ଓଡ଼ିଆ ଭାଷା",
    "Tamil": "தமிழ் மொழி கொ",
    "Telugu": "తెలుగు భాష",
    "Kannada": "ಕನ್ನಡ ಭಾಷೆ ೋ",
    "Malayalam": "മലയാളം ഭാഷ",
    "Sinhala": "සිංහල භාෂාව",
    "Thai": "ภาษาไทย น้ำ",
    "Lao": "ພາສາລາວ",
    "Tibetan": "བོད་སྐད།",
    "Burmese": "မြန်မာ ဘာသာ။",
    "Khmer": "ភាសាខ្មែរ។",
    "Ethiopic": "አማርኛ ፡ ቋንቋ",
    "Cherokee": "ᏣᎳᎩ ꮳꮃꭹ",
    "Hangul": "한국어 단어 가각",
    "Japanese": "日本語テスト、ガギグ ｶﾞ",
    "Chinese": "中文标题，豈更 手机壳iPhone",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ",
    "Emoji": "👍🏽 ok ❤️ 👨‍👩‍👧",
    "Symbols": "€5 £ ≥ ± × ™ ® № ′ ″ “quoted” – — … ¿ ¡ «»",
    "Controls": "a\x00b\x07c\x1fd\x7fe\x85f\u200bg\ufeffh\u00adi\u2028j\u00a0k\x0bl\x0cm\tn\r\no\ufffdp\ue000q",
    "Special": "[SEP] usb [CLS][PAD] [UNK] ##ing [MASK]",
    "Long": "x" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "ü" * 101 + " " + "z" * 1000,
    "Empty": "",
    "Space": " \t\n\u3000 ",
}


def vocabulary_of(texts: list[str]) -> list[str]:
    """Makes a vocabulary that has most characters of texts, alone and inside a word, and some whole words."""
    forms = [form for text in texts for form in (text, text.lower(), normalize("NFD", text.lower()))]
    characters = sorted({c for form in forms for c in form if not c.isspace() and c != "\0"})
    words = ["usb", "cafe", "caf", "café", "##e", "##é", "sep", "ing"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters), *words]
    return list(dict.fromkeys(pieces))


VOCABULARY = vocabulary_of(list(SCRIPTS.values()))


def word_pieces(lowercase: bool, strip_accents: bool, max_length: int = 2048) -> tuple[WordPieceInputs, Any]:
    tokenizer = BertTokenizer(VOCABULARY, lowercase=lowercase, strip_accents=strip_accents)
    return WordPieceInputs(VOCABULARY, lowercase, strip_accents, max_length), reference_word_pieces(tokenizer)


@pytest.mark.parametrize(("lowercase", "strip_accents"), [(True, True), (True, False), (False, False)])
def test_word_pieces_are_those_of_the_tokenizers_library_in_every_script(lowercase: bool, strip_accents: bool) -> None:
    inputs, reference = word_pieces(lowercase, strip_accents)
    texts = list(SCRIPTS.values())
    ids = inputs.pieces(tf.constant(texts)).to_list()
    assert dict(zip(SCRIPTS, ids, strict=True)) == dict(zip(SCRIPTS, reference(texts), strict=True))
    assert sum(piece != VOCABULARY.index("[UNK]") for row in ids for piece in row) > 600


@pytest.mark.parametrize(("lowercase", "strip_accents"), [(True, True), (False, False)])
def test_every_code_point_is_cut_as_the_tokenizers_library_cuts_it(lowercase: bool, strip_accents: bool) -> None:
    inputs, reference = word_pieces(lowercase, strip_accents)
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    # Private and unassigned planes are long; every 64th of their code points is enough.
    codes = [code for code in codes if code < 0x32000 or code % 64 in (0, 63)]
    texts = [f"c{chr(code)}c" for code in codes]
    ids = inputs.pieces(tf.constant(texts)).to_list()
    wrong = [hex(code) for code, mine, theirs in zip(codes, ids, reference(texts), strict=True) if mine != theirs]
    assert wrong == []


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_word_pieces_of_any_texts_are_those_of_the_tokenizers_library(texts: list[str]) -> None:
    inputs, reference = WORD_PIECES
    assert inputs.pieces(tf.constant([text.encode() for text in texts])).to_list() == reference(texts)


WORD_PIECES = word_pieces(True, True)


def test_bytes_that_are_not_utf_8_are_left_out_like_the_replacement_character() -> None:
    inputs, reference = WORD_PIECES
    data = [b"caf\xe9 \xff\xfeusb", b"\xe4\xb8", b"a\xf0\x9f\x91b"]
    assert inputs.pieces(tf.constant(data)).to_list() == reference([text.decode("utf-8", "replace") for text in data])


def test_plain_texts_have_the_same_words_alone_as_beside_texts_that_need_the_table() -> None:
    normalized = BertText(True, True)
    plain = "".join(map(chr, [9, 10, 13, *range(32, 127)]))
    alone, beside = normalized(tf.constant([plain]))[0], normalized(tf.constant([plain, "é"]))[0]
    assert alone.numpy().split() == beside.numpy().split()


def test_word_piece_rows_have_special_tokens_and_padding() -> None:
    inputs, _ = word_pieces(True, True, max_length=6)
    ids = {piece: index for index, piece in enumerate(VOCABULARY)}
    rows = inputs(tf.constant(["usb", "", "café usb usb usb usb usb"]))
    cls, sep, pad, usb = (ids[name] for name in ("[CLS]", "[SEP]", "[PAD]", "usb"))
    assert rows["token_ids"].numpy().tolist() == [
        [cls, usb, sep, pad, pad, pad],
        [cls, sep, pad, pad, pad, pad],
        [cls, ids["cafe"], usb, usb, usb, sep],
    ]
    assert rows["padding_mask"].numpy().tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1] * 6]
    assert {tensor.dtype for tensor in rows.values()} == {tf.int32}


@pytest.mark.parametrize(
    ("vocabulary", "length", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]"], 8, "lacks the special tokens"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "a"], 8, "'a' twice"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]"], 1, "max_length is 1"),
    ],
)
def test_word_pieces_refuse_vocabularies_that_cannot_be_used(vocabulary: list[str], length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordPieceInputs(vocabulary, True, True, length)


def tri_letters(text: str | bytes, inputs: TriLetterInputs) -> list[list[int]]:
    """Hashes tri-letters as the paper describes them, in plain Python."""
    rows = []
    for word in text_spec.tokens(text, inputs.max_words):
        marked = f"#{word.decode()}#"
        windows = [marked[start : start + 3] for start in range(len(marked) - 2)][: inputs.max_letters]
        rows.append([fingerprint64(window.encode()) % (inputs.buckets - 1) + 1 for window in windows])
    return rows


def unpadded(ids: np.ndarray) -> list[list[list[int]]]:
    return [[[i for i in word if i] for word in text if word[0]] for text in ids.tolist()]


def test_tri_letters_of_the_papers_kind() -> None:
    inputs = TriLetterInputs(1000, 4)
    ids = inputs(tf.constant(["Bing ads", "a", "", "ж" * 30]))["ids"].numpy()

    def hashed(*windows: str) -> list[int]:
        return [fingerprint64(window.encode()) % 999 + 1 for window in windows]

    assert unpadded(ids) == [
        [hashed("#bi", "bin", "ing", "ng#"), hashed("#ad", "ads", "ds#")],
        [hashed("#a#")],
        [],
        [hashed("#жж", *["жжж"] * 19)],
    ]
    assert ids.shape == (4, 2, 20)


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=20)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_tri_letters_of_any_texts_are_those_of_plain_python(texts: list[str | bytes]) -> None:
    inputs = TriLetterInputs(2**18, 5, 4)
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    assert unpadded(inputs(tf.constant(data))["ids"].numpy()) == [tri_letters(text, inputs) for text in texts]


def test_tri_letters_and_n_grams_are_core_operations_alone() -> None:
    for inputs in (TriLetterInputs(64, 8), NGramInputs(64, (1, 2), 8)):
        graph = tf.function(inputs).get_concrete_function(tf.TensorSpec([None], tf.string)).graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        assert not [node.op for node in nodes if "Wordpiece" in node.op or "Table" in node.op]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_n_grams_are_those_of_the_hash_spec(texts: list[str]) -> None:
    inputs = NGramInputs(5000, (1, 2), 6)
    outputs = inputs(tf.constant([text.encode() for text in texts]))
    for text, ids, length in zip(texts, outputs["ids"].numpy(), outputs["lengths"].numpy(), strict=True):
        expected = text_spec.ngram_ids(text_spec.token_hashes(text, 6), (1, 2), 5000)
        assert length == len(expected)
        assert ids[:length].tolist() == expected.tolist()
        assert not ids[length:].any()


@pytest.mark.parametrize(
    "inputs",
    [WordPieceInputs(VOCABULARY, True, False, 9), TriLetterInputs(64, 8, 5), NGramInputs(64, (1, 3), 7)],
    ids=["wordpiece", "triletters", "ngrams"],
)
def test_a_spec_gives_the_same_inputs_back(inputs: Any) -> None:
    again = inputs_from_spec(json.loads(json.dumps(inputs.spec())))
    assert json.dumps(again.spec()) == json.dumps(inputs.spec())
    texts = tf.constant(["Café USB cable 3.5 mm", ""])
    for name, tensor in inputs(texts).items():
        assert np.array_equal(again(texts)[name], tensor)


def test_unknown_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="wordpiece, triletters, ngrams"):
        inputs_from_spec({"kind": "bytes"})


@pytest.mark.parametrize("inputs", [WORD_PIECES[0], TriLetterInputs(64, 8), NGramInputs(64, (1, 2), 8)])
def test_no_texts_and_a_text_of_a_megabyte_are_taken(inputs: Any) -> None:
    assert {tensor.shape[0] for tensor in inputs(tf.constant([], tf.string)).values()} == {0}
    large = tf.constant(["wörd " * 200_000, "a" * 1_000_000])
    assert {tensor.shape[0] for tensor in inputs(large).values()} == {2}
