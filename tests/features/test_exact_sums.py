"""Sums of fractions have the same bits in any order of the rows."""

from fractions import Fraction
from functools import reduce
from operator import add

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.features.exact_sums import exact_parts, exact_total

prices = st.integers(-(10**13), 10**13).map(lambda cents: cents / 100)
any_number = st.floats(-1e9, 1e9, allow_subnormal=False)


def total(values):
    table = ibis.memtable(pa.table({"x": pa.array(values, pa.float64())}))
    return exact_total([part.sum() for part in exact_parts(table.x)]).to_pyarrow().as_py()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(prices | any_number, min_size=1, max_size=30), chance=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(values, chance):
    found = total(values)
    shuffled = chance.sample(values, len(values))
    assert total(shuffled) == found
    # Correct but for what is beyond the 80th binary place, and two roundings.
    exact = sum(map(Fraction, values))
    assert abs(Fraction(found) - exact) <= len(values) * Fraction(1, 2**80) + abs(exact) / 2**52


@pytest.mark.parametrize("value", [0.1, -12.37, 1e-8, 123456789.123456, 9e15, 1e300, 0.0])
def test_one_number_is_its_own_sum(value):
    assert total([value, None]) == value


def test_what_a_plain_sum_loses():
    values = [0.1] * 10
    assert reduce(add, values) != 1.0 == total(values)


def test_nothing_sums_to_nothing():
    assert total([None]) is None
