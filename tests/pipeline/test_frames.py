"""Rows as a DataFrame: what is checked, and how columns are named."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator

from mlsys.pipeline.frames import check_columns, frame_of

FRAME = pd.DataFrame({"n": [1.0, 2.0], "c": ["a", None]})


class Reader(BaseEstimator):
    """An estimator that takes missing values."""


def test_a_frame_is_returned_itself_and_its_columns_are_learned():
    reader = Reader()
    assert frame_of(reader, FRAME, reset=True) is FRAME
    assert reader.n_features_in_ == 2
    assert reader.feature_names_in_.tolist() == ["n", "c"]


def test_a_later_frame_may_have_its_columns_in_any_order():
    reader = Reader()
    frame_of(reader, FRAME, reset=True)
    later = FRAME[["c", "n"]]
    assert frame_of(reader, later, reset=False) is later
    assert reader.feature_names_in_.tolist() == ["n", "c"]


def test_columns_of_an_array_are_numbered_and_get_types():
    frame = frame_of(Reader(), np.array([[1.0, "a"], [np.nan, "b"]], dtype=object), reset=True)
    assert frame.columns.tolist() == [0, 1]
    assert frame.dtypes[0] == np.float64
    assert frame[1].tolist() == ["a", "b"]


def test_columns_of_a_later_array_are_named_as_in_fit():
    reader = Reader()
    frame_of(reader, FRAME, reset=True)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        frame = frame_of(reader, [[1.0, "a"]], reset=False)
    assert frame.columns.tolist() == ["n", "c"]


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([1.0, 2.0], ValueError, "Expected 2D array"),
        (np.empty((0, 2)), ValueError, "0 sample"),
        ([[1.0, np.inf]], ValueError, "infinity"),
        (csr_array([[1.0]]), TypeError, "[Ss]parse"),
    ],
)
def test_an_array_that_is_no_table_of_finite_numbers_is_refused(rows, error, said):
    with pytest.raises(error, match=said):
        frame_of(Reader(), rows, reset=True)


def test_an_array_of_another_width_is_refused():
    reader = Reader()
    frame_of(reader, np.eye(3), reset=True)
    with pytest.raises(ValueError, match="X has 2 features, but Reader is expecting 3 features"):
        frame_of(reader, np.eye(2), reset=False)


def test_columns_that_are_missing_are_named():
    check_columns(Reader(), FRAME, ["c"])
    with pytest.raises(ValueError, match=r"Reader reads columns that X does not have: \['x', 'y'\]"):
        check_columns(Reader(), FRAME, ["x", "c", "y"])
