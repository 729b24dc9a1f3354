from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import count

import ibis
import pyarrow as pa
import pytest

from mlsys.data.parse_columns import common_id_type, read_id, read_moment, read_number

UNREADABLE = object()


@pytest.fixture(scope="module")
def column():
    connection, numbers = ibis.duckdb.connect(), count()

    def make(values, kind=None):
        name = f"table_{next(numbers)}"
        connection.con.register(name, pa.table({"cell": pa.array(values, type=kind)}))
        return connection.table(name).cell

    return make


def cells(column, read):
    """Return each cell's value, None where it is missing, UNREADABLE where it cannot be read."""
    reading = read(column)
    (table,) = column.op().relations
    table = table.to_expr().select(missing=reading.missing, wrong=reading.unreadable, value=reading.value)
    found = []
    for row in table.to_pyarrow().to_pylist():
        assert not (row["missing"] and row["wrong"])
        assert (row["value"] is None) == (row["missing"] or row["wrong"])
        found.append(UNREADABLE if row["wrong"] else row["value"])
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12.0),
        (" -1.5e2 ", -150.0),
        (".5", 0.5),
        ("", None),
        ("  ", None),
        ("1,000", UNREADABLE),
        ("1_000", UNREADABLE),
        ("nan", UNREADABLE),
        ("0x1F", UNREADABLE),
        ("n/a", UNREADABLE),
    ],
)
def test_numbers_in_text(column, text, value):
    assert cells(column([text]), read_number) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-02-24", datetime(2020, 2, 24)),
        (" 2020-02-24 08:30 ", datetime(2020, 2, 24, 8, 30)),
        ("2020-02-24T08:30:15.25Z", datetime(2020, 2, 24, 8, 30, 15, 250_000)),
        ("2020-02-24T23:30:00-05:00", datetime(2020, 2, 25, 4, 30)),
        ("2020-02-30", UNREADABLE),
        ("24.02.2020", UNREADABLE),
        ("1582502400", UNREADABLE),
        ("infinity", UNREADABLE),
        (" ", None),
    ],
)
def test_moments_in_text(column, text, value):
    assert cells(column([text]), read_moment) == [value]


def test_columns_that_are_right_stay_as_they_are(column):
    numbers, days = column([1, None]), column([datetime(2020, 2, 24), None])
    assert read_number(numbers).value is numbers
    assert read_id(numbers, "int64").value.equals(numbers)
    assert read_moment(days).value is days
    assert cells(days, read_moment) == [datetime(2020, 2, 24), None]


def test_other_numbers(column):
    assert cells(column([True, False, None]), read_number) == [1, 0, None]
    assert cells(column([Decimal("1.25"), None]), read_number) == [1.25, None]
    assert cells(column([1.5, float("nan"), float("-inf")]), read_number) == [1.5, None, UNREADABLE]
    assert cells(column([datetime(2020, 2, 24), None]), read_number) == [UNREADABLE, None]


def test_ids(column):
    as_text, as_number = partial(read_id, id_type="string"), partial(read_id, id_type="int64")
    assert cells(column([7, None], pa.int32()), as_text) == ["7", None]
    assert cells(column([" a1 ", "", None]), as_text) == ["a1", None, None]
    assert cells(column(["7", "07", "a1"]), as_number) == [7, UNREADABLE, UNREADABLE]
    assert cells(column([7.0, 7.5, float("nan"), 1e30]), as_number) == [7, UNREADABLE, None, UNREADABLE]
    assert cells(column([True]), as_number) == [UNREADABLE]


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


def test_ids_of_an_empty_text_column_do_not_decide(column):
    assert common_id_type([column([1]), column([], pa.string())]) == "int64"
