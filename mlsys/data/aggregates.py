"""Aggregates columns in two steps where the database is not DuckDB, so that every database gives the same values.

The database computes sums, counts, minima and maxima, which are the same everywhere. DuckDB computes the rest from its
answer: databases differ in the last bit of a logarithm, in what they take for a space, and in lower-case letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ibis.expr.operations as ops

from mlsys.data.engines import in_duckdb, is_duckdb

if TYPE_CHECKING:
    import ibis.expr.types as ir


def aggregated(rows: ir.Table, keys: Sequence[str], columns: Mapping[str, ir.Value]) -> ir.Table:
    """Return the keys and columns of each group of rows, as a table of DuckDB's.

    Parameters
    ----------
    rows : ibis table
        In DuckDB, where nothing is run yet, or in another database, which is asked at once.
    keys : sequence of str
        Columns that are equal within a group.
    columns : mapping of str to ibis scalar
        Expressions of aggregates of ``rows``.
    """
    if is_duckdb(rows):
        return rows.group_by(keys).aggregate(**columns)
    names = _names(columns)
    groups = in_duckdb(only_aggregates(rows, keys, columns))
    fields = {node: groups[name].op() for node, name in names.items()}
    return groups.select(*keys, **{name: column.op().replace(fields).to_expr() for name, column in columns.items()})


def only_aggregates(rows: ir.Table, keys: Sequence[str], columns: Mapping[str, ir.Value]) -> ir.Table:
    """Return the keys of each group of rows and the aggregates that columns are computed from.

    Examples
    --------
    >>> import ibis
    >>> rows = ibis.memtable({"id": [1, 1, 2], "n": [3, 4, 5]}, schema={"id": "int64", "n": "int64"})
    >>> only_aggregates(rows, ["id"], {"growth": rows.n.max().log() - rows.n.min().log()}).columns
    ('id', 'aggregate_0', 'aggregate_1')
    """
    return rows.group_by(keys).aggregate(**{name: node.to_expr() for node, name in _names(columns).items()})


def _names(columns: Mapping[str, ir.Value]) -> dict[ops.Node, str]:
    found = (node for column in columns.values() for node in column.op().find(ops.Reduction, filter=ops.Value))
    return {node: f"aggregate_{number}" for number, node in enumerate(dict.fromkeys(found))}
