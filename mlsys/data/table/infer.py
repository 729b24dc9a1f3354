"""Says what each column of a flat table is, and writes that down as a recipe.

Everything here looks at column names and feature values only, never at the target, so nothing of the answer can leak
through it. What depends on how often a level occurs (rare levels, target statistics) is left to the encoder, which is
fitted on training rows alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from mlsys.data.table.column_kinds import Column, Context, inferred
from mlsys.data.table.dates import find_format, time_format, to_time
from mlsys.data.table.recipe import ColumnKind, ColumnRecipe, ColumnReport, TableRecipe, apply
from mlsys.data.table.values import decimal_vote
from mlsys.errors import DataError, closest

_ROLES: dict[str, tuple[ColumnKind, str]] = {
    "target": ("target", "it is what is predicted"),
    "id": ("id", "it names the rows"),
    "time": ("time", "it says when each row stands"),
    "group": ("group", "it keeps rows together in a split"),
}
_AWKWARD = str.maketrans(dict.fromkeys('[]<>{}:,"', "_"))  # XGBoost and LightGBM refuse these in a column's name


def infer_types(
    frame: pd.DataFrame,
    *,
    target: str,
    id: str | None = None,
    time: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    max_categories: int = 50,
) -> tuple[pd.DataFrame, list[ColumnReport]]:
    """Turn a flat table into model inputs: `infer_recipe`, then `apply`.

    Returns
    -------
    features : DataFrame, shape (n_rows, n_features)
        float64 and str columns with the index of ``frame``; the target, id, time, group and dropped columns are not
        in it.
    reports : list of ColumnReport
        What was made of every column of ``frame``.

    Examples
    --------
    >>> raw = pd.DataFrame({"paid": ["yes", "no", "yes"], "price": ["$1,200", "$80.5", "n/a"], "won": [1, 0, 1]})
    >>> features, reports = infer_types(raw, target="won")
    >>> features.to_dict("list")
    {'paid': [1.0, 0.0, 1.0], 'price': [1200.0, 80.5, nan]}
    >>> [report.kind for report in reports]
    ['boolean', 'number', 'target']
    """
    recipe = infer_recipe(frame, target=target, id=id, time=time, group=group, drop=drop, max_categories=max_categories)
    return apply(recipe, frame), recipe.report()


def infer_recipe(
    frame: pd.DataFrame,
    *,
    target: str,
    id: str | None = None,
    time: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    max_categories: int = 50,
    reserved: Sequence[str] = (),
) -> TableRecipe:
    """Decide for each column what it is and how it becomes model inputs.

    The first of these that fits (see `mlsys.data.table.column_kinds`):

    - no value, or the same one in every row: dropped; one value that is there or not: 1.0 and 0.0
    - yes/no words: 1.0 and 0.0, one float column that every encoder and sampler takes, where a category would be two
    - numbers, also stored as text: float64. Whole numbers stay numbers even if they are few, because trees split them
      like categories and their order is kept; but those whose name says id or code are dropped or become categories
    - dates: days (before the row's own time where there is a time column, which means the same in any year; else since
      1970, for the trend), month and weekday for season and rhythm, and the hour where there are clock times
    - long or wordy text: its length and its number of words; text that names single rows: dropped
    - all other text: a category, with all its levels

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        As from `read_table`.
    target, id, time, group : str
        Columns with a role; none of them is a model input.
    drop : sequence of str
        Columns to leave out.
    max_categories : int
        Above this many levels a category is reported as one of high cardinality, and a column that is named like an id
        may be the id of something with several rows, which is dropped.
    reserved : sequence of str
        Names that no model input may have; a column of that name goes in as name_2.

    Returns
    -------
    TableRecipe

    Raises
    ------
    DataError
        If a named column is absent, names repeat, there are no rows, a time cannot be read, or nothing is left to
        learn from.

    Examples
    --------
    >>> raw = pd.DataFrame({"joined": ["1.2.2020", "15.3.2020"], "won": [1, 0]})
    >>> infer_recipe(raw, target="won").features
    ('joined_day', 'joined_month', 'joined_weekday')
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    roles = {"target": target, "id": id, "time": time, "group": group}
    _check(frame, roles, drop)
    named = {column: role for role, column in reversed(roles.items()) if column is not None}
    columns = [Column(name, frame[name]) for name in frame.columns]
    free = [column for column in columns if column.name not in named]
    context = _context(free, None if time is None else frame[time], drop, max_categories)
    recipes = [
        _with_role(column, named[column.name], context) if column.name in named else inferred(column, context)
        for column in columns
    ]
    _check_something_left(recipes)
    return TableRecipe(_with_outputs(recipes, reserved))


def _check(frame: pd.DataFrame, roles: dict[str, str | None], drop: Sequence[str]) -> None:
    names = frame.columns.tolist()
    repeated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if repeated:
        raise DataError(
            f"columns stand more than once in the table: {', '.join(repeated)}. Rename or remove one of each."
        )
    wanted = [(f"data.{role}", name) for role, name in roles.items() if name is not None]
    wanted += [("data.drop", name) for name in drop]
    absent = [f"  {key}={name}{_near(name, names)}" for key, name in wanted if name not in names]
    if absent:
        raise DataError("\n".join(["the table has no such columns:", *absent, f"It has: {', '.join(names)}."]))
    if frame.empty:
        raise DataError("the table has no rows, so nothing can be said about its columns. Check data.path.")


def _near(name: str, names: Sequence[str]) -> str:
    near = closest(name, names)
    return f" (closest: {near})" if near else ""


def _context(columns: Sequence[Column], times: pd.Series | None, drop: Sequence[str], max_categories: int) -> Context:
    """Learn from columns that leave no doubt how to read those that do."""
    texts = [column.levels for column in columns if not column.is_number and not column.is_moment]
    decimals = [decimal_vote(levels.values, sample=200) for levels in texts]
    formats = [found for levels in texts if (found := find_format(levels)) and 2 * found.rows > levels.filled]
    orders = [found.day_first for found in formats if not found.ambiguous]
    day_first = None if orders.count(True) == orders.count(False) else orders.count(True) > orders.count(False)
    decimal = "," if decimals.count(",") > decimals.count(".") else None
    row_times = None if times is None else to_time(times, time_format(times, day_first=day_first))
    return Context(decimal, day_first, row_times, frozenset(drop), max_categories)


def _with_role(column: Column, role: str, context: Context) -> ColumnRecipe:
    kind, why = _ROLES[role]
    pattern = time_format(column.series, day_first=context.day_first) if role == "time" else ""
    return dataclasses.replace(column.dropped(kind, f"named by data.{role}", why), date_format=pattern)


def _check_something_left(recipes: Sequence[ColumnRecipe]) -> None:
    if not any(recipe.parts for recipe in recipes):
        lines = [f"  {recipe.name}: {recipe.reason}, so dropped: {recipe.dropped}" for recipe in recipes]
        advice = "Add columns that describe the rows, or name fewer in data.drop."
        raise DataError("\n".join(["the table leaves the model nothing to learn from:", *lines, advice]))


def _with_outputs(recipes: Sequence[ColumnRecipe], reserved: Sequence[str]) -> tuple[ColumnRecipe, ...]:
    """Name the model inputs: a column's own name for its value, column_part for what is derived of it, none twice."""
    raw = {recipe.name.translate(_AWKWARD) for recipe in recipes}
    used = set(reserved)
    named = []
    for recipe in recipes:
        base = recipe.name.translate(_AWKWARD)
        whole = recipe.parts in {("value",), ("filled",)}
        outputs = []
        for part in recipe.parts:
            name = _unused(base, used) if whole else _unused(f"{base}_{part}", used | raw)
            used.add(name)
            outputs.append(name)
        named.append(dataclasses.replace(recipe, outputs=tuple(outputs)))
    return tuple(named)


def _unused(name: str, taken: set[str]) -> str:
    candidate, copy = name, 2
    while candidate in taken:
        candidate, copy = f"{name}_{copy}", copy + 1
    return candidate
