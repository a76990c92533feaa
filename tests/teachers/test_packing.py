import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.teachers.harness import WORDS
from tfb2d.teachers.packing import BUCKETS, batches_by_tokens, bucket, shuffled_batches
from tfb2d.teachers.teacher import Teacher

words = st.lists(st.sampled_from([*WORDS, "ünknown", "shoes!"]), max_size=40).map(" ".join)


@settings(max_examples=50)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
def test_pairs_are_packed_as_keras_hub_packs_them(teacher: Teacher, rows: list[tuple[str, str]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    packer = teacher.packer
    inputs = packer.pad(packer.pack(columns), np.arange(len(rows)), packer.max_length)
    teacher.preprocessor.sequence_length = packer.max_length
    expected = teacher.preprocessor(x=tuple(columns))
    real = np.asarray(expected["padding_mask"]).astype(bool)
    assert (inputs["padding_mask"].astype(bool) == real).all()
    assert (inputs["token_ids"] == np.asarray(expected["token_ids"])).all()
    assert (inputs["segment_ids"][real] == np.asarray(expected["segment_ids"])[real]).all()


def test_a_short_query_is_kept_whole_beside_a_long_title(teacher: Teacher) -> None:
    packed = teacher.pack([["red shoe"], ["film " * 100]])
    assert packed.lengths.tolist() == [32]
    assert packed.second.tolist() == [4]  # [CLS] red shoe [SEP]


@pytest.mark.parametrize("text", ["the [MASK] hat", "[MASK]", "the[MASK]hat [MASK]", "[MASK] [MASK]", ""])
def test_the_mask_token_is_one_token_wherever_it_stands(teacher: Teacher, text: str) -> None:
    ids, lengths = teacher.packer.tokenize(["good", text, "bad"])
    pieces = [piece for part in text.split("[MASK]") for piece in [*part.split(), "[MASK]"]][:-1]
    assert lengths.tolist() == [1, len(pieces), 1]
    assert [teacher.packer.tokenizer.id_to_token(i) for i in ids] == ["good", *pieces, "bad"]


@given(st.integers(1, 600), st.integers(8, 600))
def test_buckets_hold_their_rows_and_end_at_the_longest(length: int, longest: int) -> None:
    size = bucket(min(length, longest), longest)
    assert min(length, longest) <= size <= longest
    assert size in BUCKETS or size == longest or size % 64 == 0


@given(st.lists(st.integers(1, 128), max_size=300), st.integers(1, 2000))
def test_batches_hold_each_row_once_and_few_tokens(lengths: list[int], batch_tokens: int) -> None:
    sizes = np.array(lengths, np.int64)
    batches = list(batches_by_tokens(sizes, batch_tokens, 128))
    assert sorted(np.concatenate([*batches, []]).astype(int)) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * bucket(sizes[rows].max(), 128) <= batch_tokens for rows in batches)


def test_an_epoch_is_shuffled_but_hardly_padded() -> None:
    lengths = np.random.default_rng(0).integers(4, 128, 5000)
    batches = shuffled_batches(lengths, 32, np.random.default_rng(1))
    assert sorted(np.concatenate(batches)) == list(range(5000))
    padded = sum(len(rows) * bucket(lengths[rows].max(), 128) for rows in batches)
    assert padded < 1.15 * lengths.sum()  # 2 times, if batches were drawn at random
    firsts = np.array([lengths[rows].mean() for rows in batches])
    assert abs(np.corrcoef(firsts, np.arange(len(firsts)))[0, 1]) < 0.2  # no short-to-long order between batches
    again = shuffled_batches(lengths, 32, np.random.default_rng(1))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    other = shuffled_batches(lengths, 32, np.random.default_rng(2))
    assert set(map(frozenset, other)).isdisjoint(map(frozenset, batches))
