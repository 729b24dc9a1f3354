"""How raw columns become model inputs: a recipe that is written down once and applied to any later rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.dates import as_moments, date_part, to_time
from mlsys.data.table.values import as_levels, parse_numbers, parse_words
from mlsys.errors import DataError, closest

ColumnKind = Literal["number", "boolean", "category", "date", "text", "id", "constant", "target", "group", "time"]

_VERSION = 1
logger = logging.getLogger(__name__)

_Feature: TypeAlias = "NDArray[np.float64] | pd.Series[str]"
_Converted: TypeAlias = "tuple[list[_Feature], int]"  # the parts, and how many filled cells could not be read


@dataclass(frozen=True)
class ColumnReport:
    """What was made of one column, for people.

    Attributes
    ----------
    name : str
    kind : str
        "number", "boolean", "category", "date", "text", "id", "constant", "target", "group" or "time".
    reason : str
        Why it is taken for that.
    done : str
        What the model sees of it: "used", "used as …" or "dropped: …".
    """

    name: str
    kind: ColumnKind
    reason: str
    done: str


@dataclass(frozen=True)
class ColumnRecipe:
    """How one raw column becomes model inputs.

    Attributes
    ----------
    name : str
        The column in the raw table.
    kind : str
        As in `ColumnReport`.
    reason : str
        Why it is taken for that.
    dropped : str
        Why the model does not see it; empty if it does.
    parts : tuple of str
        What is taken from it: "value", or "filled" (1 where there is any value), "day", "age_days", "month", "weekday"
        and "hour" of a date, "length" and "words" of a text.
    outputs : tuple of str
        The names of those parts among the model inputs.
    decimal, unit : str
        How numbers are written.
    true, false : tuple of str
        Case-folded words of a boolean.
    date_format : str
        A strptime format, or "ISO8601".
    fold_case : bool
        Whether levels that differ only by case are one; they are then written in lower case.
    """

    name: str
    kind: ColumnKind
    reason: str
    dropped: str = ""
    parts: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    decimal: str = "."
    unit: str = ""
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    date_format: str = ""
    fold_case: bool = False

    @property
    def report(self) -> ColumnReport:
        """The same for people."""
        same_name = self.outputs == (self.name,)
        done = (
            f"dropped: {self.dropped}"
            if self.dropped
            else "used"
            if same_name
            else f"used as {', '.join(self.outputs)}"
        )
        return ColumnReport(self.name, self.kind, self.reason, done)


@dataclass(frozen=True)
class TableRecipe:
    """How a raw flat table becomes model inputs; applying it looks at one row at a time and never at the target.

    Attributes
    ----------
    columns : tuple of ColumnRecipe
        Every column of the raw table, in its order.

    Examples
    --------
    >>> recipe = TableRecipe((ColumnRecipe("mrr", "number", "numbers", parts=("value",), outputs=("mrr",)),))
    >>> TableRecipe.from_dict(recipe.to_dict()) == recipe
    True
    """

    columns: tuple[ColumnRecipe, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model inputs, in the order of `apply`."""
        return tuple(name for column in self.columns for name in column.outputs)

    @property
    def time(self) -> ColumnRecipe | None:
        """The column that says when each row stands, if there is one."""
        return next((column for column in self.columns if column.kind == "time"), None)

    @property
    def needed(self) -> tuple[str, ...]:
        """The raw columns without which the model inputs cannot be made."""
        ages = any("age_days" in column.parts for column in self.columns)
        return tuple(column.name for column in self.columns if column.outputs or (ages and column.kind == "time"))

    def report(self) -> list[ColumnReport]:
        """Return what was made of each column, in the order of the raw table."""
        return [column.report for column in self.columns]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; what a column leaves at its default is left out."""
        return {"version": _VERSION, "columns": [_column_to_dict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableRecipe:
        """Read back what `to_dict` wrote.

        Raises
        ------
        DataError
            If it is of another version or has been altered into something else.
        """
        if data.get("version") != _VERSION:
            raise DataError(
                f"the table recipe has version {data.get('version')!r}, this mlsys reads version {_VERSION}: train"
                " again, or use the mlsys that wrote it."
            )
        try:
            return cls(tuple(_column_from_dict(column) for column in data["columns"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the table recipe is damaged ({error}): take it from an unaltered run, or train again."
            ) from error


def _column_to_dict(column: ColumnRecipe) -> dict[str, Any]:
    fields = {field.name: field.default for field in dataclasses.fields(column)}
    values = {name: getattr(column, name) for name, default in fields.items() if getattr(column, name) != default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _column_from_dict(data: Mapping[str, Any]) -> ColumnRecipe:
    if data["kind"] not in get_args(ColumnKind):
        raise TypeError(f"unknown kind {data['kind']!r}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return ColumnRecipe(**values)


def apply(recipe: TableRecipe, frame: pd.DataFrame) -> pd.DataFrame:
    """Turn raw rows into model inputs, exactly as for the rows that the recipe was made from.

    Filled cells that cannot be read the recipe's way become missing, and a warning counts them. Columns that the recipe
    does not use may be absent.

    Parameters
    ----------
    recipe : TableRecipe
    frame : DataFrame, shape (n_rows, n_columns)
        Raw rows.

    Returns
    -------
    DataFrame, shape (n_rows, len(recipe.features))
        float64 for numbers, booleans, dates and texts; str with missing cells for categories. The index is kept.

    Raises
    ------
    DataError
        If a needed column is absent, or the time column is needed and cannot be read.

    Examples
    --------
    >>> size = ColumnRecipe("size", "number", "numbers", parts=("value",), outputs=("size",), decimal=",")
    >>> apply(TableRecipe((size,)), pd.DataFrame({"size": ["1.000,5", "big"]})).to_dict("list")
    {'size': [1000.5, nan]}
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    _demand_columns(recipe, frame)
    clock = recipe.time
    ages = clock is not None and clock.name in recipe.needed
    row_times = to_time(frame[clock.name], clock.date_format) if clock is not None and ages and len(frame) else None
    data: dict[str, _Feature] = {}
    unread: dict[str, int] = {}
    for column in recipe.columns:
        if column.outputs:
            values, unread[column.name] = _converted(column, frame[column.name], row_times)
            data.update(zip(column.outputs, values, strict=True))
    _warn_unread(unread, len(frame))
    return pd.DataFrame(data, index=frame.index)


def _converted(column: ColumnRecipe, series: pd.Series, row_times: pd.Series[pd.Timestamp] | None) -> _Converted:
    if column.parts == ("filled",):
        return [(as_levels(series).codes >= 0).astype(np.float64)], 0
    match column.kind:
        case "number":
            return _numbers(column, series)
        case "boolean":
            levels = as_levels(series)
            words = parse_words(levels.values, column.true, column.false)
            return [levels.spread(words)], levels.count(np.isnan(words))
        case "date":
            moments, unread = as_moments(series, column.date_format)
            times = moments if row_times is None else row_times  # only for a table without rows
            return [date_part(moments, part, times) for part in column.parts], unread
        case "text":
            levels = as_levels(series)
            measures = {"length": levels.values.str.len(), "words": levels.values.str.count(" ") + 1}
            return [levels.spread(measures[part].to_numpy().astype(np.float64)) for part in column.parts], 0
        case _:
            levels = as_levels(series)
            names = levels.values.str.lower() if column.fold_case else levels.values
            return [names.reindex(levels.codes).set_axis(series.index)], 0


def _numbers(column: ColumnRecipe, series: pd.Series) -> _Converted:
    if series.dtype.kind == "m":
        return [(series.dt.total_seconds() / 86_400).to_numpy(np.float64)], 0
    if pd.api.types.is_numeric_dtype(series.dtype):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        infinite = np.isinf(numbers)
        numbers[infinite] = np.nan
        return [numbers], int(infinite.sum())
    if series.dtype == object and column.decimal == ",":  # typed numbers between texts have a point
        series = series.map(lambda cell: str(cell).replace(".", ",") if isinstance(cell, float) else cell)
    levels = as_levels(series)
    parsed = parse_numbers(levels.values, decimal=column.decimal, unit=column.unit)
    return [levels.spread(parsed)], levels.count(np.isnan(parsed))


def _demand_columns(recipe: TableRecipe, frame: pd.DataFrame) -> None:
    repeated = sorted(set(frame.columns[frame.columns.duplicated()]) & set(recipe.needed))
    if repeated:
        raise DataError(f"columns stand more than once in the rows: {', '.join(repeated)}. Remove one of each.")
    known = {column.name for column in recipe.columns}
    extra = [str(name) for name in frame.columns if name not in known]
    missing = [name for name in recipe.needed if name not in frame.columns]
    if missing:
        lines = [f"  - {name}" + (f" (closest: {near})" if (near := closest(name, extra)) else "") for name in missing]
        lines += [f"  + {name}" for name in extra]
        raise DataError(
            "\n".join(["the rows do not have the columns that the model was trained on (- absent, + unknown):", *lines])
            + "\nGive the columns their training names; a column without values may be all empty, but must be there."
        )
    if extra:
        logger.warning("columns that the recipe does not know are left out: %s", ", ".join(extra))


def _warn_unread(unread: Mapping[str, int], rows: int) -> None:
    shown = [f"{name} ({count:,} of {rows:,})" for name, count in unread.items() if count]
    if shown:
        logger.warning("values that do not read as their column's kind are missing now: %s", ", ".join(shown))
