"""Infers the kind of each column of a flat table, and returns the result as a recipe.

Inference uses only column names and feature values, never the target, so it cannot leak the label. Steps that depend on
level frequencies or target statistics are left to the encoder, which is fitted on training rows only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import pandas as pd

from mlsys.data.config import DateOrder
from mlsys.data.table.column import Column, Context
from mlsys.data.table.column_kinds import inferred, is_read
from mlsys.data.table.date_formats import DateFormat
from mlsys.data.table.date_order import decide_order
from mlsys.data.table.dates import time_format, to_time
from mlsys.data.table.recipe import ColumnRecipe, ColumnReport, TableRecipe, apply
from mlsys.data.table.values import decimal_vote
from mlsys.errors import DataError, closest
from mlsys.runs.recipe_file import ColumnKind

_ROLES: dict[str, tuple[ColumnKind, str]] = {
    "target": ("target", "it is the target"),
    "id": ("id", "it identifies rows"),
    "time": ("time", "it is the time of each row"),
    "group": ("group", "it keeps rows together in splits"),
}
_NOT_DATES = "; if these are not dates, leave the column out with data.drop"
_UNSAFE = str.maketrans(dict.fromkeys('[]<>{}:,"', "_"))  # XGBoost and LightGBM reject these in column names


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
    """Convert a flat table to model inputs: `infer_recipe`, then `apply`.

    Returns
    -------
    features : DataFrame, shape (n_rows, n_features)
        Model inputs as float64 and str columns, with the index of ``frame``; without the target, id, time, group and
        dropped columns.
    reports : list of ColumnReport
        A report on each column of ``frame``.

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
    value: str | None = None,
    drop: Sequence[str] = (),
    max_categories: int = 50,
    reserved: Sequence[str] = (),
    dates: DateOrder | None = None,
    decimal: str | None = None,
    delimiter: str = "",
) -> TableRecipe:
    """Infer the kind of each column and how it becomes model inputs.

    The first match applies (see `mlsys.data.table.column_kinds`):

    - empty and constant columns: dropped; a single value that is present or missing: 1.0 or 0.0
    - yes/no words: 1.0 and 0.0 in one float column, which every encoder and sampler accepts
    - numbers, including those stored as text: float64. Whole numbers with few distinct values stay numeric, which
      preserves their order; columns named like ids or codes are dropped or become categories
    - dates: days before the row's own time if there is a time column, else days since 1970; plus month and weekday for
      seasonality, and the hour if there are times of day
    - long text: its length and number of words; text that identifies single rows: dropped
    - other text: a category with all its levels

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        A raw table, as returned by `read_table`.
    target, id, time, group : str
        Columns with a role, which are not model inputs.
    value : str, optional
        Column with the value of a positive row, which is not a model input.
    drop : sequence of str
        Columns to exclude.
    max_categories : int
        With more levels, a category is reported as high-cardinality, and a column named like an id may count as the
        id of an entity with several rows, which is dropped.
    reserved : sequence of str
        Names that model inputs must not have; a column with such a name becomes name_2.
    dates : {"day_first", "month_first", "year_first"}, optional
        The order of day, month and two-digit year where no column of the table decides.
    decimal : {".", ","}, optional
        The decimal mark where a column can be read with either.
    delimiter : str
        That of the file: where semicolons separate the columns, a comma is more likely a decimal mark.

    Returns
    -------
    TableRecipe

    Raises
    ------
    DataError
        If a configured column does not exist, names repeat, there are no rows, a time does not parse, dates have two
        readings, or no column is left as a model input.

    Examples
    --------
    >>> raw = pd.DataFrame({"joined": ["1.2.2020", "15.3.2020"], "won": [1, 0]})
    >>> infer_recipe(raw, target="won").features
    ('joined_day', 'joined_month', 'joined_weekday')
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    roles = {"target": target, "id": id, "time": time, "group": group}
    _check(frame, roles, drop)
    role_of = {column: role for role, column in reversed(roles.items()) if column is not None}
    columns = [Column(name, frame[name], dates) for name in frame.columns]
    free = [column for column in columns if column.name not in role_of]
    day_first = _day_first(columns, dates, unused={*drop, value, *role_of} - {time, None})
    time_form = None if time is None else time_format(frame[time], day_first=day_first, stated=dates)
    context = Context(
        decimal or _decimal(free, delimiter),
        decimal is not None,
        day_first,
        None if time is None or time_form is None else to_time(frame[time], time_form.pattern),
        dict.fromkeys(drop, "data.drop") | ({} if value is None else {value: "data.value"}),
        max_categories,
    )
    recipes = [
        _with_role(column, role_of[column.name], time_form) if column.name in role_of else inferred(column, context)
        for column in columns
    ]
    _require_inputs(recipes)
    return TableRecipe(_with_outputs(recipes, reserved))


def _check(frame: pd.DataFrame, roles: dict[str, str | None], drop: Sequence[str]) -> None:
    names = frame.columns.tolist()
    repeated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if repeated:
        raise DataError(
            f"The table has duplicate column names: {', '.join(repeated)}. Rename or remove the duplicates."
        )
    configured = [(f"data.{role}", name) for role, name in roles.items() if name is not None]
    configured += [("data.drop", name) for name in drop]
    missing = [f"  {key}={name}{_near(name, names)}" for key, name in configured if name not in names]
    if missing:
        raise DataError("\n".join(["Columns not found:", *missing, f"The table has: {', '.join(names)}."]))
    if frame.empty:
        raise DataError("The table has no rows. Check data.path.")


def _near(name: str, names: Sequence[str]) -> str:
    near = closest(name, names)
    return f" (closest: {near})" if near else ""


def _day_first(columns: Sequence[Column], stated: DateOrder | None, unused: Collection[str | None]) -> bool | None:
    """Return whether the day comes first in ambiguous dates, for all columns alike."""
    formats = {
        column.name: form for column in columns if (form := column.date_format) and (form.is_mixed or is_read(form))
    }
    return decide_order(formats, stated, unused=frozenset(formats).intersection(unused), instead=_NOT_DATES)


def _decimal(columns: Sequence[Column], delimiter: str) -> str | None:
    """Return the decimal mark of most columns that have only one reading."""
    texts = [column.levels for column in columns if not column.is_number and not column.is_datetime]
    votes = [decimal_vote(levels.values, sample=200) for levels in texts]
    commas, points = votes.count(","), votes.count(".")
    if commas == points:
        return "," if delimiter == ";" else None
    return "," if commas > points else "."


def _with_role(column: Column, role: str, time: DateFormat | None) -> ColumnRecipe:
    kind, explanation = _ROLES[role]
    recipe = column.dropped(kind, f"set by data.{role}", explanation)
    if role != "time" or time is None:
        return recipe
    return dataclasses.replace(recipe, date_format=time.pattern, guess=time.guess)


def _require_inputs(recipes: Sequence[ColumnRecipe]) -> None:
    if not any(recipe.parts for recipe in recipes):
        lines = [f"  {recipe.name}: {recipe.reason}; dropped: {recipe.dropped}" for recipe in recipes]
        advice = "Add columns that describe the rows, or remove columns from data.drop."
        raise DataError("\n".join(["The table has no usable features:", *lines, advice]))


def _with_outputs(recipes: Sequence[ColumnRecipe], reserved: Sequence[str]) -> tuple[ColumnRecipe, ...]:
    """Set unique names of model inputs: the column's name for its value, else column_part.

    No input has the name of another column, or of its own column unless it is that column's value, so that a name in a
    record to score means either a column or an input.
    """
    raw = {recipe.name for recipe in recipes}
    used = set(reserved)
    named = []
    for recipe in recipes:
        base = recipe.name.translate(_UNSAFE)
        is_value = recipe.parts == ("value",)
        outputs = []
        for part in recipe.parts:
            name = _unused(base if is_value else f"{base}_{part}", used | (raw - {recipe.name} if is_value else raw))
            used.add(name)
            outputs.append(name)
        named.append(dataclasses.replace(recipe, outputs=tuple(outputs)))
    return tuple(named)


def _unused(name: str, taken: set[str]) -> str:
    candidate, copy = name, 2
    while candidate in taken:
        candidate, copy = f"{name}_{copy}", copy + 1
    return candidate
