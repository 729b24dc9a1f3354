"""Checks raw tables against their contracts, reports violations and drops rows as configured.

Each raw table has a pandera schema (:mod:`mlsys.data.schemas`) whose checks are the rules of :mod:`mlsys.data.rules`.
Pandera's own ``validate`` runs one query per check and loads whole columns into memory. Here, one query per table
counts the violations of all checks, and examples are fetched only for violated rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import ibis
from pandera.config import config_context
from pandera.errors import SchemaErrorReason, SchemaErrors

from mlsys.data.config import EventsData
from mlsys.data.parse_columns import column_uses
from mlsys.data.rules import Role, Rule, RuleBook, make_rule_book, typed_table
from mlsys.data.schemas import Contract, make_contracts
from mlsys.data.sources import RawTables
from mlsys.errors import ContractError, DataError, Problem, closest
from mlsys.text import counted, joined

if TYPE_CHECKING:
    import ibis.expr.types as ir

EXAMPLES = 3
MAX_LENGTH = 40  # characters shown of a value


@dataclass(frozen=True)
class ContractFinding:
    """Rows of a table that violate a rule.

    Attributes
    ----------
    table : str
        Name of the table, or of several checked together.
    rule : str
        The rule's name in ``data.rules``.
    action : {"error", "drop", "warn"}
        The action taken.
    count : int
        Number of rows.
    message : str
        A sentence that describes the rows, gives examples and states what happens to them.
    """

    table: str
    rule: str
    action: Literal["error", "drop", "warn"]
    count: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


@dataclass(frozen=True)
class CheckedTables:
    """Raw tables that satisfy their contracts, after dropping rows as configured.

    Attributes
    ----------
    tables : RawTables
        The tables without rows that violate a ``drop`` rule; ids, times, measures and values are parsed.
    findings : tuple of Finding
        The violations, by table and rule.
    """

    tables: RawTables
    findings: tuple[ContractFinding, ...]


@dataclass(frozen=True)
class _ViolatedRule:
    contract: Contract
    rule: Rule
    count: int
    rows: str  # such as "3 rows without an id (…)"


def check_tables(data: EventsData, raw: RawTables, *, today: date | None = None) -> CheckedTables:
    r"""Check raw tables against all rules at once.

    Parameters
    ----------
    data : EventsData
        The meaning of tables and columns, and the action for each rule.
    raw : RawTables
        As opened by :func:`mlsys.data.sources.open_tables`.
    today : date, optional
        The latest valid day if ``data.end`` is not set; today in UTC by default.

    Raises
    ------
    ContractError
        If columns are missing or rules with the action ``error`` are violated; all of them are listed.
    DataError
        If a table is empty or has no rows left.

    Examples
    --------
    >>> from mlsys.data.sources import open_tables
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "accounts.csv").write_text("id\n1\n2\n")
    >>> _ = (folder / "orders.csv").write_text("account,day\n1,2020-03-01\n")
    >>> _ = (folder / "visits.csv").write_text("account,day,n\n1,2020-02-01,3\n7,2020-02-01,1\n")
    >>> data = EventsData.model_validate({
    ...     "kind": "events", "name": "shop", "dir": str(folder),
    ...     "entities": {"tables": ["accounts"], "id": "id"},
    ...     "outcome": {"table": "orders", "id": "account", "time": "day"},
    ...     "events": {"table": "visits", "id": "account", "time": "day", "measures": {"visits": {"web": "n"}},
    ...                "activity": {"measure": "visits"}}})
    >>> checked = check_tables(data, open_tables(data))
    >>> [finding.message for finding in checked.findings]
    ['visits: 1 row whose id is in no entity table (id 7): dropped.']
    >>> checked.tables.events.count().to_pyarrow().as_py()
    1
    """
    book = make_rule_book(data, raw, today)
    contracts = make_contracts(book, raw)
    missing = [problem for contract in contracts for problem in _missing_columns(contract, data)]
    counts = [(contract, *_count(contract)) for contract in contracts]
    violated = [violation for _, _, own in counts for violation in own]
    findings = tuple(_finding(violation) for violation in violated)
    pairs = zip(violated, findings, strict=True)
    errors = [(violation, finding) for violation, finding in pairs if finding.action == "error"]
    if missing or errors:
        raise _contract_error(missing, errors)
    _require_rows(data, {contract.name: count for contract, count, _ in reversed(counts)})  # raw tables come first
    for contract, count, own in counts:
        _require_rows_left(contract, count, [violation for violation in own if violation.rule.removes])
    removing = [violation for violation in violated if violation.rule.removes]
    return CheckedTables(_clean_tables(book, raw, removing), findings)


def _missing_columns(contract: Contract, data: EventsData) -> list[Problem]:
    columns = list(contract.table.columns)
    allowed = f"a column of {contract.name}: {', '.join(columns)}"
    try:
        with config_context(validation_enabled=True, validation_depth="SCHEMA_ONLY", use_narwhals_backend=False):
            contract.schema.validate(contract.table, lazy=True)  # reads no rows
    except SchemaErrors as errors:
        missing = {
            str(error.failure_cases)
            for error in errors.schema_errors
            if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME
        }
        uses = [use for use in column_uses(data) if use.table == contract.name and use.column in missing]
        return [Problem(f"data.{use.meaning}", use.column, allowed, closest(use.column, columns)) for use in uses]
    return []


def _count(contract: Contract) -> tuple[int, list[_ViolatedRule]]:
    """Return the number of rows and the violated rules."""
    table = contract.table
    flags = {f"rule_{number}": ~check(table).check_output for number, check in enumerate(contract.schema.checks)}
    rows = table.select(one=1, **flags)  # as columns first: an aggregate cannot contain a window function
    sums = {name: rows[name].cast("int32").sum() for name in flags}
    result = rows.aggregate(all_rows=rows.count(), **sums).to_pyarrow().to_pylist()[0]
    counts = [int(result[name] or 0) for name in flags]
    violated = [(rule, count) for rule, count in zip(contract.rules, counts, strict=True) if count]
    return int(result["all_rows"]), [
        _ViolatedRule(contract, rule, count, _rows(contract, rule, count)) for rule, count in violated
    ]


def _finding(violation: _ViolatedRule) -> ContractFinding:
    rule, name = violation.rule, violation.contract.name
    consequence = "not allowed" if rule.action == "error" else rule.consequence
    return ContractFinding(name, rule.name, rule.action, violation.count, f"{name}: {violation.rows}: {consequence}.")


def _rows(contract: Contract, rule: Rule, count: int) -> str:
    examples = "; ".join(_examples(contract, rule))
    return f"{counted(count, 'row')} {rule.rows} ({'such as ' if count > EXAMPLES else ''}{examples})"


def _examples(contract: Contract, rule: Rule) -> list[str]:
    """Describe the first violating rows by id; values are fetched as text, as Python has no dates after year 9999."""
    table = contract.table
    shown = list(dict.fromkeys(column for violation in rule.violations for column in violation.columns))
    columns = {f"value_{number}": table[column].cast("string") for number, column in enumerate(shown)}
    key = table[contract.id] if contract.id in table.columns else ibis.null("string")
    flags = {
        f"violation_{number}": violation.breaks(table).fill_null(False)
        for number, violation in enumerate(rule.violations)
    }
    rows = table.select(key=key, label=key.cast("string"), **columns, **flags)
    rows = rows.filter(ibis.or_(*(rows[name] for name in flags)))
    rows = rows.order_by("key", *columns).limit(EXAMPLES).drop("key")
    return [_described(row, contract, rule, shown) for row in rows.to_pyarrow().to_pylist()]


def _described(row: Mapping[str, Any], contract: Contract, rule: Rule, shown: Sequence[str]) -> str:
    text_columns = {column for column in contract.table.columns if contract.table[column].type().is_string()}
    broken = {
        column
        for number, violation in enumerate(rule.violations)
        if row[f"violation_{number}"]
        for column in violation.columns
    }
    cells = [
        f"{column}={_shown(row[f'value_{number}'], column in text_columns)}"
        for number, column in enumerate(shown)
        if column in broken - {contract.id}
    ]
    label = "no id" if row["label"] is None else f"id {_shown(row['label'], contract.id in text_columns)}"
    return f"{label}: {', '.join(cells)}" if cells else label


def _shown(value: str | None, is_text: bool) -> str:
    if value is None:
        return "null"
    short = value if len(value) <= MAX_LENGTH else value[: MAX_LENGTH - 1] + "…"
    return repr(short) if is_text else short


def _contract_error(
    missing: Sequence[Problem], errors: Sequence[tuple[_ViolatedRule, ContractFinding]]
) -> ContractError:
    problems = [
        Problem(f"data.rules.{finding.rule} ({finding.table})", violation.rows, violation.rule.allowed)
        for violation, finding in errors
    ]
    rules = list(dict.fromkeys(finding.rule for _, finding in errors))
    advice = ["In the data config, spell the columns as the tables do."] if missing else []
    if rules:
        keys = joined([f"data.rules.{rule}" for rule in rules])
        advice.append(f"Fix the tables, or set {keys} to drop (exclude such rows) or warn (keep them).")
    return ContractError("The raw tables", [*missing, *problems], " ".join(advice))


def _require_rows(data: EventsData, rows: Mapping[str, int]) -> None:
    required = {"data.entities.tables": data.entities.tables, "data.events.table": [data.events.table]}
    for key, tables in required.items():
        if not any(rows[table] for table in tables):
            raise DataError(f"No rows in {', '.join(tables)}. Add rows, or choose another table with {key}.")


def _require_rows_left(contract: Contract, rows: int, violated: Sequence[_ViolatedRule]) -> None:
    for role in dict.fromkeys(violation.rule.role for violation in violated):
        own = [violation for violation in violated if violation.rule.role == role]
        if sum(violation.count for violation in own) < rows:
            continue
        if _without(contract.table, own).count().to_pyarrow().as_py() == 0:
            keys = joined([f"data.rules.{violation.rule.name}" for violation in own])
            dropped = "; ".join(violation.rows for violation in own)
            raise DataError(
                f"No rows left in table {contract.name} (used as {role}) after applying {keys}. Of "
                f"{counted(rows, 'row')}: {dropped}. Fix the table, check its columns "
                f"under data.{role}, or set {keys} to warn."
            )


def _without(table: ir.Table, violated: Sequence[_ViolatedRule]) -> ir.Table:
    return table.filter(~ibis.or_(*(violation.rule.breaks(table) for violation in violated))) if violated else table


def _clean_tables(book: RuleBook, raw: RawTables, violated: Sequence[_ViolatedRule]) -> RawTables:
    data = book.data

    def clean(name: str, table: ir.Table, *roles: Role) -> ir.Table:
        own = [violation for violation in violated if violation.contract.name == name and violation.rule.role in roles]
        kept = _without(table, own)
        return typed_table(book, raw, name, kept)

    return replace(
        raw,
        entities={name: clean(name, table, "entities") for name, table in raw.entities.items()},
        outcome=clean(data.outcome.table, raw.outcome, "entities", "outcome"),
        events=clean(data.events.table, raw.events, "events"),
    )
