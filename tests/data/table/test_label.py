from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import labelled_rows, to_label, to_time
from mlsys.errors import DataError


@pytest.mark.parametrize(
    ("values", "positive", "expected", "name"),
    [
        (["Yes", "no ", " YES", "no"], "yes", [1, 0, 1, 0], "Yes"),
        (["1", "0", "1.0"], 1, [1, 0, 1], "1"),
        ([1.0, 0.0, 1.0], "1", [1, 0, 1], "1"),
        ([1, 2, 2], "2.0", [0, 1, 1], "2"),
        ([True, False], "true", [1, 0], "True"),
        (["1", "0"], True, [1, 0], "1"),
        (["yes", "no"], False, [0, 1], "no"),
        (["A", "a", "b"], "b", [0, 0, 1], "b"),
        (["won", "lost", "open"], "lost", [0, 1, 0], "lost"),
        (["1", "0"], None, [1, 0], "1"),
        (["-1", "1"], None, [0, 1], "1"),
        ([True, False], None, [1, 0], "True"),
        (["no", "yes", "no"], None, [0, 1, 0], "yes"),
        (["lost", "Won"], None, [0, 1], "Won"),
        (["stayed", "churned", "churned"], None, [0, 1, 1], "churned"),
        (["+", "-"], None, [1, 0], "+"),
        ([">50K", "<=50K", "<=50K"], None, [1, 0, 0], ">50K"),
        ([2, 1, 1], None, [1, 0, 0], "2"),
    ],
)
def test_finds_the_positive_class(values, positive, expected, name):
    labels, found = to_label(pd.Series(values), positive=positive)
    assert labels.dtype == np.int8
    assert (labels.tolist(), found) == (expected, name)


def test_choosing_a_class_by_default_is_logged(caplog):
    to_label(pd.Series(["yes", "no"]))
    assert caplog.text == ""
    to_label(pd.Series(["a", "b", "b"], name="kind"))
    assert "predicting the rarer class, a (1) of 2 classes: b (2), a (1)" in caplog.text
    caplog.clear()
    to_label(pd.Series(["a", "b", "c"], name="kind"), positive="b")
    assert "b (1) is positive, the 2 other classes are negative" in caplog.text


@pytest.mark.parametrize(
    ("values", "positive", "expected"),
    [
        (
            ["won", "lost", "lost"],
            "wonn",
            "data.positive=wonn (closest: won). The target has 2 classes: lost (2), won (1)",
        ),
        (["won", "won"], None, "needs at least two classes, but has: won (2)"),
        (["a", "b", "c"], None, "has 3 classes: a (1), b (1), c (1). Set data.positive to the class to predict."),
        (list(range(99)), None, "and 89 more. It looks numeric"),
        (["a", None, "b"], None, "is empty in 1 of 3 rows"),
        ([], None, "needs at least two classes, but has: none"),
    ],
)
def test_invalid_targets(values, positive, expected):
    with pytest.raises(DataError) as caught:
        to_label(pd.Series(values, name="outcome", dtype=object), positive=positive)
    assert expected in str(caught.value)
    assert "outcome" in str(caught.value)


def test_drops_rows_without_a_target(caplog):
    frame = pd.DataFrame({"won": ["yes", " ", None, "NA", "-", "no"]})
    assert labelled_rows(frame, "won").index.tolist() == [0, 4, 5]
    assert "dropping 3 of 6 rows without a value in target column won" in caplog.text
    with pytest.raises(DataError, match=r"Column not found: data.target=wn \(closest: won\). The table has: won"):
        labelled_rows(frame, "wn")
    with pytest.raises(DataError, match="is empty in all 1 rows"):
        labelled_rows(frame.iloc[[2]], "won")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["31.12.2020", "1.1.2021"], ["2020-12-31", "2021-01-01"]),
        ([2019, 2020], ["2019-01-01", "2020-01-01"]),
        ([20200131, 20200229], ["2020-01-31", "2020-02-29"]),
        (["2020-01-31 23:30+01:00", "2020-02-01"], ["2020-01-31 22:30", "2020-02-01"]),
        (pd.to_datetime(["2020-01-31 00:30"]).tz_localize("Europe/Berlin"), ["2020-01-30 23:30"]),
    ],
)
def test_parses_the_time_column(values, expected):
    times = to_time(pd.Series(values, name="when", index=range(7, 7 + len(values))))
    assert times.tolist() == [pd.Timestamp(value) for value in expected]
    assert times.name == "when"
    assert times.index[0] == 7


@pytest.mark.parametrize("values", [["2020-01-31", None], ["2020-01-31", "soon"], ["a", "b"], [1.5, 2.5], []])
def test_every_row_needs_a_time(values):
    with pytest.raises(DataError, match=r"Time column 'when': no valid date in \d of \d rows?"):
        to_time(pd.Series(values, name="when", dtype=object))
