"""Columns whose values have two readings: one is chosen for the whole column and named, or the table is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlsys.data.config import TableData
from mlsys.data.flat import describe_table, load_table
from mlsys.data.table import TableRecipe, apply, infer_recipe, read_table
from mlsys.errors import DataError

ROWS = 40
MOMENTS = pd.date_range("2019-10-25 00:00", periods=ROWS, freq="6h")  # over the end of summer time


def frame_of(values, name="x"):
    """Return a table with the repeated values, a target and another column."""
    column = (list(values) * ROWS)[:ROWS]
    return pd.DataFrame({name: column, "y": np.arange(ROWS) % 2, "other": np.arange(ROWS) % 3})


def infer(values, name="x", **options):
    """Return the recipe of the column and its features."""
    frame = frame_of(values, name)
    recipe = infer_recipe(frame, target="y", **options)
    assert TableRecipe.from_dict(recipe.to_dict()) == recipe
    return recipe.columns[0], apply(recipe, frame).drop(columns="other")


THOUSANDS = ["2.256", "999", "47.565", "213", *(f"{number}.{7 * number + 101}" for number in range(3, 30))]


@pytest.mark.parametrize(
    ("values", "options", "expected", "guess"),
    [
        (THOUSANDS, {}, [2256, 999, 47565, 213], "2.256 is read as 2256: the mark '.' separates thousands"),
        (THOUSANDS[:4], {"delimiter": ";"}, [2256, 999, 47565, 213], "2.256 is read as 2256"),
        (THOUSANDS[:4], {}, [2.256, 999, 47.565, 213], "set data.decimal=comma"),
        (THOUSANDS, {"decimal": "."}, [2.256, 999, 47.565, 213], ""),
        (["2.256", "47.565"], {}, [2.256, 47.565], "2.256 is read as 2.256: the mark '.' is a decimal mark"),
        (["2.256", "47.565"], {"delimiter": ";"}, [2256, 47565], "set data.decimal=point"),
        (["2.256", "47.565"], {"decimal": ","}, [2256, 47565], ""),
        (["2,256", "999"], {}, [2256, 999], ""),
        (["2,256", "8,630"], {"delimiter": ";"}, [2.256, 8.63], "2,256 is read as 2.256"),
        (["2,256", "8,630"], {}, [2256, 8630], "set data.decimal=comma"),
        (["2.256", "1250"], {}, [2.256, 1250], "is a decimal mark"),
        (["2.256", "9.5"], {"delimiter": ";"}, [2.256, 9.5], ""),
        (["0.256", "0.125"], {"delimiter": ";"}, [0.256, 0.125], ""),
        (["1.234.567", "2.256"], {}, [1234567, 2256], ""),
    ],
)
def test_marks_before_three_digits(values, options, expected, guess):
    column, features = infer(values, **options)
    assert column.kind == "number"
    np.testing.assert_array_equal(features["x"][: len(expected)], expected)
    assert guess in column.guess
    assert bool(column.guess) is bool(guess)


def test_a_table_decides_about_its_ambiguous_numbers():
    frame = frame_of(["2,256", "8,630"]).assign(more="1,5")
    frame.loc[0, "more"] = "2,25"
    recipe = infer_recipe(frame, target="y")
    assert apply(recipe, frame)["x"].tolist()[:2] == [2.256, 8.63]


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (lambda at: at.astype("datetime64[s]").astype(int), "unix_s"),
        (lambda at: at.astype("datetime64[ms]").astype(int), "unix_ms"),
        (lambda at: at.astype("datetime64[us]").astype(int).astype(str), "unix_us"),
        (lambda at: at.astype("datetime64[ns]").astype(int), "unix_ns"),
        (lambda at: (at - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1), "excel"),
        (lambda at: at.strftime("%d.%m.%Y %H:%M"), "%d.%m.%Y %H:%M"),
        (lambda at: at.strftime("%m/%d/%Y %I:%M %p"), "%m/%d/%Y %I:%M %p"),
        (lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.000000000Z"), "ISO8601"),
        (lambda at: [day.isoformat() for day in at.tz_localize("UTC").tz_convert("Europe/Berlin")], "ISO8601"),
        (lambda at: at.tz_localize("UTC").tz_convert("Europe/Berlin").strftime("%Y-%m-%d %H:%M %Z"), None),
        (lambda at: at.tz_localize("UTC").tz_convert("Europe/Berlin"), "ISO8601"),
    ],
)
@pytest.mark.parametrize("role", ["feature", "time"])
def test_the_same_instants_in_any_notation(write, pattern, role):
    frame = frame_of(["a", "b"]).assign(signed_at=write(MOMENTS))
    if role == "time":
        recipe = infer_recipe(frame, target="y", time="signed_at")
        assert recipe.time.date_format == (pattern or "%Y-%m-%d %H:%M %Z")
        return
    recipe = infer_recipe(frame, target="y")
    features = apply(recipe, frame)
    np.testing.assert_array_equal(features["signed_at_day"], (MOMENTS.floor("D") - pd.Timestamp(0)).days)
    np.testing.assert_array_equal(features["signed_at_hour"], MOMENTS.hour)
    guess = recipe.columns[-1].guess
    assert ("if they are quantities, rename the column" in guess) is (pattern in {"excel"} or "unix" in str(pattern))


@pytest.mark.parametrize("values", [range(30_000, 30_040), range(1_571_522_400, 1_571_522_440)])
def test_numbers_of_another_name_are_quantities(values):
    assert infer([7 * value for value in values], "revenue")[0].kind == "number"
    assert infer(values, "salary")[0].kind == "number"


def test_an_ambiguous_zone_is_not_guessed():
    column, _ = infer(["2019-10-20 00:00 CST", "2019-10-21 00:00 CST"])
    assert column.kind == "category"


def test_times_of_day_are_hours():
    column, features = infer(["05:12", "23:30", None, "00:00"])
    assert column.reason.startswith("times of day in format %H:%M; ")
    np.testing.assert_array_equal(features["x_hours"][:4], [5.2, 23.5, np.nan, 0])


def test_dates_in_two_orders_are_refused_unless_dropped():
    values = ["13/01/2020", "01/14/2020", "01/02/2020"]
    with pytest.raises(DataError, match="x has dates in two orders: 27 of 40 rows can be read with the"):
        infer(values)
    with pytest.raises(DataError, match="in two orders"):
        infer(values, dates="day_first")
    assert infer(values, drop=["x"])[0].dropped == "set by data.drop"


def test_a_few_dates_of_the_other_order_are_missing_and_named():
    column, features = infer([*[f"{day}/01/2020" for day in range(1, 31)], *["15/02/2020"] * 9, "01/31/2020"])
    assert features["x_day"].isna().sum() == 1
    assert column.guess == "1 date such as 01/31/2020 would need the other order of day and month: missing"


def test_a_proved_order_precedes_a_stated_one(caplog):
    frame = frame_of(["31/12/2020", "01/02/2020"], "paid").assign(due="01/02/2020")
    frame.loc[0, "due"] = "03/04/2020"
    recipe = infer_recipe(frame, target="y", dates="month_first")
    features = apply(recipe, frame)
    assert features["paid_month"].tolist()[:2] == [12, 2]
    assert features["due_month"].tolist()[:2] == [3, 1]
    assert "data.dates=month_first, but paid ('31/12/2020') can only be read with the day first, and is" in caplog.text


def test_a_short_year_comes_first_where_the_dates_then_span_less():
    column, _ = infer(["20-01-31", "20-02-01", "21-02-28"])
    assert column.guess == "20-01-31 is read with the year first; if not, write it with four digits"
    assert infer(["31-01-20", "01-02-20", "28-02-21"])[0].guess == ""


def test_equal_day_and_month_prove_nothing_and_need_nothing():
    column, features = infer(["01/01/2020", "02/02/2020"])
    assert features["x_month"].tolist()[:2] == [1, 2]
    assert column.guess == ""


def test_some_dates_among_text_are_named():
    column, _ = infer([f"2020-01-{day:02d}" for day in range(1, 26)] + ["soon", "later", "never", "Monday", "x"] * 3)
    assert column.kind == "category"
    assert "25 of 40 values are dates in format ISO8601, too few to read the column as dates" in column.guess


@pytest.mark.parametrize(
    ("values", "name", "guess"),
    [
        (["1E5", "3E10", "12E3"], "sku", "1E5 is read as a code"),
        (["1E5", "1207", "1309"], "sku", "1E5 is read as a code"),
        (["1.9", "1.10", "1.1"], "version", ""),
        (["01067", "10115"], "zip", ""),
        (["0671", "10115"], "area", ""),
    ],
)
def test_codes_that_look_like_numbers_stay_text(values, name, guess):
    column, features = infer(values, name)
    assert column.kind == "category"
    assert features[name].str.upper().tolist()[: len(values)] == values
    assert guess in column.guess
    assert bool(column.guess) is bool(guess)


@pytest.mark.parametrize("values", [["1e+05", "2"], ["1.5E3", "2"], ["1e-3", "0.5"]])
def test_exponents_of_numbers_are_numbers(values):
    column, features = infer(values)
    assert (column.kind, column.guess) == ("number", "")
    assert features["x"].tolist()[:2] == [float(value) for value in values]


def test_numbers_that_may_be_versions_are_named():
    column, _ = infer(["1.9", "1.10"], "rating")
    assert (column.kind, "1.10 is read as the number 1.1" in column.guess) == ("number", True)


def test_whole_numbers_beyond_exact_floats_are_ids_or_codes():
    big = 2**53
    assert infer([big + row for row in range(ROWS)])[0].kind == "id"
    column, features = infer([big, big + 1])
    assert column.kind == "category"
    assert features["x"].tolist()[:2] == [str(big), str(big + 1)]


def test_guesses_are_logged_on_every_run_and_described(tmp_path, caplog):
    path = tmp_path / "t.csv"
    frame_of(THOUSANDS, "revenue").to_csv(path, index=False, sep=";")
    data = TableData(kind="table", name="t", path=str(path), target="y", cache_dir=tmp_path / "cache")
    for _ in range(2):  # the second run reads the cache
        caplog.clear()
        load_table(data)
        assert "revenue: 2.256 is read as 2256: the mark '.' separates thousands" in caplog.text
    assert "separates thousands" in describe_table(data)[0].guess
    point = data.model_copy(update={"decimal": "point"})
    assert load_table(point).panel.frame["revenue"].max() == 999


def test_the_value_column_is_read_like_the_others(tmp_path):
    path = tmp_path / "t.csv"
    frame_of(THOUSANDS[:4], "worth").to_csv(path, index=False, sep=";")
    data = TableData(kind="table", name="t", path=str(path), target="y", value="worth", cache=False)
    assert set(load_table(data).panel.frame["value"].dropna()) == {999, 213}
    assert "worth" not in load_table(data).panel.names


def test_the_delimiter_is_kept_with_the_frame(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    assert read_table(tmp_path / "t.csv").attrs["delimiter"] == ";"


SPREAD = pd.date_range("2020-01-05 09:28:00", periods=ROWS, freq="613h")


@pytest.mark.parametrize(
    "write",
    [
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S,123"),
        lambda at: at.strftime("%Y%m%dT%H%M%S"),
        lambda at: at.strftime("%Y%m%dT%H%M%SZ"),
        lambda at: at.strftime("%Y%m%d%H%M%S"),
        lambda at: at.strftime("%Y%m%d%H%M%S").astype(int),
        lambda at: at.strftime("%a %b %d %H:%M:%S %Y"),
        lambda at: at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        lambda at: at.strftime("%d. %B %Y %H:%M"),
        lambda at: at.strftime("%d. %b %Y"),
        lambda at: at.strftime("%d/%b/%Y"),
        lambda at: at.strftime("%m/%d/%Y %I:%M %p").str.replace("AM", "a.m.").str.replace("PM", "p.m."),
    ],
)
def test_common_spellings_of_dates_are_read(write):
    column, features = infer(write(SPREAD), name="x")
    assert (column.kind, column.guess) == ("date", "")
    assert features["x_day"].tolist() == ((SPREAD.floor("D") - pd.Timestamp(0)).days).tolist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"1,{n + 100}.25" if n % 2 else f"1.{n + 100},25" for n in range(ROWS)], "numbers"),
        ([day.strftime("%d.%m.%Y" if n % 2 else "%b %d, %Y") for n, day in enumerate(SPREAD)], "dates"),
    ],
)
def test_columns_that_are_not_written_alike_are_not_dropped_silently(values, kind):
    column, _ = infer(values)
    assert column.dropped
    assert f"most values look like {kind}, but no single format reads them" in column.report.guess
    assert infer(values, drop=["x"])[0].report.guess == ""


@pytest.mark.parametrize(
    "name", ["amount_at_close", "spend_on_ads", "clicks_date_range", "revenue_T", "conversions_on_site"]
)
def test_words_within_a_name_do_not_make_times(name):
    column, _ = infer(range(25_000, 25_000 + ROWS), name)
    assert column.kind == "number"


def test_numbers_that_span_a_century_are_not_excel_days():
    assert infer(np.linspace(20_000, 59_000, ROWS).round(), "signed_at")[0].kind == "number"
    assert infer(np.linspace(33_000, 45_000, ROWS).round(), "date_of_birth")[0].date_format == "excel"


def test_exponents_have_one_reading():
    column, features = infer(["2.759E+01", "1.250E+02"])
    assert (column.kind, column.guess) == ("number", "")
    assert features["x"].tolist()[:2] == [27.59, 125.0]
