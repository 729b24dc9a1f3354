"""Column names are checked before rows are read, and raw tables are converted to canonical form."""

from datetime import UTC, date, datetime, timedelta, timezone

import ibis
import pyarrow as pa
import pytest

from mlsys.data.config import EventsData
from mlsys.data.sources import (
    RawTables,
    canonical_entities,
    canonical_events,
    column_problems,
    day_number,
    fingerprint,
    floor_day,
    open_tables,
)


def raw_of(**tables):
    """Return raw tables in memory: entity tables, orders and visits."""
    connection = ibis.duckdb.connect()
    for name, rows in tables.items():
        connection.con.register(name, rows if isinstance(rows, pa.Table) else pa.table(rows))
    found = {name: connection.table(name) for name in tables}
    orders, visits = found.pop("orders"), found.pop("visits")
    return RawTables(connection, found, orders, visits)


ORDERS = {"id": [1], "at": [datetime(2020, 2, 1)], "worth": [9.0]}
VISITS = {"id": [1], "at": [datetime(2020, 1, 1)], "a_x": [1], "a_y": [2], "u_x": [1], "u_y": [1]}


def shop(tables=("accounts",), attributes=None, created=None, measures=None, **changes):
    """Return a config for the given entity tables."""
    settings = {
        "kind": "events",
        "name": "shop",
        "dir": ".",
        "entities": {"tables": list(tables), "id": "id", "created": created, "attributes": attributes or {}},
        "outcome": {"table": "orders", "id": "id", "time": "at", "value": "worth"},
        "events": {
            "table": "visits",
            "id": "id",
            "time": "at",
            "available_after_days": 7,
            "measures": {"actions": {"x": "a_x", "y": "a_y"}, "users": {"x": "u_x", "y": "u_y"}}
            if measures is None
            else measures,
            "activity": {"measure": "users"},
        },
    }
    return EventsData.model_validate(settings | changes)


TIMES = [
    (date(2020, 2, 29), 18321, 18321),
    (datetime(2020, 2, 29), 18321, 18321),
    (datetime(2020, 2, 29, 0, 0, 0, 1), 18322, 18321),
    (datetime(2020, 2, 29, 23, 59, 59), 18322, 18321),
    (datetime(1969, 12, 31, 12), 0, -1),
    (date(1960, 1, 1), -3653, -3653),
    (datetime(2020, 2, 29, 0, 30, tzinfo=timezone(timedelta(hours=1))), 18321, 18320),  # 23:30 of the day before in UTC
    (datetime(2020, 2, 29, 1, tzinfo=timezone(timedelta(hours=1))), 18321, 18321),
]


@pytest.mark.parametrize(("time", "rounded_up", "rounded_down"), TIMES, ids=lambda value: str(value))
def test_times_are_rounded_to_days_in_utc(time, rounded_up, rounded_down):
    with_zone = isinstance(time, datetime) and time.tzinfo
    kind = pa.date32() if type(time) is date else pa.timestamp("us", tz="Europe/Berlin" if with_zone else None)
    if with_zone:
        time = time.astimezone(UTC).replace(tzinfo=None)  # Arrow expects naive UTC values for such a column
    rows = ibis.memtable(pa.table({"at": pa.array([time, None], kind)}))
    assert day_number(rows["at"]).to_pyarrow().to_pylist() == [rounded_up, None]
    assert floor_day(rows["at"]).to_pyarrow().to_pylist() == [rounded_down, None]


def test_entity_tables_are_combined():
    raw = raw_of(
        paying={"id": [1, 2], "SIZE": ["a ", ""], "JOINED": [date(2020, 1, 1), None]},
        free={"id": [3, None], "KIND": [1.5, 2.5]},
        orders={"id": [1, 9], "at": [datetime(2020, 2, 1, 9), datetime(2020, 2, 1)], "worth": [9, 9]},
        visits=VISITS,
    )
    data = shop(["paying", "free"], {"size": "SIZE", "kind": "KIND"}, created="JOINED")
    found = canonical_entities(data, raw).order_by("id").to_pyarrow().to_pylist()
    assert found == [
        {"id": 1, "size": "a", "kind": None, "created_day": 18262, "outcome_day": 18294, "value": 9.0},
        {"id": 2, "size": None, "kind": None, "created_day": None, "outcome_day": None, "value": None},
        {"id": 3, "size": None, "kind": 1.5, "created_day": None, "outcome_day": None, "value": None},
    ]


def test_the_most_complete_row_of_each_id_is_kept():
    accounts = {"id": [1, 1, 2, 2, 2], "A": ["x", None, None, "y", "y"], "B": [None, None, "z", "w", "v"]}
    raw = raw_of(accounts=accounts, orders=ORDERS, visits=VISITS)
    found = canonical_entities(shop(attributes={"a": "A", "b": "B"}), raw).order_by("id").to_pyarrow().to_pylist()
    assert [(row["id"], row["a"], row["b"]) for row in found] == [(1, "x", None), (2, "y", "v")]


def test_entities_without_attributes_or_value():
    raw = raw_of(accounts={"id": ["b", "a"]}, orders=ORDERS | {"id": ["a"]}, visits=VISITS | {"id": ["a"]})
    outcome = {"table": "orders", "id": "id", "time": "at"}
    found = canonical_entities(shop(outcome=outcome), raw).order_by("id").to_pyarrow().to_pylist()
    assert [row["outcome_day"] for row in found] == [18293, None]
    assert [row["value"] for row in found] == [None, None]


def test_known_days_and_types_of_events():
    visits = pa.table(
        {
            "id": [1, 1, None, 1],
            "at": [datetime(2020, 1, 1), datetime(2020, 1, 1, 5), datetime(2020, 1, 1), None],
            "a_x": pa.array([1, 2, 3, 4], pa.int16()),
            "a_y": pa.array([0.5, None, 1, 1], pa.float32()),
            "u_x": pa.array([1, None, 1, 1], pa.decimal128(9, 2)),
            "u_y": pa.array([1, 1, 1, 1], pa.uint8()),
        }
    )
    raw = raw_of(accounts={"id": [1]}, orders=ORDERS, visits=visits)
    events = canonical_events(shop(), raw).order_by("known_day")
    assert events.to_pyarrow().to_pydict() == {
        "id": [1, 1],
        "known_day": [18262 + 7, 18263 + 7],
        "actions_x": [1, 2],
        "actions_y": [0.5, None],
        "users_x": [1.0, None],
        "users_y": [1, 1],
    }
    types = {name: str(kind) for name, kind in events.schema().items()}
    assert [types[f"{kind}"] for kind in ("actions_x", "actions_y", "users_x", "users_y")] == [
        *("int64", "float64", "float64", "int64")
    ]


def test_missing_columns_are_listed_with_the_closest_match():
    raw = raw_of(
        paying={"ID": [1], "Size": ["a"]},
        free={"id": [2], "KIND": ["b"]},
        orders={"id": [1], "when": [date(2020, 1, 1)]},
        visits=VISITS,
    )
    data = shop(["paying", "free"], {"size": "SIZE", "kind": "KIND"}, created="JOINED", dir=".")
    problems = {problem.where: problem for problem in column_problems(data, raw)}
    assert list(problems) == [
        *("data.entities.id", "data.entities.created", "data.entities.attributes.size"),
        *("data.outcome.time", "data.outcome.value"),
    ]
    assert problems["data.entities.id"].allowed == "a column of paying: ID, Size"
    assert problems["data.entities.id"].closest == "ID"
    assert problems["data.entities.attributes.size"].allowed == "a column of paying, free: ID, KIND, Size, id"
    assert problems["data.entities.attributes.size"].closest == "Size"
    assert problems["data.outcome.time"].got == "at"


def test_open_tables(crm):
    data = crm.data()
    raw = open_tables(data, threads=1)
    assert raw.outcome is raw.entities["customers"]
    assert [path.name for path in raw.files] == ["customers.csv", "noncustomers.csv", "usage_actions.csv"]
    assert set(raw.by_name(data)) == {"customers", "noncustomers", "usage_actions"}
    assert raw.connection.con.execute("SELECT current_setting('threads')").fetchone() == (1,)
    raw.connection.disconnect()


def test_fingerprint(crm, tmp_path):
    for file in crm.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    here, copy = (fingerprint(open_tables(crm.data(dir=str(folder)))) for folder in (crm.folder, tmp_path))
    assert here == copy
    with (tmp_path / "noncustomers.csv").open("ab") as file:
        file.write(b"\n")
    assert fingerprint(open_tables(crm.data(dir=str(tmp_path)))) != here
    assert fingerprint(raw_of(accounts={"id": [1]}, orders=ORDERS, visits=VISITS)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": {"value": "SIZE"}}, "reserved attribute name: value"),
        ({"attributes": {"ID": "SIZE"}}, "reserved attribute name: ID"),
        ({"measures": {"a": {"b_c": "x"}, "a_b": {"c": "y"}}}, "duplicate or reserved measure name: a_b_c"),
        ({"measures": {"known": {"day": "x"}}}, "duplicate or reserved measure name: known_day"),
        ({"measures": {"users": {}}}, "at least 1 item"),
        ({"measures": {}}, "at least 1 item"),
    ],
)
def test_duplicate_and_reserved_names_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        shop(**changes)


@pytest.mark.parametrize("given", [{}, {"dir": ".", "url": "duckdb://x"}, {"url": "duckdb://x", "demo": {}}])
def test_exactly_one_source_is_required(given):
    with pytest.raises(ValueError, match=r"set exactly one of dir, url and demo; got (none|dir, url|url, demo)"):
        shop(**({"dir": None} | given))
