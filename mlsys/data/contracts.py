"""Checks raw tables against their contracts: says what is wrong, leaves out what the config wants left out.

Each raw table has a pandera schema (:mod:`mlsys.data.schemas`) whose checks are the rules of :mod:`mlsys.data.rules`.
Pandera's own ``validate`` runs a query for each check and brings whole columns into memory; here its lazy checks are
counted together in one query for each table, and examples are fetched only of rules that are broken.
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

if TYPE_CHECKING:
    import ibis.expr.types as ir

EXAMPLES = 3
LONGEST = 40  # characters of a shown value


@dataclass(frozen=True)
class Finding:
    """Rows of a table that break a rule.

    Attributes
    ----------
    table : str
        Name of the table, or of several checked together.
    rule : str
        As in ``data.rules``.
    action : {"error", "drop", "warn"}
        What was done.
    count : int
        Rows.
    message : str
        One sentence for people: how many rows of what, examples, and what happens to them.
    """

    table: str
    rule: str
    action: Literal["error", "drop", "warn"]
    count: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """Raw tables that kept their contracts, or have been brought to do so.

    Attributes
    ----------
    tables : RawTables
        Without the rows that break a ``drop`` rule; ids, times, measures and values have types that can be cast.
    findings : tuple of Finding
        What was wrong, by table and rule.
    """

    tables: RawTables
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Breach:
    contract: Contract
    rule: Rule
    count: int
    rows: str  # such as "3 rows without an id (…)"


def check_tables(data: EventsData, raw: RawTables, *, today: date | None = None) -> Checked:
    r"""Check raw tables against all rules at once.

    Parameters
    ----------
    data : EventsData
        What tables and columns mean, and the action for each rule.
    raw : RawTables
        As opened by :func:`mlsys.data.sources.open_tables`.
    today : date, optional
        The last possible day where ``data.end`` is not given; today in UTC without.

    Raises
    ------
    ContractError
        Listing every missing column and every broken rule whose action is ``error``.
    DataError
        Where a table is empty, or has no rows left.

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
    ['visits: 1 row whose id is in no entity table (id 7): left out.']
    >>> checked.tables.events.count().to_pyarrow().as_py()
    1
    """
    book = make_rule_book(data, raw, today)
    contracts = make_contracts(book, raw)
    missing = [problem for contract in contracts for problem in _missing_columns(contract, data)]
    counted = [(contract, *_count(contract)) for contract in contracts]
    breaches = [breach for _, _, found in counted for breach in found]
    findings = tuple(_finding(breach) for breach in breaches)
    wrong = [(breach, finding) for breach, finding in zip(breaches, findings, strict=True) if finding.action == "error"]
    if missing or wrong:
        raise _contract_error(missing, wrong)
    _require_rows(data, {contract.name: count for contract, count, _ in reversed(counted)})  # raw tables come first
    for contract, count, found in counted:
        _require_rows_left(contract, count, [breach for breach in found if breach.rule.removes])
    return Checked(_mended(book, raw, [breach for breach in breaches if breach.rule.removes]), findings)


def _missing_columns(contract: Contract, data: EventsData) -> list[Problem]:
    columns = list(contract.table.columns)
    allowed = f"a column of {contract.name}: {', '.join(columns)}"
    try:
        with config_context(validation_enabled=True, validation_depth="SCHEMA_ONLY", use_narwhals_backend=False):
            contract.schema.validate(contract.table, lazy=True)  # reads no rows
    except SchemaErrors as errors:
        absent = {
            str(error.failure_cases)
            for error in errors.schema_errors
            if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME
        }
        uses = [use for use in column_uses(data) if use.table == contract.name and use.column in absent]
        return [Problem(f"data.{use.meaning}", use.column, allowed, closest(use.column, columns)) for use in uses]
    return []


def _count(contract: Contract) -> tuple[int, list[_Breach]]:
    """Return the number of rows, and the broken rules."""
    table = contract.table
    broken = {f"rule_{number}": ~check(table).check_output for number, check in enumerate(contract.schema.checks)}
    rows = table.select(one=1, **broken)  # first as columns: an aggregate cannot hold a window function
    sums = {name: rows[name].cast("int32").sum() for name in broken}
    result = rows.aggregate(all_rows=rows.count(), **sums).to_pyarrow().to_pylist()[0]
    counts = [int(result[name] or 0) for name in broken]
    found = [(rule, count) for rule, count in zip(contract.rules, counts, strict=True) if count]
    breaches = [_Breach(contract, rule, count, _rows(contract, rule, count)) for rule, count in found]
    return int(result["all_rows"]), breaches


def _finding(breach: _Breach) -> Finding:
    rule, name = breach.rule, breach.contract.name
    what = "stopped" if rule.action == "error" else rule.consequence
    return Finding(name, rule.name, rule.action, breach.count, f"{name}: {breach.rows}: {what}.")


def _rows(contract: Contract, rule: Rule, count: int) -> str:
    examples = "; ".join(_examples(contract, rule))
    return (
        f"{count:,} {'row' if count == 1 else 'rows'} {rule.rows} ({'such as ' if count > EXAMPLES else ''}{examples})"
    )


def _examples(contract: Contract, rule: Rule) -> list[str]:
    """Describe the first rows by id; values travel as text, as Python has no date after the year 9999."""
    table = contract.table
    shown = list(dict.fromkeys(column for part in rule.parts for column in part.columns))
    columns = {f"value_{number}": table[column].cast("string") for number, column in enumerate(shown)}
    key = table[contract.id] if contract.id in table.columns else ibis.null("string")
    parts = {f"part_{number}": part.breaks(table).fill_null(False) for number, part in enumerate(rule.parts)}
    rows = table.select(key=key, label=key.cast("string"), **columns, **parts)
    rows = rows.filter(ibis.or_(*(rows[name] for name in parts)))
    rows = rows.order_by("key", *columns).limit(EXAMPLES).drop("key")
    return [_described(row, contract, rule, shown) for row in rows.to_pyarrow().to_pylist()]


def _described(row: Mapping[str, Any], contract: Contract, rule: Rule, shown: Sequence[str]) -> str:
    texts = {column for column in contract.table.columns if contract.table[column].type().is_string()}
    broken = {column for number, part in enumerate(rule.parts) if row[f"part_{number}"] for column in part.columns}
    cells = [
        f"{column}={_shown(row[f'value_{number}'], column in texts)}"
        for number, column in enumerate(shown)
        if column in broken - {contract.id}
    ]
    label = "no id" if row["label"] is None else f"id {_shown(row['label'], contract.id in texts)}"
    return f"{label}: {', '.join(cells)}" if cells else label


def _shown(value: str | None, is_text: bool) -> str:
    if value is None:
        return "nothing"
    short = value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"
    return repr(short) if is_text else short


def _contract_error(missing: Sequence[Problem], wrong: Sequence[tuple[_Breach, Finding]]) -> ContractError:
    broken = [
        Problem(f"data.rules.{finding.rule} ({finding.table})", breach.rows, breach.rule.allowed)
        for breach, finding in wrong
    ]
    rules = list(dict.fromkeys(finding.rule for _, finding in wrong))
    advice = ["Name the columns in the data config as the tables spell them."] if missing else []
    if rules:
        named = " and ".join(f"data.rules.{rule}" for rule in rules)
        advice.append(f"Mend the tables, or set {named} to drop (leave such rows out) or warn (keep them).")
    return ContractError("The raw tables", [*missing, *broken], " ".join(advice))


def _require_rows(data: EventsData, rows: Mapping[str, int]) -> None:
    needed = {"data.entities.tables": data.entities.tables, "data.events.table": [data.events.table]}
    for key, tables in needed.items():
        if not any(rows[table] for table in tables):
            raise DataError(f"No rows in {', '.join(tables)}: fill the table, or name another in {key}.")


def _require_rows_left(contract: Contract, rows: int, breaches: Sequence[_Breach]) -> None:
    for role in dict.fromkeys(breach.rule.role for breach in breaches):
        own = [breach for breach in breaches if breach.rule.role == role]
        if sum(breach.count for breach in own) < rows:
            continue
        if _without(contract.table, own).count().to_pyarrow().as_py() == 0:
            rules = " and ".join(f"data.rules.{breach.rule.name}" for breach in own)
            found = "; ".join(breach.rows for breach in own)
            raise DataError(
                f"No rows are left in table {contract.name} as {role} after {rules}: of {rows:,}, {found}. "
                f"Mend the table, check what data.{role} says about its columns, or set {rules} to warn."
            )


def _without(table: ir.Table, breaches: Sequence[_Breach]) -> ir.Table:
    return table.filter(~ibis.or_(*(breach.rule.breaks(table) for breach in breaches))) if breaches else table


def _mended(book: RuleBook, raw: RawTables, breaches: Sequence[_Breach]) -> RawTables:
    data = book.data

    def mend(name: str, table: ir.Table, *roles: Role) -> ir.Table:
        own = [breach for breach in breaches if breach.contract.name == name and breach.rule.role in roles]
        kept = _without(table, own)
        return typed_table(book, raw, name, kept)

    return replace(
        raw,
        entities={name: mend(name, table, "entities") for name, table in raw.entities.items()},
        outcome=mend(data.outcome.table, raw.outcome, "entities", "outcome"),
        events=mend(data.events.table, raw.events, "events"),
    )
