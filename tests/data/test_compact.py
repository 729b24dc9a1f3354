"""Columns lose nothing by their smaller type, and ranges of rows share memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.data.compact import columns_of, compact, compact_column, compact_frame, take_rows
from mlsys.ranges import positions_of

LARGEST = float(2**24)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.0, 3.0, LARGEST], np.float32),
        ([0.0, LARGEST + 1], np.float64),
        ([0.5, 0.25, np.nan, np.inf, -0.0], np.float32),
        ([0.1], np.float64),
        ([1e300], np.float64),
        ([], np.float32),
    ],
)
def test_numbers_get_the_smallest_exact_type(values, dtype):
    column = compact(np.array(values, dtype=np.float64))
    assert column.dtype == dtype
    assert np.array_equal(column.astype(np.float64), values, equal_nan=True)
    assert np.array_equal(np.signbit(column), np.signbit(values))


def test_the_type_is_that_of_all_parts():
    parts = [pa.chunked_array([[1.0, None]]), pa.chunked_array([[0.1]])]
    column = compact_column(parts)
    assert column.dtype == np.float64
    assert np.array_equal(column, [1.0, np.nan, 0.1], equal_nan=True)


def test_only_features_are_compact():
    frame = compact_frame(pd.DataFrame({"value": [1.0], "users": [2.0], "plan": ["free"]}), ["users", "plan"])
    assert frame.dtypes.astype(str).to_dict() == {"value": "float64", "users": "float32", "plan": "str"}


def test_ranges_of_rows_share_the_memory_of_the_panel():
    frame = pd.DataFrame({name: np.arange(4.0) for name in "abc"}, copy=False)
    part = take_rows(columns_of(frame, ["c", "a"]), np.array([False, True, True, False]))
    assert part.columns.tolist() == ["c", "a"]
    assert part["a"].tolist() == [1, 2]
    assert all(np.shares_memory(part[name].to_numpy(), frame[name].to_numpy()) for name in part)


@pytest.mark.parametrize("rows", [[0, 2], [2, 1], [1, 1], [0, 1, 1, 3]])
def test_other_positions_are_kept_as_they_are(rows):
    assert positions_of(np.array(rows)).tolist() == rows


def test_no_rows():
    assert positions_of(np.zeros(3, dtype=bool)) == slice(0, 0)
