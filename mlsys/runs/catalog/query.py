"""Query runs: filter by a condition, sort and limit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from mlsys.errors import ConfigError, Problem, closest
from mlsys.runs.catalog.index import RunIndex
from mlsys.runs.catalog.listing import RunRow
from mlsys.runs.catalog.where import ORDERS, Condition, Expression, Not, parse
from mlsys.runs.manifest import Status

NUMERIC_COLUMNS = ("seconds", "seed")
COLUMNS = tuple(field.name for field in fields(RunRow) if field.name not in ("choices", "metrics"))
CHOICES: Mapping[str, tuple[str, ...]] = {
    "status": (*get_args(Status), "incomplete", "damaged", "tampered"),
    "audit": ("pass", "warn", "fail"),
}
VERIFIED_COLUMNS = ("status", "problem")  # columns whose values require checking the files of every run


@dataclass(frozen=True)
class QueryResult:
    """Result of a query.

    Attributes
    ----------
    rows : list of RunRow
        Sorted and limited rows.
    total : int
        Number of runs that match the condition.
    values : list of dict
        For each row, the values of the names used in the condition and the sort order.
    """

    rows: list[RunRow]
    total: int
    values: list[dict[str, Any]]


def query_runs(
    index: RunIndex,
    root: Path,
    *,
    where: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    verify: bool = False,
    metrics: Collection[str] = (),
) -> QueryResult:
    """Return the runs below a folder that match a condition.

    Parameters
    ----------
    index : RunIndex
    root : Path
        Folder to search; see `mlsys.runs.discover.run_folders`.
    where : str, optional
        Condition; see `mlsys.runs.catalog.where.parse`. Names are columns, metrics and dotted config keys.
    sort : str, optional
        Comma-separated names, each with a leading ``-`` for descending order. Runs without a value come last. By
        default, newest first.
    limit : int, optional
        Maximum number of rows.
    verify : bool
        Whether to read every file of the returned rows and compare it with the manifest.
    metrics : collection of str
        Metric names that are valid even if no run has them, for example because none is complete.

    Raises
    ------
    ConfigError
        If the condition is invalid, or no run has one of the names.
    RunError
        If the folder is not found.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     query_runs(RunIndex(Path(folder) / "index"), Path(folder), where="model=catboost").total
    0
    """
    condition = parse(where) if where else None
    order = [_direction(part.strip()) for part in sort.split(",")] if sort else [("created", True)]
    requested = list(dict.fromkeys([*(condition.names() if condition else []), *(name for name, _ in order)]))
    rows = index.rows(root)
    if not rows:
        return QueryResult([], 0, [])
    measured = {name for row in rows for name in row.metrics} | set(metrics)
    _check_comparisons(condition, measured)
    config = _config(index, rows, requested, measured)
    if any(name in VERIFIED_COLUMNS for name in requested):
        rows = index.checked(rows)
    values = {row.path: {name: _value(row, name, config) for name in requested} for row in rows}
    matching = [row for row in rows if condition is None or condition.holds(values[row.path].get)]
    for name, descending in reversed(order):
        matching = _sorted(matching, values, name, descending=descending)
    shown = index.checked(matching[:limit], fully=verify)
    return QueryResult(shown, len(matching), [values[row.path] for row in shown])


def _direction(part: str) -> tuple[str, bool]:
    return part.removeprefix("-"), part.startswith("-")


def _sorted(
    rows: Sequence[RunRow], values: Mapping[Path, Mapping[str, Any]], name: str, *, descending: bool
) -> list[RunRow]:
    """Sort by one value, numbers before text; missing values come last in either direction."""
    known = [row for row in rows if values[row.path][name] is not None]
    missing = [row for row in rows if values[row.path][name] is None]

    def key(row: RunRow) -> tuple[bool, Any]:
        value = values[row.path][name]
        is_number = isinstance(value, int | float)
        return is_number == descending, value if is_number else str(value)

    return [*sorted(known, key=key, reverse=descending), *missing]


def _value(row: RunRow, name: str, config: Mapping[Path, Mapping[str, Any]]) -> object:
    if name in COLUMNS:
        value = getattr(row, name)
        return str(value) if isinstance(value, Path) else value
    return row.metrics[name] if name in row.metrics else config.get(row.path, {}).get(name)


def _config(
    index: RunIndex, rows: Sequence[RunRow], requested: Sequence[str], metrics: Collection[str]
) -> Mapping[Path, Mapping[str, Any]]:
    """Return the values of the names that are config keys; raises a `ConfigError` if a name is unknown."""
    groups = {group for row in rows for group in row.choices}
    keys = [name for name in requested if name not in COLUMNS and name not in metrics]
    # A key without a dot can only be a typo, so do not read ten thousand configs to check it.
    unknown = [key for key in keys if "." not in key]
    if not unknown and keys:
        values = index.config_values(rows, keys)
        existing = index.config_keys(rows)
        unknown = [key for key in keys if key not in existing]
        if not unknown:
            return values
    if unknown:
        known = {*COLUMNS, *metrics, *(f"choices.{group}" for group in groups)}
        known |= index.config_keys(rows) if any("." in key for key in unknown) else set()
        problems = [_unknown(name, sorted(metrics), known) for name in unknown]
        raise ConfigError("The query", problems, "Nothing was listed.")
    return {}


def _unknown(name: str, metrics: Sequence[str], known: set[str]) -> Problem:
    allowed = (
        f"a column ({', '.join(COLUMNS)}), a metric ({', '.join(metrics) or 'none here'}) or a config key such as "
        "model.max_depth or choices.encoder"
    )
    return Problem(name, "a name that none of these runs has", allowed, closest(name, known))


def _check_comparisons(condition: Expression | None, metrics: Collection[str]) -> None:
    """Reject comparisons of numbers with text and unknown statuses, which would silently match no run."""
    problems = []
    for each in _comparisons(condition):
        allowed, near = None, None
        is_numeric = each.name in NUMERIC_COLUMNS or each.name in metrics
        if is_numeric and each.op in ORDERS and not isinstance(each.value, float):
            allowed = f"a number, because {each.name} is numeric"
        elif each.op in ("=", "!=") and each.name in CHOICES and each.value not in (None, *CHOICES[each.name]):
            choices = CHOICES[each.name]
            allowed, near = ", ".join(choices), closest(str(each.value), choices)
        if allowed is not None:
            problems.append(Problem(f"{each.name}{each.op}{each.value}", repr(each.value), allowed, near))
    if problems:
        raise ConfigError("The query", problems, "Nothing was listed.")


def _comparisons(condition: Expression | None) -> list[Condition]:
    if condition is None:
        return []
    if isinstance(condition, Condition):
        return [condition]
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return [each for part in parts for each in _comparisons(part)]
