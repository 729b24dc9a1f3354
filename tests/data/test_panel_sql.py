"""The panel's query for databases that the tests have no server of: it is valid, reads only, and means the same."""

from datetime import date

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from mlsys.data.load import check_source
from mlsys.data.panel import PanelRequest, Times, engine_query, time_columns
from mlsys.data.panel_sql import panel_sql
from mlsys.data.sources import canonical_entities, canonical_events
from tests.data.random_tables import random_tables

DIALECTS = ["snowflake", "bigquery"]
AS_OFS = [date(2019, 9, 2), date(2019, 12, 2)]
WRITES = (exp.DML, exp.DDL, exp.Command, exp.Set, exp.Use, exp.Into)


@pytest.fixture(scope="module")
def frames():
    return random_tables(4)


@pytest.fixture(scope="module")
def data(frames, crm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return crm.data(dir=str(folder))


@pytest.fixture(scope="module")
def request_(data, usage_blocks):
    products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
    return PanelRequest(usage_blocks, AS_OFS, data.horizon_days, date(2020, 3, 30), data.events.activity, products)


@pytest.fixture(scope="module")
def tables(frames, request_):
    """The tables that the query reads, by name."""
    cutoffs, calendar = time_columns(request_.as_ofs, request_.windows)
    arrow = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
    return arrow | {"cutoffs": pa.table(cutoffs), "calendar": pa.table(calendar)}


@pytest.fixture(scope="module")
def raw(data, usage_blocks):
    raw = check_source(data, usage_blocks, threads=1)
    yield raw
    raw.connection.disconnect()


@pytest.fixture(scope="module", params=DIALECTS)
def query(request, data, raw, request_):
    """The dialect, and the only statement of the query in it."""
    (statement,) = sqlglot.parse(panel_sql(data, raw, request_, request.param), read=request.param)
    return request.param, statement


def test_the_query_only_reads(query, tables):
    _, statement = query
    assert isinstance(statement, exp.Query)
    assert not list(statement.find_all(*WRITES))
    assert {table.name for table in statement.find_all(exp.Table)} == set(tables)


def test_the_database_has_its_functions(query):
    dialect, statement = query
    assert [function.name for function in statement.find_all(exp.Anonymous)] == []  # unknown to the dialect
    assert statement.sql(dialect, unsupported_level=ErrorLevel.RAISE)


def test_its_names_and_types_are_right(query, tables):
    dialect, statement = query
    types = {pa.int64(): "bigint", pa.float64(): "double", pa.timestamp("us"): "timestamp"}
    schema = {
        quoted(name, dialect): {quoted(field.name, dialect): types.get(field.type, "text") for field in table.schema}
        for name, table in tables.items()
    }
    qualified = qualify(statement.copy(), schema=schema, dialect=dialect, validate_qualify_columns=True)
    typed = annotate_types(qualified, schema=schema, dialect=dialect)
    unknown = [column.alias for column in typed.selects if column.type is None or column.type.is_type("unknown")]
    assert unknown == []


def quoted(name, dialect):
    return exp.to_identifier(name, quoted=True).sql(dialect)


def test_it_means_the_same(query, tables, data, raw, request_):
    _, statement = query
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        found = connection.sql(statement.sql("duckdb")).to_arrow_table()
    entities, events = canonical_entities(data, raw), canonical_events(data, raw)
    expected = engine_query(entities, events, request_, Times.at(request_.as_ofs, request_.windows)).to_pyarrow()
    assert expected.num_rows > 40
    keys = [("as_of_day", "ascending"), ("id", "ascending")]
    assert found.sort_by(keys).cast(expected.schema).equals(expected.sort_by(keys))


def test_the_command_prints_it(mlsys, data):
    arguments = ["data=hubspot", f"data.dir={data.dir}", "data.spine.dates=[2019-12-02]", "features=minimal"]
    code, output, _ = mlsys("data", "sql", *arguments, "--dialect", "snowflake")
    assert code == 0
    assert isinstance(sqlglot.parse_one(output, read="snowflake"), exp.Select)
    code, _, error = mlsys("data", "sql", *arguments, "--dialect", "snowflak")
    assert code == 2
    assert "closest: snowflake" in error
