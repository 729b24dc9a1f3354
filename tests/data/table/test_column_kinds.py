from __future__ import annotations

import datetime
import math

import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import apply, infer_recipe, infer_types, read_table, to_numbers
from mlsys.data.table.values import as_levels, decimal_vote, parse_numbers
from mlsys.errors import DataError

NAN = math.nan
ROWS = 40


def infer(values, name="x", **options):
    """Infer a column of the repeated values; return its report and the first values of its features."""
    values = list(values)
    count = max(ROWS, len(values))
    column = pd.Series((values * count)[:count])
    frame = pd.DataFrame({name: column, "y": np.arange(count) % 2, "other": np.arange(count) % 3})
    features, reports = infer_types(frame, target="y", **options)
    shown = features.drop(columns="other").iloc[: len(values)]
    assert set(features.dtypes.astype(str)) <= {"float64", "str"}
    return reports[0], {str(key): cells.to_list() for key, cells in shown.items()}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["$1,200.50", "(3.00)", "€ 5", "-$7"], [1200.5, -3, 5, -7]),
        (["1.234,56", "0,5", "1.000"], [1234.56, 0.5, 1000]),
        (["1,234", "5,678"], [1234, 5678]),
        (["1.234", "5.678"], [1.234, 5.678]),
        (["12%", "5.5 %"], [0.12, 0.055]),
        (["1 234", "5\u202f678,5"], [1234, 5678.5]),
        (["1'234.5", "2"], [1234.5, 2]),
        (["12,34,567", "1,00,000"], [1234567, 100000]),
        (["-5", "\u22127", "8-", "+9"], [-5, -7, -8, 9]),
        (["1e5", "2.5E-3", ".5", "1."], [1e5, 0.0025, 0.5, 1]),
        (["10 kg", "12.5kg", "80 KG"], [10, 12.5, 80]),
        ([" 1.5\xa0", "\ufeff2", "\t3"], [1.5, 2, 3]),
        (["1", "n/a", "2.5", " - ", "NULL"], [1, NAN, 2.5, NAN, NAN]),
        ([1.5, np.inf, 2.5], [1.5, NAN, 2.5]),
        (pd.array([1, None, 3], dtype="Int64"), [1, NAN, 3]),
        (pd.to_timedelta(["36h", "12h"]), [1.5, 0.5]),
    ],
)
def test_parses_numbers(values, expected):
    report, features = infer(values)
    assert report.kind == "number"
    assert report.done == "used"
    np.testing.assert_array_equal(features["x"], expected)


@pytest.mark.parametrize(
    "values",
    [
        ["192.168.0.1", "10.0.0.2"],
        ["1.2.3", "1.10.0"],
        ["030 1234", "555 123"],
        ["1-2", "3-4"],
        ["10:30", "1:99:45"],
        ["2 to 5", "1"],
        ["A1", "B2"],
        ["0", "1", "2", "3+"],
        ["(5", "6)"],
        ["--5", "6"],
        ["10 kg", "5 lb"],
    ],
)
def test_text_that_resembles_numbers_is_a_category(values):
    report, features = infer(values)
    assert report.kind == "category"
    assert features == {"x": values}


def test_the_reason_counts_numbers_that_parse(caplog):
    report, features = infer([str(value / 8) for value in range(998)] + ["soon", "n.k."])
    assert report.reason == "numbers from 0 to 124.625; stored as text: 998 of 1,000 parse, the rest become missing"
    assert np.isnan(features["x"][-2:]).all()
    assert (
        "values that do not parse as their column's kind are treated as missing: x (2 of 1,000, such as 'soon')"
        in caplog.text
    )


def test_one_word_among_many_numbers_is_missing():
    report, features = infer([*map(str, range(30)), *["unknown"] * 10])
    assert report.kind == "number"
    np.testing.assert_array_equal(features["x"], [*range(30), *[NAN] * 10])
    assert infer(["1", "2", "unknown"])[0].kind == "category"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["yes", "NO ", " Yes"], [1, 0, 1]),
        (["t", "F"], [1, 0]),
        (["Y", "n", ""], [1, 0, NAN]),
        (["on", "off", "?"], [1, 0, NAN]),
        (["1", "0", "true"], [1, 0, 1]),
        ([True, False, None], [1, 0, NAN]),
        (pd.array([True, None, False], dtype="boolean"), [1, NAN, 0]),
    ],
)
def test_parses_booleans(values, expected):
    report, features = infer(values)
    assert report.kind == "boolean"
    np.testing.assert_array_equal(features["x"], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["X", None], [1, 0]), (["", "flag", "Flag"], [0, 1, 1]), ([5.0, None], [1, 0]), (["0", None], [1, 0])],
)
def test_whether_a_single_value_is_filled_is_an_input_of_its_own_name(values, expected):
    report, features = infer(values)
    assert report.kind == "boolean"
    assert features == {"x_filled": expected}


def test_zero_and_one_stay_numbers():
    assert infer(["0", "1"])[0].kind == "number"
    report, _ = infer([1, 2, 3])
    assert report.reason == "whole numbers from 1 to 3, 3 distinct: kept numeric to preserve their order"


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2020-01-31", "2020-03-01"], "2020-01-31"),
        (["2020-01-31 10:00", "2020-03-01"], "2020-01-31"),
        (["2020-01-31T23:30:00-01:00", "2020-03-01T00:00Z"], "2020-02-01"),
        (["2020/1/31", "2020/12/1"], "2020-01-31"),
        (["31/01/2020", "01/02/2020"], "2020-01-31"),
        (["01/31/2020", "02/01/2020"], "2020-01-31"),
        (["01.02.2020", "03.04.2020"], "2020-02-01"),
        (["1/31/20", "2/1/36"], "2020-01-31"),
        (["31-01-20", "01-02-20", "28-02-21"], "2020-01-31"),
        (["20-01-31", "20-02-01", "21-02-28"], "2020-01-31"),
        (["20/01/31 10:30", "20/02/01 09:00"], "2020-01-31"),
        (["2/1/36", "1/31/20"], "1936-02-01"),
        (["31.01.2020 10:30", "1.2.2020 09:00"], "2020-01-31"),
        (["1/31/2020 5:30 PM", "2/1/2020 1:00 AM"], "2020-01-31"),
        (["Jan 31, 2020", "Mar 1, 2020"], "2020-01-31"),
        (["31 January 2020", "1 March 2020"], "2020-01-31"),
        (["31-Jan-20", "24-Dec-21"], "2020-01-31"),
        (["31JAN2020", "01FEB2021"], "2020-01-31"),
        (["Dec-2015", "Jan-2011"], "2015-12-01"),
        (["2020-01", "2020-02"], "2020-01-01"),
        (["20200131", "20211231"], "2020-01-31"),
        ([20200131, 20211231], "2020-01-31"),
        ([20200131.0, None, 20211231.0], "2020-01-31"),
        ([datetime.date(2020, 1, 31), datetime.date(2020, 3, 1)], "2020-01-31"),
        (pd.to_datetime(["2020-01-31 00:30", "2020-03-01 12:00"]).tz_localize("Europe/Berlin"), "2020-01-30"),
        (pd.period_range("2020-01", periods=2, freq="M"), "2020-01-01"),
    ],
)
def test_parses_dates(values, first):
    report, features = infer(values)
    assert report.kind == "date"
    assert features["x_day"][0] == (pd.Timestamp(first) - pd.Timestamp(0)).days


def test_dates_become_days_month_weekday_and_hour():
    report, features = infer(["2020-02-03 13:45", None, "2020-03-04 14:00"])
    expected = {"x_day": [18295, NAN, 18325], "x_month": [2, NAN, 3], "x_weekday": [0, NAN, 2], "x_hour": [13, NAN, 14]}
    assert report.done == "used as x_day, x_month, x_weekday, x_hour"
    assert list(features) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(features[name], values)


def test_with_a_time_column_dates_become_ages(caplog):
    frame = pd.DataFrame(
        {
            "at": ["31.1.2020", "1.3.2020"],
            "joined": pd.to_datetime(["2020-01-30 12:00", "2020-03-05 00:00"]),
            "y": [0, 1],
        }
    )
    features, reports = infer_types(frame, target="y", time="at")
    assert features["joined_age_days"].tolist() == [0.5, -4.0]
    assert "after the row's own time in 1 row" in reports[1].reason
    assert "joined is after the row's own time in 1 row;" in caplog.text
    caplog.clear()
    with pytest.raises(DataError, match="no usable features"):
        infer_types(frame, target="y", time="at", drop=["joined"])
    assert caplog.text == ""


def test_placeholders_are_not_dates():
    days = pd.date_range("2020-01-01", periods=38).strftime("%Y-%m-%d")
    report, features = infer(["9999-12-31", "0000-00-00", *days])
    assert report.reason.startswith("dates in format ISO8601, 2020-01-01 to 2020-02-07; stored as text: 38 of 40 parse")
    np.testing.assert_array_equal(features["x_day"][:3], [NAN, NAN, 18262])


def test_unambiguous_columns_resolve_ambiguous_ones():
    rows = 20
    frame = pd.DataFrame(
        {
            "price": ["1,5", "2,25"] * (rows // 2),
            "sum": ["1.234", "5.678"] * (rows // 2),
            "paid": ["31/12/2020", "01/02/2021"] * (rows // 2),
            "due": ["01/02/2020", "03/04/2020"] * (rows // 2),
            "y": [0, 1] * (rows // 2),
        }
    )
    features, _ = infer_types(frame, target="y")
    assert features["sum"].tolist()[:2] == [1234, 5678]
    assert features["due_month"].tolist()[:2] == [2, 4]
    alone = frame[["sum", "due", "y"]]
    with pytest.raises(
        DataError, match=r"two readings in due \('01/02/2020'\).*no date written like this has a day after"
    ):
        infer_types(alone, target="y")
    assert infer_types(alone, target="y", drop=["due"])[0]["sum"].tolist()[:2] == [1.234, 5.678]
    for dates, months in (("month_first", [1, 3]), ("day_first", [2, 4])):
        recipe = infer_recipe(alone, target="y", dates=dates)
        assert apply(recipe, alone)["due_month"].tolist()[:2] == months


@pytest.mark.parametrize(
    ("values", "name", "kind", "reason"),
    [
        (range(ROWS), "x", "id", "row numbers from 0"),
        ([f"{i:05d}" for i in range(1, ROWS + 1)], "x", "id", "row numbers from 1"),
        ([7 * i for i in range(ROWS)], "customerID", "id", "named like an id, 40 distinct in 40 rows"),
        ([7 * i for i in range(ROWS)], "EmployeeNumber", "id", "named like an id, 40 distinct in 40 rows"),
        ([7 * i for i in range(ROWS)], "orderid", "id", "named like an id, 40 distinct in 40 rows"),
        ([f"{i:05d}-X" for i in range(ROWS)], "x", "id", "unique in every row"),
        ([f"{7 * i:05d}" for i in range(ROWS)], "x", "id", "unique in every row"),
        ([f"u{max(i, 1)}" for i in range(ROWS)], "x", "id", "39 distinct in 40 rows"),
        (["x"], "x", "constant", "'x' in every row"),
        (["x", " X"], "x", "constant", "'x' in every row"),
        ([5], "x", "constant", "'5' in every row"),
        (["1", "1.0"], "x", "constant", "the same number in every row"),
        ([np.inf, -np.inf], "x", "constant", "the same number in every row"),
        (["", "?", None, "n/a"], "x", "constant", "empty in all 40 rows"),
        ([None], "x", "constant", "empty in all 40 rows"),
        (pd.to_datetime(["9999-12-31", "9999-12-30"]), "x", "constant", "dates, all placeholders"),
    ],
)
def test_drops_ids_and_constants(values, name, kind, reason):
    report, features = infer(values, name)
    assert (report.kind, report.reason) == (kind, reason)
    assert report.done.startswith("dropped: ")
    assert features == {}


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        ([7 * i for i in range(ROWS)], "balance", "number"),
        ([i + 0.5 for i in range(ROWS)], "account_number", "number"),
        ([7 * i for i in range(ROWS)], "paid", "number"),
        ([i // 20 for i in range(ROWS)], "views_number", "number"),
        (["a", "b", "c"], "user_id", "category"),
        ([1, 2, 3], "dept_id", "category"),
        (["02134", "90210"], "home", "category"),
        ([2134, 90210], "zip", "category"),
        ([1.0, NAN, 2.0], "country code", "category"),
    ],
)
def test_keeps_columns_that_resemble_ids(values, name, kind):
    assert infer(values, name)[0].kind == kind


def test_ids_of_entities_with_several_rows_are_dropped():
    values = [f"u{i // 2}" for i in range(ROWS)]
    report, _ = infer(values, "user_id", max_categories=10)
    assert report.kind == "id"
    assert "data.group=user_id would keep the rows of each entity together" in report.done
    assert infer(values, "user_id", max_categories=20)[0].kind == "category"


def test_codes_are_the_same_from_text_and_from_numbers_with_gaps():
    assert (
        infer(["1", "2", None], "dept_id")[1]["dept_id"][:2]
        == infer([1, 2, NAN], "dept_id")[1]["dept_id"][:2]
        == ["1", "2"]
    )


def test_categories_are_cleaned_and_keep_all_levels():
    report, features = infer([" red", "blue\xa0", "light  blue", "RED", None, "NA"])
    assert report.reason == "3 levels; case is ignored; 12 of 40 missing"
    assert features["x"][:4] == ["red", "blue", "light blue", "red"]
    assert pd.isna(features["x"][4:]).all()
    report, features = infer([f"level {i // 2}" for i in range(120)], max_categories=50)
    assert report.reason == "60 levels, more than 50 (high cardinality, handled by the encoder)"
    assert len(set(features["x"])) == 60


def test_free_text_becomes_its_length_and_words():
    report, features = infer([f"please call back {'soon ' * i}now" for i in range(ROWS)])
    assert report.kind == "text"
    assert features["x_words"][:2] == [4, 5]
    assert features["x_length"][:2] == [20, 25]


def test_cells_of_mixed_types():
    report, features = infer([1, "a", 2.0, True, [1], {"b": 2}, b"x", None])
    assert report.kind == "category"
    assert features["x"][:7] == ["1", "a", "2", "True", "[1]", '{"b": 2}', "x"]
    assert infer(pd.Categorical(["a", "b"]))[1] == {"x": ["a", "b"]}
    assert as_levels(pd.Series(["a\ud800", "b"], dtype=object)).values.tolist() == ["a?", "b"]


def test_input_names_are_safe_and_unique():
    frame = pd.DataFrame(
        {"a[b]": [1, 2], "a<b>": [2, 3], "d": ["2020-01-31", "2020-02-01"], "d_month": [1, 5], "y": [0, 1]}
    )
    recipe = infer_recipe(frame, target="y")
    assert recipe.features == ("a_b_", "a_b__2", "d_day", "d_month_2", "d_weekday", "d_month")
    recipe = infer_recipe(frame, target="y", reserved=["d_month", "d_day"])
    assert recipe.features == ("a_b_", "a_b__2", "d_day_2", "d_month_2", "d_weekday", "d_month_3")


def test_no_input_has_the_name_of_another_column():
    frame = pd.DataFrame({"size[": [1, 2, 4], "size_": [3, 1, 7], "flag": ["x", None, "x"], "flag_filled": [8, 1, 4]})
    recipe = infer_recipe(frame.assign(y=[0, 1, 0]), target="y")
    assert recipe.features == ("size__2", "size_", "flag_filled_2", "flag_filled")


def test_roles_and_dropped_columns_are_not_inputs():
    frame = pd.DataFrame(
        {"k": [1, 2], "at": [2019, 2020], "g": ["a", "b"], "z": [3, 4], "v": [1, 2], "y": [0, 1], 7: [1.5, 2]}
    )
    features, reports = infer_types(frame, target="y", id="k", time="at", group="g", drop=["z"])
    assert features.columns.tolist() == ["v", "7"]
    assert [(report.name, report.kind) for report in reports] == [
        ("k", "id"), ("at", "time"), ("g", "group"), ("z", "number"), ("v", "number"), ("y", "target"), ("7", "number")
    ]  # fmt: skip
    assert reports[3].done == "dropped: set by data.drop"


def test_the_target_has_no_influence():
    frame = pd.DataFrame({"a": ["1", "x"] * 20, "b": ["2020-01-31", None] * 20, "y": [0, 1] * 20})
    other = frame.assign(y=["spam"] * 39 + ["ham"])
    assert infer_recipe(frame, target="y") == infer_recipe(other, target="y")


def test_all_missing_columns_are_listed():
    frame = pd.DataFrame({"won": [1], "size": [1]})
    with pytest.raises(DataError) as caught:
        infer_recipe(frame, target="win", id="sise", drop=["qqq"])
    assert "data.target=win (closest: won)" in str(caught.value)
    assert "data.id=sise (closest: size)" in str(caught.value)
    assert "data.drop=qqq\nThe table has: won, size." in str(caught.value)
    with pytest.raises(DataError, match="duplicate column names: won"):
        infer_recipe(frame[["won", "won"]], target="won")
    with pytest.raises(DataError, match="has no rows"):
        infer_recipe(frame.iloc[:0], target="won")
    with pytest.raises(DataError, match=r"no usable features:\n  won: set by data.target"):
        infer_recipe(frame[["won"]], target="won")


def test_infinity_is_not_a_number():
    np.testing.assert_array_equal(parse_numbers(pd.Series(["inf", "1e999", "$1e999", "-2"])), [NAN, NAN, NAN, -2])


def test_parses_revenue():
    np.testing.assert_array_equal(to_numbers(pd.Series(["1.200,50 €", "80,00 €", "-", "soon"])), [1200.5, 80, NAN, NAN])
    np.testing.assert_array_equal(to_numbers(pd.Series([1, np.inf])), [1, NAN])


def test_the_majority_decides_the_decimal_mark():
    assert decimal_vote(pd.Series(["1.5", "2.5", "3,5"])) == "."
    assert decimal_vote(pd.Series(["192.168.0.1", "a,b"])) is None


def test_levels_count_rows():
    levels = as_levels(pd.Series(["b", " a", "b ", None, "?"]))
    assert levels.values.tolist() == ["b", "a"]
    assert levels.codes.tolist() == [0, 1, 0, -1, -1]
    assert (levels.rows, levels.filled, levels.count(np.array([True, False]))) == (5, 3, 2)


def test_a_messy_file(tmp_path):
    path = tmp_path / "crm.csv"
    rows = [
        f"{i:04d}-X;{'Ja' if i % 2 else ' nein '};{i}.{i:03d},50 €;{i % 28 + 1:02d}.03.2020;{'' if i % 5 else 'VIP'};"
        f'"Süd;\nWest";{"gewonnen" if i % 4 else "verloren"}'
        for i in range(1, 41)
    ]
    path.write_bytes("\n".join(["Kunde;Aktiv;Umsatz;Seit;Stufe;Region;Ergebnis", *rows]).encode("utf-8-sig"))
    features, reports = infer_types(read_table(path), target="Ergebnis")
    assert [report.kind for report in reports] == ["id", "boolean", "number", "date", "boolean", "constant", "target"]
    assert features.iloc[4].to_dict() == {
        "Aktiv": 1.0,
        "Umsatz": 5005.5,
        "Seit_day": 18327.0,
        "Seit_weekday": 4.0,
        "Stufe_filled": 1.0,
    }
