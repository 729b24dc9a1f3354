"""Finding runs by what they are: a condition, an order, a number of rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from mlsys.errors import ConfigError, Problem, closest
from mlsys.runs.catalog.index import RunIndex
from mlsys.runs.catalog.listing import RunRow
from mlsys.runs.catalog.where import ORDERS, Comparison, Expression, Not, parse
from mlsys.runs.manifest import Status

NUMBERS = ("seconds", "seed")
COLUMNS = tuple(field.name for field in fields(RunRow) if field.name not in ("choices", "metrics"))
WORDS: Mapping[str, tuple[str, ...]] = {
    "status": (*get_args(Status), "incomplete", "damaged", "tampered"),
    "audit": ("pass", "warn", "fail"),
}
CHECKED = ("status", "problem")  # columns for which every run's files have to be looked at


@dataclass(frozen=True)
class QueryResult:
    """What a search found.

    Attributes
    ----------
    rows : list of RunRow
        In the order asked for, no more than asked for.
    total : int
        How many fulfil the condition.
    values : list of dict
        For each row the values of the names that were asked about.
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
    """Find the runs below a folder that fulfil a condition.

    Parameters
    ----------
    index : RunIndex
    root : Path
        The folder; see `mlsys.runs.discover.run_folders`.
    where : str, optional
        A condition, see `mlsys.runs.catalog.where.parse`. Its names are columns, metrics and dotted config keys.
    sort : str, optional
        Names with commas between them, each with ``-`` in front for the highest first. Runs without a value come last.
        By default the newest first.
    limit : int, optional
        Rows to return at most.
    verify : bool
        Read every file of the rows that are returned, and compare it with the manifest.
    metrics : collection of str
        Names of metrics that are no mistake even where no run has them, as when none is complete.

    Raises
    ------
    ConfigError
        Where the condition makes no sense, or a name is none of any run.
    RunError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find(RunIndex(Path(folder) / "index"), Path(folder), where="model=catboost").total
    0
    """
    condition = parse(where) if where else None
    order = [_direction(part.strip()) for part in sort.split(",")] if sort else [("created", True)]
    asked = list(dict.fromkeys([*(condition.names() if condition else []), *(name for name, _ in order)]))
    rows = index.rows(root)
    if not rows:
        return QueryResult([], 0, [])
    measured = {name for row in rows for name in row.metrics} | set(metrics)
    _check_kinds(condition, measured)
    config = _config(index, rows, asked, measured)
    if any(name in CHECKED for name in asked):
        rows = index.checked(rows)
    facts = {row.path: {name: _fact(row, name, config) for name in asked} for row in rows}
    kept = [row for row in rows if condition is None or condition.holds(facts[row.path].get)]
    for name, descending in reversed(order):
        kept = _sorted(kept, facts, name, descending=descending)
    shown = index.checked(kept[:limit], fully=verify)
    return QueryResult(shown, len(kept), [facts[row.path] for row in shown])


def _direction(part: str) -> tuple[str, bool]:
    return part.removeprefix("-"), part.startswith("-")


def _sorted(
    rows: Sequence[RunRow], facts: Mapping[Path, Mapping[str, Any]], name: str, *, descending: bool
) -> list[RunRow]:
    """Sort by one fact: numbers before text, and what is missing last, whichever way."""
    known = [row for row in rows if facts[row.path][name] is not None]
    missing = [row for row in rows if facts[row.path][name] is None]

    def key(row: RunRow) -> tuple[bool, Any]:
        value = facts[row.path][name]
        is_number = isinstance(value, int | float)
        return is_number == descending, value if is_number else str(value)

    return [*sorted(known, key=key, reverse=descending), *missing]


def _fact(row: RunRow, name: str, config: Mapping[Path, Mapping[str, Any]]) -> object:
    if name in COLUMNS:
        value = getattr(row, name)
        return str(value) if isinstance(value, Path) else value
    return row.metrics[name] if name in row.metrics else config.get(row.path, {}).get(name)


def _config(
    index: RunIndex, rows: Sequence[RunRow], asked: Sequence[str], metrics: Collection[str]
) -> Mapping[Path, Mapping[str, Any]]:
    """Return the values of the names that are config keys, once every name is known to be one of something."""
    groups = {group for row in rows for group in row.choices}
    keys = [name for name in asked if name not in COLUMNS and name not in metrics]
    # Without a dot it can only be misspelt: no need to read ten thousand configs to say so.
    unknown = [key for key in keys if "." not in key]
    if not unknown and keys:
        found = index.config_values(rows, keys)
        given = index.config_keys(rows)
        unknown = [key for key in keys if key not in given]
        if not unknown:
            return found
    if unknown:
        known = {*COLUMNS, *metrics, *(f"choices.{group}" for group in groups)}
        known |= index.config_keys(rows) if any("." in key for key in unknown) else set()
        problems = [_unknown(name, sorted(metrics), known) for name in unknown]
        raise ConfigError("The search of runs", problems, "Nothing was listed.")
    return {}


def _unknown(name: str, metrics: Sequence[str], known: set[str]) -> Problem:
    allowed = (
        f"a column ({', '.join(COLUMNS)}), a metric ({', '.join(metrics) or 'none here'}) or a config key such as "
        "model.max_depth or choices.encoder"
    )
    return Problem(name, "a name that no run here has", allowed, closest(name, known))


def _check_kinds(condition: Expression | None, metrics: Collection[str]) -> None:
    """Refuse a number above a word, and a status that there is not: they would silently hold for no run."""
    problems = []
    for each in _comparisons(condition):
        allowed, near = None, None
        if (each.name in NUMBERS or each.name in metrics) and each.op in ORDERS and not isinstance(each.value, float):
            allowed = f"a number: {each.name} is one"
        elif each.op in ("=", "!=") and each.name in WORDS and each.value not in (None, *WORDS[each.name]):
            words = WORDS[each.name]
            allowed, near = ", ".join(words), closest(str(each.value), words)
        if allowed is not None:
            problems.append(Problem(f"{each.name}{each.op}{each.value}", repr(each.value), allowed, near))
    if problems:
        raise ConfigError("The condition", problems, "Nothing was listed.")


def _comparisons(condition: Expression | None) -> list[Comparison]:
    if condition is None:
        return []
    if isinstance(condition, Comparison):
        return [condition]
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return [each for part in parts for each in _comparisons(part)]
