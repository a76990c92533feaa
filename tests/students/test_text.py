"""The hash spec: the graph, the plain Python form and docs/hash_spec.md agree on every string."""

import hashlib
import json
import os
import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.students import text_tables
from tfb2d.students import text, text_spec
from tfb2d.students.hashing import Hashed, arrow_texts, hasher

ORDERS, BUCKETS, MAX_TOKENS = (1, 2, 3), 1_000_003, 8
DOCUMENT = Path(__file__).parents[2].joinpath("docs/hash_spec.md").read_text(encoding="utf-8")
VECTORS, AFFIX_VECTORS = (json.loads(part.split("```")[0]) for part in DOCUMENT.split("```json")[1:])
PARTS = [  # what a broken UTF-8 text is made of
    *(bytes([byte]) for byte in b"\x00\x1f\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xed\xef\xf0\xf4\xf8\xff aZ1.,'"),
    *(character.encode("utf-8", "surrogatepass") for character in "éΣ\u0301漢\ud800\udfff\ufeff🙂"),
]
NASTY = [
    "",
    " \t\r\n\v\f",
    "ΑΣ ΣΑΣ Σ ς",
    "İIıi",
    "Straße ẞ",
    "ǄǅǆǇ ﬀ",
    "a\u0301\u0327 ệ",
    "שָׁלוֹם مرحبا، عليكم؟",
    "👩‍👩‍👧‍👦 ❤️ 🇩🇪 1️⃣",
    "漢字\U00020000\U0002fa1dかな",
    "\ufeffa\u200bb\u00a0c\u3000d\u0085e\u2028f\u001cg",
    "don't 3.5\" 1,000.00. v1.2.3 1..2 .5 5. a-b 55sk8500pla",
    "१२.३४",
    "\U0010ffff\ufffe\ufdd0",
    b"a\x00b\x00",
    b"caf\xe9",  # Latin-1
    b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",  # overlong
    b"\xed\xa0\x80\xed\xbf\xbf",  # surrogates
    b"\xf4\x90\x80\x80\xf8\x88\x80\x80\x80",  # above U+10FFFF
    b"a\xe2\x82 \xf0\x9f\x98x\xf0\x9f",  # cut short
    b"\x80\xbf\xfe\xff",
    b"x" * 100_000,
    "é".encode() * 50_000,
]


@cache
def graph(
    max_tokens: int, orders: tuple[int, ...] = ORDERS, buckets: int = BUCKETS
) -> tf.types.experimental.GenericFunction:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def run(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        hashes = text.token_hashes(texts, max_tokens)
        return hashes.values, hashes.row_splits, text.ngram_ids(hashes, orders, buckets)

    return run


def assert_same(texts: list, max_tokens: int = MAX_TOKENS) -> None:
    """The graph's hashes and ids of a batch are those of the plain Python form."""
    data = [item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item for item in texts]
    values, splits, ids = (tensor.numpy() for tensor in graph(max_tokens)(tf.constant(data, tf.string, [len(data)])))
    expected = [text_spec.token_hashes(item, max_tokens) for item in texts]
    np.testing.assert_array_equal(np.diff(splits), [len(row) for row in expected])
    together = np.concatenate([np.zeros(0, np.int64), *expected])
    np.testing.assert_array_equal(values, together)
    assert ids.dtype == np.int32
    assert ids.shape == (len(values), len(ORDERS))
    np.testing.assert_array_equal(ids, text_spec.ngram_ids(together, ORDERS, BUCKETS, splits))
    alone = [text_spec.ngram_ids(row, ORDERS, BUCKETS) for row in expected]
    np.testing.assert_array_equal(ids, np.concatenate([np.zeros((0, len(ORDERS)), np.int32), *alone]))


@settings(max_examples=200)
@given(
    st.lists(st.text(st.characters(codec=None), max_size=40) | st.binary(max_size=40), max_size=5),
    st.sampled_from([1, 2, 8]),
)
def test_graph_is_python_for_any_batch(texts: list, max_tokens: int) -> None:
    assert_same(texts, max_tokens)


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join), max_size=20))
def test_graph_is_python_for_broken_utf8(texts: list) -> None:
    assert_same(texts)


def test_graph_is_python_for_much_broken_utf8() -> None:
    rng = random.Random(0)
    assert_same([b"".join(rng.choices(PARTS, k=rng.randrange(12))) for _ in range(10_000)])
    assert_same([rng.randbytes(rng.randrange(300)) for _ in range(500)])


@pytest.mark.parametrize("max_tokens", [1, 3, 1000])
def test_nasty_texts(max_tokens: int) -> None:
    assert_same(NASTY, max_tokens)
    for item in NASTY:
        assert_same([item], max_tokens)


@pytest.mark.parametrize("texts", [[], [""], [" ", "\0", "\u200d"], ["", "a", "", "", "b c", ""]])
def test_rows_without_tokens(texts: list) -> None:
    assert_same(texts)


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.sampled_from(" \t\n\x1c\u00ad\u2028\u3000aZé1.,'-漢") | st.characters(codec="utf-8")), max_size=6
    )
)
def test_rows_hashed_by_words_are_those_of_whole_texts(texts: list[str]) -> None:
    assert_same_by_words(texts)


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.lists(st.sampled_from([b" ", b"\xff", b"a", b"\xc3", b"\xe6\xbc"])).map(b"".join)
    )
)
def test_bytes_hashed_by_words_are_those_of_whole_texts(texts: list[bytes]) -> None:
    assert_same_by_words(texts)


def test_nasty_rows_hashed_by_words() -> None:
    # Words without tokens come before others; the last texts have more words than tokens are kept, and the other way round.
    others = ["\u00ad " * 20 + "a b", "a b " * 20 + "c", "a-b-c-" * 20 + "d"]
    assert_same_by_words([*NASTY, *others])


@cache
def by_words(affixes: tuple[int, ...]) -> Callable[[Sequence[pa.Array]], Hashed]:
    return hasher(MAX_TOKENS, affixes)


def assert_same_by_words(texts: Sequence[str | bytes]) -> None:
    fields = (texts, texts[::-1])
    for affixes in ((), (2, 3)):
        hashed = by_words(affixes)([arrow_texts(column) for column in fields])
        for column, (hashes, splits) in zip(fields, hashed, strict=True):
            rows = [text_spec.token_hashes(item, MAX_TOKENS, affixes).tolist() for item in column]
            assert [row.tolist() for row in np.split(hashes, splits[1:-1])] == (rows or [[]])
            assert splits.tolist() == [0, *np.cumsum([len(row) for row in rows])]


def test_many_tokens() -> None:
    words = " ".join(f"w{i}" for i in range(100_000))
    assert_same([words, "a b", words.replace(" ", ",")], 400_000)
    assert_same([words, "a b", words.replace(" ", ",")], 3)


def test_every_code_point() -> None:
    """All of Unicode between letters, so that it shows what joins, what parts and what stands alone."""
    rows = ["".join(f"x{chr(code)}Y " for code in range(start, start + 256)) for start in range(0, 0x110000, 256)]
    data = [row.encode("utf-8", "surrogatepass") for row in rows]
    values, splits, _ = graph(10_000)(tf.constant(data))
    expected = [text_spec.tokens(row, 10_000) for row in data]
    np.testing.assert_array_equal(np.diff(splits), [len(row) for row in expected])
    hashed = tf.strings.to_hash_bucket_fast([token for row in expected for token in row], text_spec.TOKEN_MODULUS)
    np.testing.assert_array_equal(values, hashed)


def test_fingerprints() -> None:
    rng = random.Random(1)
    data = [rng.randbytes(size) for size in range(301) for _ in range(3)] + [bytes(size) for size in range(301)]
    expected = tf.strings.to_hash_bucket_fast(data, text_spec.TOKEN_MODULUS).numpy().tolist()
    assert [text_spec.fingerprint64(item) % text_spec.TOKEN_MODULUS for item in data] == expected


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector.get("text", vector.get("bytes"))))
def test_vectors_of_the_document(vector: dict) -> None:
    item = vector["text"] if "text" in vector else bytes.fromhex(vector["bytes"])
    assert [token.decode() for token in text_spec.tokens(item, MAX_TOKENS)] == vector["tokens"]
    hashes = text_spec.token_hashes(item, MAX_TOKENS)
    assert [str(value) for value in hashes.tolist()] == vector["hashes"]
    assert text_spec.ngram_ids(hashes, ORDERS, BUCKETS).tolist() == vector["ids"]
    assert_same([item])


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("Don't stop!", "don ' t stop !"),
        ('3.5" 1,000.00. v1.2 5. .5', '3.5 " 1,000.00 . v 1.2 5 . . 5'),
        ("16GB/256GB wi-fi a_b 50% C++", "16 gb / 256 gb wi - fi a _ b 50 % c + +"),
        ("55SK8500PLA 55 sk8500", "55 sk 8500 pla 55 sk 8500"),
        ("CAFÉ cafe\u0301", "cafe cafe"),
        ("ΣΊΣΥΦΟΣ σίσυφος", "σισυφοσ σισυφοσ"),
        ("İstanbul ISPARTA", "istanbul isparta"),
        ("東京タワー", "東 京 タワー"),
        ("10×15 “so” – ok", '10 x 15 " so " - ok'),
        ("co\u00adop 🙂🙂", "coop 🙂 🙂"),
        (b"caf\xe9s", "caf \ufffd s"),
        (b"a\x00b\x7fc", "a b c"),
    ],
)
def test_tokens(item: str | bytes, expected: str) -> None:
    assert [token.decode() for token in text_spec.tokens(item, 99)] == expected.split()


def test_order_counts_and_texts_do_not_mix() -> None:
    def ids(*texts: str) -> np.ndarray:
        return graph(99)(tf.constant(texts))[2].numpy()

    assert not np.any(ids("dog bites man")[0] == ids("man bites dog")[0])
    np.testing.assert_array_equal(ids("a b", "c"), np.concatenate([ids("a b"), ids("c")]))
    assert ids("a b")[1, 0] == ids("b a")[0, 0]  # a token's own id does not depend on its place
    assert ids("a b")[1, 1] != ids("b a")[0, 1]
    assert len(set(ids("a")[0])) == len(ORDERS)  # the text's end is another n-gram for each order


def test_the_end_mark_is_no_tokens_hash() -> None:
    assert text_spec.END < 0
    texts = tf.constant([str(number) for number in range(10_000)])
    assert graph(1)(texts)[0].numpy().min() >= 0


@given(
    st.lists(st.integers(0, text_spec.TOKEN_MODULUS - 1), max_size=6),
    st.permutations([1, 2, 3, 4]).flatmap(lambda orders: st.integers(1, 4).map(lambda n: tuple(orders[:n]))),
    st.sampled_from([1, 2, 1000, 2**20, 2**31 - 1]) | st.integers(1, 2**31 - 1),
)
def test_ids_follow_the_formula(hashes: list[int], orders: tuple[int, ...], buckets: int) -> None:
    """Both forms against the document's formula, in Python's unbounded integers."""

    def signed(value: int) -> int:
        return (value + 2**63) % 2**64 - 2**63

    def gram(order: int, at: int) -> int:
        if order == 1:
            return hashes[at]
        others = gram(order - 1, at + 1) if at + 1 < len(hashes) else -1
        return hashes[at] ^ signed(-7046029254386353131 * (2 * order - 3) * others)

    expected = [
        [(signed(gram(order, at) * -2960836687051489901) >> 32) % buckets for order in orders]
        for at in range(len(hashes))
    ]
    row = np.array(hashes, np.int64)
    assert text_spec.ngram_ids(row, orders, buckets).tolist() == expected
    ragged = tf.RaggedTensor.from_row_splits(row, [0, len(hashes)])
    assert text.ngram_ids(ragged, orders, buckets).numpy().tolist() == expected


@given(
    st.lists(st.lists(st.integers(0, text_spec.TOKEN_MODULUS - 1), max_size=5), max_size=4),
    st.integers(1, 6),
    st.sampled_from([1, 1000, 2**31 - 1]) | st.integers(1, 2**31 - 1),
)
def test_offset_ids_follow_the_formula(rows: list[list[int]], window: int, buckets: int) -> None:
    """Both forms against the document's formula, in Python's unbounded integers."""
    factors = [1] + [-7046029254386353131 * (2 * offset - 1) for offset in range(1, window)]
    expected = []
    for hashes in rows:
        for at in range(len(hashes)):
            ahead = [hashes[at + k] if at + k < len(hashes) else -1 for k in range(window)]
            mixed = [entry * factor * -2960836687051489901 for entry, factor in zip(ahead, factors, strict=True)]
            expected.append([(((entry + 2**63) % 2**64 - 2**63) >> 32) % buckets for entry in mixed])
    splits = np.cumsum([0, *map(len, rows)])
    flat = np.array([entry for hashes in rows for entry in hashes], np.int64)
    assert text_spec.composed_ids(flat, window, buckets, row_splits=splits).tolist() == expected
    texts = np.repeat(np.arange(len(rows)), np.diff(splits))
    assert text.composed_ids(tf.constant(flat), tf.constant(texts), window, buckets).numpy().tolist() == expected
    assert by_parts(flat, tf.constant(texts, tf.int64), window, buckets) == expected
    if len(rows) == 1:
        assert text_spec.composed_ids(flat, window, buckets).tolist() == expected


@settings(max_examples=150)
@given(
    st.text(st.characters(codec=None), max_size=40) | st.binary(max_size=40) | st.sampled_from(NASTY[:20]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1, 3, 8]),
)
def test_affixes_have_their_bits_in_a_tokens_hash(string: str | bytes, prefix: int, suffix: int) -> None:
    """Both forms against the document's formula."""
    actual = text_spec.token_hashes(string, MAX_TOKENS, (prefix, suffix))
    data = string.encode("utf-8", "surrogatepass") if isinstance(string, str) else string
    in_graph = affix_graph(prefix, suffix)(tf.constant([data]))
    assert actual.tolist() == in_graph.numpy().tolist()
    for token, entry in zip(text_spec.tokens(string, MAX_TOKENS), actual.tolist(), strict=True):
        padded = b" " * suffix + token
        parts = [text_spec.fingerprint64(part) % 2**21 for part in (token, token[:prefix], padded[-suffix:])]
        assert entry == parts[0] * 2**42 + parts[1] * 2**21 + parts[2]


@pytest.mark.parametrize("vector", AFFIX_VECTORS, ids=lambda vector: repr(vector["text"]))
def test_vectors_with_affixes_and_a_vocabulary(vector: dict) -> None:
    vocabulary = np.array([2514307214708198810, 6220986979795320296, 6238741902026667531, text_spec.UNUSED])
    affixes, window = (5, 3), 2
    hashes = text_spec.token_hashes(vector["text"], MAX_TOKENS, affixes)
    assert [str(entry) for entry in hashes] == vector["hashes"]
    texts = tf.zeros(len(hashes), tf.int64)
    for name, known in (("ids", None), ("known", vocabulary)):
        assert text_spec.composed_ids(hashes, window, BUCKETS, affixes, known).tolist() == vector[name]
        in_graph = text.composed_ids(tf.constant(hashes), texts, window, BUCKETS, affixes, known)
        assert in_graph.numpy().tolist() == vector[name]


def by_parts(flat: np.ndarray, texts: tf.Tensor, window: int, *shape: object) -> list[list[int]]:
    """Computes composed ids from those of the distinct tokens, as the served graph reads them in a batch."""
    known, at = tf.unique(tf.constant(flat))
    parts = text.part_ids(known, window, *shape).numpy()
    here = at.numpy() + 1
    columns = [parts[here, window - 1]]
    if window > 1:
        columns += [parts[row, k] for k, row in enumerate(text.following(at + 1, texts, window).numpy().T)]
    return np.stack([*columns, *parts[here, window:].T], 1).tolist()


@cache
def affix_graph(prefix: int, suffix: int):
    return tf.function(
        lambda texts: text.token_hashes(texts, MAX_TOKENS, (prefix, suffix)).values,
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


HASHES = st.integers(0, 2**63 - 2)


@given(
    st.lists(st.lists(st.sampled_from([0, 3, 2**41, 2**62 + 5, 2**63 - 2]) | HASHES, max_size=5), max_size=4),
    st.integers(1, 4),
    st.sets(st.sampled_from([0, 3, 2**62 + 5]) | HASHES, min_size=1, max_size=6),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 1000),
)
def test_ids_of_a_vocabulary_follow_the_formula(
    rows: list[list[int]], window: int, known: set[int], unused: int, affixed: bool, room: int
) -> None:
    """Both forms against the document's formula, in Python's unbounded integers."""
    vocabulary = [*sorted(known), *[2**63 - 1] * unused]
    first = (len(vocabulary) + 2) * window
    buckets = first + room + 1
    factors = [(2**42 - 2**21, -2960836687051489901), (2**21 - 1, -7046029254386353131)] * affixed

    def slot(value: int) -> int:
        return vocabulary.index(value) + 2 if value in known else 1

    expected = []
    for hashes in rows:
        for at, value in enumerate(hashes):
            ahead = [slot(hashes[at + k]) if at + k < len(hashes) else 0 for k in range(window)]
            ids = [entry * window + k for k, entry in enumerate(ahead)]
            for mask, factor in factors:
                mixed = ((value & mask) * factor + 2**63) % 2**64 - 2**63
                ids.append(first + (mixed >> 32) % (buckets - first))
            expected.append(ids)
    splits = np.cumsum([0, *map(len, rows)])
    flat = np.array([entry for hashes in rows for entry in hashes], np.int64)
    array, affixes = np.array(vocabulary, np.int64), (5, 3) if affixed else ()
    assert text_spec.composed_ids(flat, window, buckets, affixes, array, splits).tolist() == expected
    texts = tf.constant(np.repeat(np.arange(len(rows)), np.diff(splits)))
    assert by_parts(flat, texts, window, buckets, affixes, array) == expected
    actual = text.composed_ids(tf.constant(flat), texts, window, buckets, affixes, array)
    assert actual.numpy().tolist() == expected
    assert all(id_ < buckets for ids in expected for id_ in ids)


@pytest.mark.parametrize("buckets", [1000, 2**16, 100_003])
def test_ids_are_spread_evenly(snippets: Path, buckets: int) -> None:
    """Chi-square of a text's distinct n-grams within 5 standard deviations of a perfect hash's."""
    texts = snippets.read_text(encoding="utf-8").splitlines()[:4000]
    values, splits, widest = graph(99, ORDERS, 2**31 - 1)(tf.constant(texts))
    ids = text_spec.ngram_ids(values.numpy(), ORDERS, buckets, splits.numpy())
    for column in range(len(ORDERS)):
        distinct = np.unique(widest[:, column], return_index=True)[1]
        counts = np.bincount(ids[distinct, column], minlength=buckets)
        expected = len(distinct) / buckets
        chi_square = np.sum((counts - expected) ** 2) / expected
        assert abs(chi_square - (buckets - 1)) < 5 * np.sqrt(2 * (buckets - 1))


@pytest.mark.parametrize(("orders", "buckets"), [((), 9), ((0, 1), 9), ((1, 1), 9), ((1,), 0), ((1,), 2**31)])
def test_settings_that_cannot_work(orders: tuple[int, ...], buckets: int) -> None:
    with pytest.raises(ValueError, match=r"orders|buckets"):
        text_spec.ngram_ids(np.zeros(1, np.int64), orders, buckets)
    with pytest.raises(ValueError, match=r"orders|buckets"):
        text.ngram_ids(tf.ragged.constant([[1]], tf.int64), orders, buckets)


def test_no_tokens_asked_for() -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        text.token_hashes(tf.constant(["a"]), 0)


def test_tables_come_from_unicode() -> None:
    """The file is what the generator makes; with another Python's Unicode, as far as both know a character."""
    stored = {name: text_spec.SPEC[name] for name in ("fold", "isolated")}
    if unicodedata.unidata_version == text_spec.SPEC["unicode"]:
        assert text_tables.tables() == stored
    isolated = {code for first, last in stored["isolated"] for code in range(first, last + 1)}
    known = (code for code, to in text_spec.fold_table().items() if unicodedata.category(chr(code)) != "Cn")
    assert all(text_tables.fold(code) == text_spec.fold_table()[code] for code in known)
    target = {code for code in range(0x3000) if unicodedata.category(chr(code)) != "Cn" and text_tables.isolated(code)}
    new = target - isolated
    assert not new or unicodedata.unidata_version > text_spec.SPEC["unicode"]


def test_a_published_table_never_changes() -> None:
    """Every trained model depends on it: what must change is a new file and a new version."""
    data = text_tables.PATH.read_bytes()
    assert hashlib.sha256(data).hexdigest() == "fcfaf8727abf125bc52069bae81ef07dcc3f952bcde8ed9d038f36abc1bc52d1"


SERVER = """
import sys, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print(served(tf.constant(["IİÌ Įi", "Σς A" + chr(0) + "B"]))["ids"].numpy().tolist())
assert "tfb2d" not in sys.modules
"""


def test_a_saved_graph_does_not_depend_on_the_locale(tmp_path: Path) -> None:
    """ICU, asked to lower-case, would follow the server's LANG; the saved graph also needs no tfb2d."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": text.ngram_ids(text.token_hashes(texts, 9), (1, 2), 1000)}

    module.serve = serve
    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    expected = serve(tf.constant(["IİÌ Įi", "Σς A\0B"]))["ids"].numpy().tolist()
    environment = {**os.environ, "LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == expected


def test_the_python_form_needs_no_tensorflow() -> None:
    code = "import sys, tfb2d.students.text_spec; assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
