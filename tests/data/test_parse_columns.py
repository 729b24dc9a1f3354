from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import count

import ibis
import pyarrow as pa
import pytest

from mlsys.data.parse_columns import common_id_type, parse_id, parse_number, parse_timestamp

INVALID = object()


@pytest.fixture(scope="module")
def column():
    connection, numbers = ibis.duckdb.connect(), count()

    def make(values, kind=None):
        name = f"table_{next(numbers)}"
        connection.con.register(name, pa.table({"cell": pa.array(values, type=kind)}))
        return connection.table(name).cell

    return make


def cells(column, parse):
    """Return each cell's value, None if it is missing, INVALID if it does not parse."""
    parsed = parse(column)
    (table,) = column.op().relations
    table = table.to_expr().select(missing=parsed.missing, invalid=parsed.invalid, value=parsed.value)
    values = []
    for row in table.to_pyarrow().to_pylist():
        assert not (row["missing"] and row["invalid"])
        assert (row["value"] is None) == (row["missing"] or row["invalid"])
        values.append(INVALID if row["invalid"] else row["value"])
    return values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12.0),
        (" -1.5e2 ", -150.0),
        (".5", 0.5),
        ("", None),
        ("  ", None),
        ("1,000", INVALID),
        ("1_000", INVALID),
        ("nan", INVALID),
        ("0x1F", INVALID),
        ("n/a", INVALID),
    ],
)
def test_numbers_in_text(column, text, value):
    assert cells(column([text]), parse_number) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-02-24", datetime(2020, 2, 24)),
        (" 2020-02-24 08:30 ", datetime(2020, 2, 24, 8, 30)),
        ("2020-02-24T08:30:15.25Z", datetime(2020, 2, 24, 8, 30, 15, 250_000)),
        ("2020-02-24T23:30:00-05:00", datetime(2020, 2, 25, 4, 30)),
        ("2020-02-30", INVALID),
        ("24.02.2020", INVALID),
        ("1582502400", INVALID),
        ("infinity", INVALID),
        (" ", None),
    ],
)
def test_timestamps_in_text(column, text, value):
    assert cells(column([text]), parse_timestamp) == [value]


def test_valid_columns_are_unchanged(column):
    numbers, days = column([1, None]), column([datetime(2020, 2, 24), None])
    assert parse_number(numbers).value is numbers
    assert parse_id(numbers, "int64").value.equals(numbers)
    assert parse_timestamp(days).value is days
    assert cells(days, parse_timestamp) == [datetime(2020, 2, 24), None]


def test_other_numeric_types(column):
    assert cells(column([True, False, None]), parse_number) == [1, 0, None]
    assert cells(column([Decimal("1.25"), None]), parse_number) == [1.25, None]
    assert cells(column([1.5, float("nan"), float("-inf")]), parse_number) == [1.5, None, INVALID]
    assert cells(column([datetime(2020, 2, 24), None]), parse_number) == [INVALID, None]


def test_ids(column):
    as_text, as_number = partial(parse_id, id_type="string"), partial(parse_id, id_type="int64")
    assert cells(column([7, None], pa.int32()), as_text) == ["7", None]
    assert cells(column([" a1 ", "", None]), as_text) == ["a1", None, None]
    assert cells(column(["7", "07", "a1"]), as_number) == [7, INVALID, INVALID]
    assert cells(column([7.0, 7.5, float("nan"), 1e30]), as_number) == [7, INVALID, None, INVALID]
    assert cells(column([True]), as_number) == [INVALID]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([[1, 2], [3.0]], "int64"),
        ([["a"], ["b"]], "string"),
        ([[1], ["2", " 3 ", None]], "int64"),
        ([[1], ["2", "03"]], "string"),
        ([["1"], ["2"]], "string"),
    ],
)
def test_ids_are_text_unless_all_are_whole_numbers(column, columns, kind):
    assert common_id_type([column(values) for values in columns]) == kind


def test_empty_text_columns_do_not_affect_the_id_type(column):
    assert common_id_type([column([1]), column([], pa.string())]) == "int64"
