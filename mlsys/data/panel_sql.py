"""The panel's query in the SQL of any database that Ibis knows, without a connection to it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

import ibis
import ibis.backends.sql.compilers as compilers

from mlsys.data.config import EventsData
from mlsys.data.panel import PanelRequest, Times, engine_query, time_columns
from mlsys.data.rules import typed_tables
from mlsys.data.sources import RawTables, canonical_entities, canonical_events
from mlsys.errors import ConfigError, Problem, closest
from mlsys.text import joined

if TYPE_CHECKING:
    import ibis.expr.operations as ops
    import ibis.expr.types as ir
    from ibis.backends.sql.compilers.base import SQLGlotCompiler

DIALECTS = tuple(
    module.name for module in pkgutil.iter_modules(compilers.__path__) if module.name not in ("_compat", "base")
)


def panel_sql(data: EventsData, raw: RawTables, request: PanelRequest, dialect: str) -> str:
    """Return the SQL that a database runs for a panel: the spine, and the aggregates of the events known by each as-of.

    What a `TableBlock` computes is not in it, as that is a query of its own.

    Parameters
    ----------
    data : EventsData
        The data config, whose names the tables and columns have in the query.
    raw : RawTables
        Tables of the same types, in any database; see :func:`mlsys.data.load.check_source`. No row is read.
    request : PanelRequest
        The blocks and the label window. The query reads the as-ofs from a table ``cutoffs``, and the windows' edges
        from a table ``calendar``: see :func:`mlsys.data.panel.time_columns`.
    dialect : str
        A name of Ibis's, such as ``snowflake``.

    Raises
    ------
    ConfigError
        If there is no such dialect.
    """
    if dialect not in DIALECTS:
        problem = Problem("--dialect", dialect, joined(DIALECTS, "or"), closest(dialect, DIALECTS))
        raise ConfigError("The command", [problem], "Nothing was run.")
    typed = typed_tables(data, raw)
    named = {table.op(): ibis.table(table.schema(), name=name).op() for name, table in raw.by_name(data).items()}
    entities = _replaced(canonical_entities(data, typed), named)
    events = _replaced(canonical_events(data, typed), named)
    cutoffs, calendar = time_columns(request.as_ofs, request.windows)
    times = Times(_days("cutoffs", cutoffs), _days("calendar", calendar), calendar["day"][0])
    query = engine_query(entities, events, request, times)
    compiler = _compiler(dialect)
    return str(compiler.to_sqlglot(query).sql(dialect=compiler.dialect, pretty=True))


def _days(name: str, columns: Iterable[str]) -> ir.Table:
    return ibis.table(dict.fromkeys(columns, "int64"), name=name)


def _replaced(table: ir.Table, operations: dict[ops.Node, ops.Node]) -> ir.Table:
    return table.op().replace(operations).to_expr()


def _compiler(dialect: str) -> SQLGlotCompiler:
    # Not ibis.to_sql, which imports the database's driver.
    return importlib.import_module(f"{compilers.__name__}.{dialect}").compiler
