"""The time column takes what people have, and its error names the rows that are not times."""

from __future__ import annotations

import pandas as pd
import pytest

from mlsys.data.table.dates import time_format, to_time
from mlsys.errors import DataError

DAYS = pd.date_range("2021-02-01", periods=40, freq="7D")


@pytest.mark.parametrize(
    ("values", "pattern", "first"),
    [
        (["202102", "202103"], "%Y%m", "2021-02-01"),
        ([202102, 202103], "%Y%m", "2021-02-01"),
        (["2021-W05", "2021-W06"], "%G-W%V", "2021-02-01"),
        (["2021-Q2", "2021-Q3"], "%Y-Q%q", "2021-04-01"),
        (["44228,5", "44229,25"], "excel", "2021-02-01 12:00"),
    ],
)
def test_months_quarters_weeks_and_excel_days(values, pattern, first):
    series = pd.Series(values, name="at")
    assert time_format(series).pattern == pattern
    assert to_time(series)[0] == pd.Timestamp(first)


def test_a_time_of_zero_is_named_alone():
    seconds = DAYS.astype("datetime64[s]").astype(int).to_series(index=range(40), name="at")
    seconds[7] = 0
    with pytest.raises(DataError, match=r"no valid date in 1 of 40 rows, such as \[0\], the first at row 7"):
        time_format(seconds)


def test_empty_times_are_called_empty():
    with pytest.raises(DataError, match=r"no valid date in 1 of 3 rows, which are empty, the first at row 1\."):
        time_format(pd.Series(["2021-02-01", None, "2021-03-01"], name="at"))
