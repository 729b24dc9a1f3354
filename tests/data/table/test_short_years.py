"""Two-digit years: where they stand and which century they mean is decided by the whole column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import infer_recipe, to_time
from mlsys.data.table.date_formats import find_format
from mlsys.data.table.values import as_levels
from mlsys.errors import DataError

FIRSTS = pd.date_range("2018-01-01", "2022-12-01", freq="MS")
LASTS = pd.date_range("2018-01-31", "2022-12-31", freq="ME")
MIDDLES = FIRSTS + pd.Timedelta(days=14)
DAYS = pd.date_range("2019-01-03", "2022-12-20", freq="9D")
MARCH = pd.date_range("2020-03-01", "2020-03-31")
WEEK = pd.date_range("2020-03-13", "2020-03-22")
YEARS = pd.date_range("2018-01-01", periods=5, freq="YS")


def found(times, pattern, stated=None):
    return find_format(as_levels(pd.Series(times.strftime(pattern))), stated)


@pytest.mark.parametrize("times", [FIRSTS, LASTS, MIDDLES, DAYS, MARCH, WEEK, YEARS])
@pytest.mark.parametrize("pattern", ["%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%m/%d/%y", "%y-%m-%d", "%y/%m/%d"])
def test_days_of_months_show_where_the_year_stands(times, pattern):
    form = found(times, pattern)
    assert not form.year_undecided
    assert form.pattern.startswith("%y") is pattern.startswith("%y")
    assert ("read with the year first" in form.guess) is pattern.startswith("%y")


BOTH_WAYS = pd.to_datetime([f"20{year:02}-{month:02}-{day:02}" for year, month, day in [
    (2, 3, 30), (9, 1, 11), (30, 5, 4), (15, 7, 22), (21, 9, 1), (6, 12, 19), (12, 2, 25), (27, 11, 8), (24, 6, 16),
]])  # fmt: skip


def table(times, pattern):
    rows = len(times)
    return pd.DataFrame({"at": times.strftime(pattern), "x": np.arange(rows) % 5, "y": np.arange(rows) % 2})


def test_years_that_may_stand_on_either_side_are_an_error_that_data_dates_decides():
    frame = table(BOTH_WAYS, "%d.%m.%y")
    with pytest.raises(DataError, match=r"Dates with two readings in at .* the year may come first or last") as caught:
        infer_recipe(frame, target="y", time="at")
    assert "Set data.dates=year_first" in str(caught.value)
    assert "leave the column out with data.drop" in str(caught.value)
    assert infer_recipe(frame, target="y", time="at", dates="year_first").time.date_format == "%y.%m.%d"
    assert infer_recipe(frame, target="y", time="at", dates="day_first").time.date_format == "%d.%m.%y"
    assert infer_recipe(frame, target="y", drop=["at"]).features == ("x",)


@pytest.mark.parametrize(
    ("write", "guess"),
    [
        (lambda times: times.strftime("%y-%m-%d"), "read with the year first"),
        (lambda times: times.astype("datetime64[s]").astype(int), "read as Unix seconds"),
        (lambda times: (times - pd.Timestamp("1899-12-30")).days, "read as Excel days"),
    ],
)
def test_the_time_of_rows_reports_its_guess(write, guess):
    frame = table(FIRSTS, "%d.%m.%y").assign(at=write(FIRSTS))
    report = infer_recipe(frame, target="y", time="at").report()[0]
    assert (report.name, report.kind) == ("at", "time")
    assert guess in report.guess


@pytest.mark.parametrize(
    ("start", "end"), [("2024-01-05", "2048-12-20"), ("1930-01-05", "2003-12-20"), ("2022-01-05", "2039-12-20")]
)
def test_years_on_both_sides_of_2035_stay_together(start, end):
    times = pd.Series(pd.date_range(start, end, freq="50D"))
    written = times.dt.strftime("%d.%m.%y")
    assert to_time(written).tolist() == times.tolist()
    recipe = infer_recipe(pd.DataFrame({"due": written, "y": np.arange(len(times)) % 2}), target="y")
    assert f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" in recipe.columns[0].reason
    assert "if that is wrong, write them with four digits" in recipe.columns[0].guess


def test_years_far_from_2035_keep_their_century():
    assert found(pd.date_range("1936-05-01", "1999-05-01", freq="300D"), "%d.%m.%y").pattern == "%d.%m.%y"
    assert found(DAYS, "%d.%m.%y").pattern == "%d.%m.%y"


SIZES = [f"{1 + n % 11}.{1 + n % 12}.{10 + n % 21}" for n in range(60)]


def test_versions_and_sizes_are_not_silently_dates():
    frame = pd.DataFrame({"app_version": SIZES, "size": SIZES, "y": np.arange(60) % 2})
    version, size, _ = infer_recipe(frame, target="y").columns
    assert version.kind != "date"
    assert (size.kind, version.guess) == ("date", "")
    assert "1.12.21 is read as the date 2021-12-01; if these are versions or sizes" in size.guess
    assert infer_recipe(frame.rename(columns={"size": "signed"}), target="y").columns[1].guess == ""
