"""Describes the columns of raw tables: their use in the config and their contents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import ibis

from mlsys.data.config import EventsData
from mlsys.data.parse_columns import column_uses
from mlsys.data.sources import RawTables

if TYPE_CHECKING:
    import ibis.expr.types as ir

SAMPLED = 200  # rows to take examples from
EXAMPLES = 3
MAX_LENGTH = 40  # characters shown of a value


@dataclass(frozen=True)
class ColumnSummary:
    """Summary of one column of a raw table.

    Attributes
    ----------
    table, column : str
        Names of the table and the column at the source.
    meaning : str
        Uses of the column in the config, such as ``outcome.time``, separated by commas; empty if it is not used.
    type : str
        The Ibis type, such as ``int64`` or ``timestamp(6)``.
    rows : int
        Number of rows in the table.
    missing : float
        Fraction of rows that are null, blank or NaN; NaN for an empty table.
    distinct : int
        Number of distinct non-missing values.
    minimum, maximum : str or None
        Smallest and largest non-missing values, as text; None if there are none or the type has no order.
    examples : tuple of str
        Up to three distinct values from the first rows.
    """

    table: str
    column: str
    meaning: str
    type: str
    rows: int
    missing: float
    distinct: int
    minimum: str | None
    maximum: str | None
    examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self) | {"missing": None if self.rows == 0 else self.missing, "examples": list(self.examples)}


def describe_tables(data: EventsData, raw: RawTables) -> list[ColumnSummary]:
    r"""Describe every column of every raw table, used or not, in table and column order.

    Parameters
    ----------
    data : EventsData
        The meaning of the columns.
    raw : RawTables
        As opened by :func:`mlsys.data.sources.open_tables`. Each table is read once, and its first rows once more for
        examples.

    Examples
    --------
    >>> from mlsys.data.sources import open_tables
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "accounts.csv").write_text("id,size\n1,small\n2,\n")
    >>> _ = (folder / "orders.csv").write_text("account,day\n1,2020-03-01\n")
    >>> _ = (folder / "visits.csv").write_text("account,day,n\n1,2020-02-01,3\n")
    >>> data = EventsData.model_validate({
    ...     "kind": "events", "name": "shop", "dir": str(folder),
    ...     "entities": {"tables": ["accounts"], "id": "id", "attributes": {"size": "size"}},
    ...     "outcome": {"table": "orders", "id": "account", "time": "day"},
    ...     "events": {"table": "visits", "id": "account", "time": "day", "measures": {"visits": {"web": "n"}},
    ...                "activity": {"measure": "visits"}}})
    >>> summary = describe_tables(data, open_tables(data))[1]
    >>> summary.meaning, summary.type, summary.missing, summary.examples
    ('entities.attributes.size', 'string', 0.5, ('small',))
    """
    summaries = []
    for name, table in raw.by_name(data).items():
        uses = [use for use in column_uses(data) if use.table == name]
        meanings = {column: ", ".join(use.meaning for use in uses if use.column == column) for column in table.columns}
        summaries += _summaries(name, table, meanings)
    return summaries


def _summaries(name: str, table: ir.Table, meanings: dict[str, str]) -> list[ColumnSummary]:
    columns = {column: _present(table[column]) for column in table.columns}
    aggregates: dict[str, ir.Scalar] = {}
    for number, column in enumerate(columns.values()):
        aggregates[f"present_{number}"] = column.count()
        aggregates[f"distinct_{number}"] = column.nunique()
        if _is_ordered(column):
            aggregates[f"minimum_{number}"] = column.min().cast("string")  # Python has no dates after year 9999
            aggregates[f"maximum_{number}"] = column.max().cast("string")
    result = table.aggregate(all_rows=table.count(), **aggregates).to_pyarrow().to_pylist()[0]
    texts = {f"text_{number}": column.cast("string") for number, column in enumerate(columns.values())}
    sample = table.select(**texts).limit(SAMPLED).to_pyarrow().to_pydict()
    rows = int(result["all_rows"])
    return [
        ColumnSummary(
            table=name,
            column=column,
            meaning=meanings[column],
            type=str(table[column].type()),
            rows=rows,
            missing=(rows - result[f"present_{number}"]) / rows if rows else float("nan"),
            distinct=int(result[f"distinct_{number}"]),
            minimum=_short(result.get(f"minimum_{number}")),
            maximum=_short(result.get(f"maximum_{number}")),
            examples=_examples(sample[f"text_{number}"]),
        )
        for number, column in enumerate(columns)
    ]


def _present(column: ir.Column) -> ir.Column:
    """Return the column with blank text and NaN as null."""
    kind = column.type()
    if kind.is_string():
        return column.strip().nullif("")
    return column.isnan().ifelse(ibis.null(kind), column) if kind.is_floating() else column


def _is_ordered(column: ir.Column) -> bool:
    kind = column.type()
    return bool(kind.is_numeric() or kind.is_temporal() or kind.is_string() or kind.is_boolean())


def _examples(texts: list[str | None]) -> tuple[str, ...]:
    distinct = dict.fromkeys(_short(text) for text in texts)
    return tuple(text for text in distinct if text is not None)[:EXAMPLES]


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"
