"""Input validation: checks of X, and names of its columns."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator

from mlsys.pipeline.frames import check_columns, frame_of

FRAME = pd.DataFrame({"n": [1.0, 2.0], "c": ["a", None]})


class Reader(BaseEstimator):
    """An estimator that accepts missing values."""


def test_a_dataframe_is_returned_itself_and_its_columns_are_recorded():
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


def test_columns_of_an_array_are_numbered_and_get_dtypes():
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
    ("rows", "error", "message"),
    [
        ([1.0, 2.0], ValueError, "Expected 2D array"),
        (np.empty((0, 2)), ValueError, "0 sample"),
        ([[1.0, np.inf]], ValueError, "infinity"),
        (csr_array([[1.0]]), TypeError, "[Ss]parse"),
    ],
)
def test_an_invalid_array_is_an_error(rows, error, message):
    with pytest.raises(error, match=message):
        frame_of(Reader(), rows, reset=True)


def test_an_array_with_a_different_number_of_columns_is_an_error():
    reader = Reader()
    frame_of(reader, np.eye(3), reset=True)
    with pytest.raises(ValueError, match="X has 2 features, but Reader is expecting 3 features"):
        frame_of(reader, np.eye(2), reset=False)


def test_missing_columns_are_listed():
    check_columns(Reader(), FRAME, ["c"])
    with pytest.raises(ValueError, match=r"Reader needs columns that X does not have: \['x', 'y'\]"):
        check_columns(Reader(), FRAME, ["x", "c", "y"])
