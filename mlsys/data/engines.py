"""Engines that compute panels: DuckDB in this process, or any database or cluster that Ibis connects to by a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa
from ibis.util import gen_name

from mlsys.data.expression_cache import repair_expression_cache
from mlsys.data.spark import SPARK, connect_spark, has_java, has_session, is_master, spark_table
from mlsys.errors import DataError, Problem, closest
from mlsys.redaction import without_password

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

EMBEDDED = "duckdb://"
# The panel's query already joins in a good order for any table. DuckDB reorders joins by sampled estimates, and a bad
# estimate turns seconds into minutes.
DUCKDB_SETTINGS = {"disabled_optimizers": "join_order"}
EXAMPLES = "duckdb://, postgres://user@host:5432/database, pyspark://local[2] or spark://host:7077"
OTHER_NAMES = {"postgresql": "postgres", "spark": SPARK}
EXTRAS = {"postgres": "mlsys[postgres]", SPARK: "mlsys[spark]"}


def engine_problems(url: str | None) -> list[Problem]:
    """Return what is wrong with ``data.engine`` without connecting to it.

    Examples
    --------
    >>> print(engine_problems("pyspak://local")[0].closest)
    pyspark://
    >>> engine_problems("duckdb://")
    []
    """
    if url is None:
        return []
    scheme, mark, rest = url.partition("://")
    known = [*sorted(entry.name for entry in entry_points(group="ibis.backends")), *OTHER_NAMES]
    if not mark or scheme not in known:
        near = closest(scheme, known)
        allowed = f"null (where the tables are), or an Ibis URL such as {EXAMPLES}"
        return [Problem("data.engine", without_password(url), allowed, f"{near}://" if near else None)]
    if scheme == "duckdb" and rest:
        return [Problem("data.engine", url, f"{EMBEDDED}, which computes the panel in this process, or another engine")]
    if _name(url) == SPARK and not is_master(url):
        allowed = (
            "pyspark://local[2], pyspark://yarn, pyspark://k8s://…, spark://host:7077, or pyspark:// as configured"
        )
        return [Problem("data.engine", url, allowed, closest(url, ["pyspark://local", "pyspark://yarn"]))]
    try:
        getattr(ibis, _name(url))
    except ImportError:
        allowed = f"an engine that is installed: run {_install(_name(url))}"
        return [Problem("data.engine", without_password(url), allowed)]
    if _name(url) == SPARK and not has_java():
        allowed = "an engine that can start: Spark needs Java 17 or 21. Install one, or set JAVA_HOME to its folder"
        return [Problem("data.engine", url, allowed)]
    return []


def connect(url: str, key: str) -> BaseBackend:
    """Connect to the database or cluster that a URL names.

    Parameters
    ----------
    url : str
        As for :func:`ibis.connect`; or ``spark://host:7077``, or ``pyspark://MASTER`` with any master of Spark's.
    key : str
        The config key that has the URL, for the error message.

    Raises
    ------
    DataError
        If it cannot be reached.
    """
    repair_expression_cache()
    try:
        if url == EMBEDDED:
            return ibis.duckdb.connect(**DUCKDB_SETTINGS)
        return connect_spark(url) if _name(url) == SPARK else ibis.connect(url)
    except Exception as error:
        raise DataError(
            f"Cannot connect to the {url.partition('://')[0]!r} backend ({key}): {error}\n"
            "Expected an Ibis URL such as duckdb://file.duckdb, sqlite://file.db, "
            f"postgres://user:password@host:5432/database, pyspark:// or spark://host:7077; servers need their extra "
            f"({_install(_name(url))})."
        ) from error


@contextmanager
def connected(url: str, key: str) -> Iterator[BaseBackend]:
    """Connect as `connect` does, and disconnect at the end; a Spark session that was there before is left running."""
    lasts = _name(url) == SPARK and has_session()
    connection = connect(url, key)
    try:
        yield connection
    finally:
        if not lasts:
            connection.disconnect()


def place(table: ir.Table, engine: BaseBackend) -> ir.Table:
    """Copy the rows of a table to an engine, into a table that disappears with the connection."""
    rows, name = table.to_pyarrow(), gen_name("mlsys")
    if engine.name == SPARK:
        return spark_table(engine, rows, name)
    if engine.name == "duckdb":
        # Not create_table: with DuckDB 2, Ibis 12 then tries to drop an unnamed view and fails.
        engine.con.register(name, rows)
        return engine.table(name)
    return engine.create_table(name, rows, temp=True)


def stored(table: ir.Table, connection: BaseBackend) -> ir.Table:
    """Compute a table once, for several queries to read it where it is."""
    name = gen_name("mlsys")
    if connection.name != SPARK:
        return connection.create_table(name, table, temp=True)
    view = connection.create_view(name, table)  # Spark has no temporary tables
    connection.raw_sql(f"CACHE TABLE {name}")
    return view


def is_duckdb(table: ir.Table) -> bool:
    """Whether DuckDB computes a table, in this process."""
    return bool(ibis.get_backend(table).name == "duckdb")


def in_duckdb(table: ir.Table) -> ir.Table:
    """Return a table for DuckDB to work with: the same one, or its rows if another engine computes it."""
    return table if is_duckdb(table) else ibis.memtable(_rows(table))


def _rows(table: ir.Table) -> pa.Table:
    return table.to_pyarrow().cast(table.schema().to_pyarrow())


def _name(url: str) -> str:
    """Return the name of the Ibis backend that a URL is for."""
    scheme = url.partition("://")[0]
    return OTHER_NAMES.get(scheme, scheme)


def _install(name: str) -> str:
    return f"pip install '{EXTRAS.get(name, f'ibis-framework[{name}]')}'"
