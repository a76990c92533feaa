"""Row-wise int8: the error bound, rows of zeros, remaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfb2d.students.int8_table import CompressedTable, quantise

TABLES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, 1e-44, 1.0, -1.0]),
)


@given(TABLES)
def test_the_error_is_at_most_half_a_step(table: np.ndarray) -> None:
    packed = quantise(table)
    assert packed.values.dtype == np.int8
    assert packed.scale.dtype == np.float32
    error = np.abs(packed.vectors(np.arange(len(table))).astype(np.float64) - table)
    half = packed.scale.astype(np.float64)[:, None] / 2
    # Division and product are rounded to float32; rows below its normal range count as zero.
    assert (error <= half * (1 + 1e-4) + 127 * np.finfo(np.float32).tiny).all()


@given(TABLES)
def test_a_row_and_its_negative_are_mirrored(table: np.ndarray) -> None:
    item, other = quantise(table), quantise(-table)
    np.testing.assert_array_equal(item.values, -other.values)
    np.testing.assert_array_equal(item.scale, other.scale)


def test_rows_of_zeros_stay_zero() -> None:
    packed = quantise(np.zeros((3, 4), np.float32))
    np.testing.assert_array_equal(packed.vectors(np.array([[0, 2]])), np.zeros((1, 2, 4), np.float32))


def test_quantising_again_changes_nothing() -> None:
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    once = quantise(table)
    again = quantise(once.vectors(np.arange(50)))
    np.testing.assert_array_equal(once.values, again.values)


def test_a_remap_shares_rows() -> None:
    table = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    packed = quantise(table, np.array([1, 0, 1, 1], np.int32))
    assert packed.buckets == 4
    assert packed.nbytes == 2 * 8 + 2 * 4 + 4 * 4
    vectors = packed.vectors(np.array([[0, 1], [2, 3]]))
    assert vectors.shape == (2, 2, 8)
    np.testing.assert_array_equal(vectors[0, 0], vectors[1, 1])
    np.testing.assert_allclose(vectors[0, 1], table[0], atol=packed.scale.max() / 2)


def test_a_weight_that_is_no_number_is_refused() -> None:
    table = np.zeros((3, 2), np.float32)
    table[1, 1] = np.nan
    with pytest.raises(ValueError, match="row 1"):
        quantise(table)
    assert isinstance(quantise(table[:1]), CompressedTable)
