"""The table recipe: how raw columns become model inputs. It is inferred once and applied to any later rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.dates import as_timestamps, date_part, to_time
from mlsys.data.table.values import as_levels, parse_numbers, parse_words
from mlsys.errors import DataError, closest
from mlsys.runs.files import RECIPE_VERSION
from mlsys.runs.recipe_file import ColumnKind, recipe_problem

logger = logging.getLogger(__name__)

_Feature: TypeAlias = "NDArray[np.float64] | pd.Series[str]"
_Converted: TypeAlias = "tuple[list[_Feature], int]"  # the features, and the number of cells that do not parse


@dataclass(frozen=True)
class ColumnReport:
    """Human-readable report on how one column is used.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : str
        "number", "boolean", "category", "date", "text", "id", "constant", "target", "group" or "time".
    reason : str
        Reason for the kind.
    done : str
        How the column is used: "used", "used as …" or "dropped: …".
    guess : str
        What was chosen where the values have two readings, and how to choose the other; empty if they have one.
    """

    name: str
    kind: ColumnKind
    reason: str
    done: str
    guess: str = ""


@dataclass(frozen=True)
class ColumnRecipe:
    """How one raw column becomes model inputs.

    Attributes
    ----------
    name : str
        Name of the column in the raw table.
    kind : str
        See `ColumnReport`.
    reason : str
        Reason for the kind.
    dropped : str
        Reason for dropping the column; empty if it is used.
    parts : tuple of str
        Parts of the column to use: "value"; "filled" (1 if the cell has any value); "day", "age_days", "month",
        "weekday" and "hour" of a date; "hours" of a time of day; "length" and "words" of a text.
    outputs : tuple of str
        Names of those parts among the model inputs.
    decimal, unit : str
        Decimal mark and unit of numbers.
    true, false : tuple of str
        Case-folded words for the values of a boolean, those of the column first.
    date_format : str
        See `mlsys.data.table.moments.parse_moments`.
    fold_case : bool
        Whether to convert levels to lower case, which merges those that differ only by case.
    guess : str
        See `ColumnReport`.
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
    guess: str = ""

    @property
    def report(self) -> ColumnReport:
        """Report on how the column is used."""
        same_name = self.outputs == (self.name,)
        done = (
            f"dropped: {self.dropped}"
            if self.dropped
            else "used"
            if same_name
            else f"used as {', '.join(self.outputs)}"
        )
        return ColumnReport(self.name, self.kind, self.reason, done, self.guess)


@dataclass(frozen=True)
class TableRecipe:
    """How a raw flat table becomes model inputs. Each row is converted on its own, without the target.

    Attributes
    ----------
    columns : tuple of ColumnRecipe
        The recipes of all columns of the raw table, in order.

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
        """The time column, if there is one."""
        return next((column for column in self.columns if column.kind == "time"), None)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the raw columns required to make the model inputs."""
        has_ages = any("age_days" in column.parts for column in self.columns)
        return tuple(column.name for column in self.columns if column.outputs or (has_ages and column.kind == "time"))

    def report(self) -> list[ColumnReport]:
        """Return a report on each column, in the order of the raw table."""
        return [column.report for column in self.columns]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable data, without fields that have their default values."""
        return {"version": RECIPE_VERSION, "columns": [_column_to_dict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableRecipe:
        """Create a recipe from the output of `to_dict`.

        Raises
        ------
        DataError
            If the version differs or the data are invalid.
        """
        if data.get("version") != RECIPE_VERSION:
            raise DataError(
                f"The table recipe has version {data.get('version')!r}, but this version of mlsys reads"
                f" {RECIPE_VERSION}. Train again, or use the version of mlsys that wrote it."
            )
        if problem := recipe_problem(data):
            raise DataError(f"The table recipe is corrupt: {problem}. Restore it from an intact run, or train again.")
        return cls(tuple(_column_from_dict(column) for column in data["columns"]))


def _column_to_dict(column: ColumnRecipe) -> dict[str, Any]:
    fields = {field.name: field.default for field in dataclasses.fields(column)}
    values = {name: getattr(column, name) for name, default in fields.items() if getattr(column, name) != default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _column_from_dict(data: Mapping[str, Any]) -> ColumnRecipe:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return ColumnRecipe(**values)


def apply(recipe: TableRecipe, frame: pd.DataFrame) -> pd.DataFrame:
    """Convert raw rows into model inputs, exactly as for the rows that the recipe was inferred from.

    Values that do not parse as the recipe requires become missing; a warning gives their number. Columns that the
    recipe does not use may be missing.

    Parameters
    ----------
    recipe : TableRecipe
        How to convert the columns.
    frame : DataFrame, shape (n_rows, n_columns)
        Raw rows.

    Returns
    -------
    DataFrame, shape (n_rows, len(recipe.features))
        Model inputs with the index of ``frame``: float64 for numbers, booleans, dates and text, str for categories.

    Raises
    ------
    DataError
        If a required column is missing, or the time column is required and cannot be parsed.

    Examples
    --------
    >>> size = ColumnRecipe("size", "number", "numbers", parts=("value",), outputs=("size",), decimal=",")
    >>> apply(TableRecipe((size,)), pd.DataFrame({"size": ["1.000,5", "big"]})).to_dict("list")
    {'size': [1000.5, nan]}
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    _require_columns(recipe, frame)
    inputs, invalid = convert(recipe, frame)
    _warn_invalid(recipe, frame, inputs, invalid)
    return inputs


def convert(recipe: TableRecipe, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Convert raw rows that have the required columns: `apply` without its check and its warning.

    Parameters
    ----------
    recipe : TableRecipe
    frame : DataFrame, shape (n_rows, n_columns)

    Returns
    -------
    inputs : DataFrame, shape (n_rows, len(recipe.features))
    invalid : dict of str to int
        Number of cells that do not parse, by column.

    Raises
    ------
    DataError
        If the time column is required and cannot be parsed.

    Examples
    --------
    >>> size = ColumnRecipe("size", "number", "numbers", parts=("value",), outputs=("size",))
    >>> convert(TableRecipe((size,)), pd.DataFrame({"size": ["7 %", "big"]}))[1]
    {'size': 1}
    """
    time = recipe.time
    has_ages = time is not None and time.name in recipe.required
    row_times = to_time(frame[time.name], time.date_format) if time is not None and has_ages and len(frame) else None
    data: dict[str, _Feature] = {}
    invalid: dict[str, int] = {}
    for column in recipe.columns:
        if column.outputs:
            values, invalid[column.name] = _converted(column, frame[column.name], row_times)
            data.update(zip(column.outputs, values, strict=True))
    return pd.DataFrame(data, index=frame.index), invalid


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
            times, invalid = as_timestamps(series, column.date_format)
            reference = times if row_times is None else row_times  # None only for a table without rows
            return [date_part(times, part, reference) for part in column.parts], invalid
        case "text":
            levels = as_levels(series)
            parts = {"length": levels.values.str.len(), "words": levels.values.str.count(" ") + 1}
            return [levels.spread(parts[part].to_numpy().astype(np.float64)) for part in column.parts], 0
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
    if series.dtype == object and column.decimal == ",":  # numbers among text cells have a decimal point
        series = series.map(lambda cell: str(cell).replace(".", ",") if isinstance(cell, float) else cell)
    levels = as_levels(series)
    parsed = parse_numbers(levels.values, decimal=column.decimal, unit=column.unit)
    return [levels.spread(parsed)], levels.count(np.isnan(parsed))


def _require_columns(recipe: TableRecipe, frame: pd.DataFrame) -> None:
    repeated = sorted(set(frame.columns[frame.columns.duplicated()]) & set(recipe.required))
    if repeated:
        raise DataError(f"The rows have duplicate columns: {', '.join(repeated)}. Remove the duplicates.")
    known = {column.name for column in recipe.columns}
    extra = [str(name) for name in frame.columns if name not in known]
    missing = [name for name in recipe.required if name not in frame.columns]
    if missing:
        lines = [f"  - {name}" + (f" (closest: {near})" if (near := closest(name, extra)) else "") for name in missing]
        lines += [f"  + {name}" for name in extra]
        raise DataError(
            "\n".join(["The rows lack columns that the model was trained on (- missing, + unknown):", *lines])
            + "\nUse the column names from training. A column may be empty, but it must exist."
        )
    if extra:
        logger.warning("dropping columns that are not in the recipe: %s", ", ".join(extra))


def _warn_invalid(recipe: TableRecipe, frame: pd.DataFrame, inputs: pd.DataFrame, invalid: Mapping[str, int]) -> None:
    shown = [
        f"{column.name} ({invalid[column.name]:,} of {len(frame):,}, such as {_first_invalid(column, frame, inputs)})"
        for column in recipe.columns
        if invalid.get(column.name)
    ]
    if shown:
        logger.warning("values that do not parse as their column's kind are treated as missing: %s", ", ".join(shown))


def _first_invalid(column: ColumnRecipe, frame: pd.DataFrame, inputs: pd.DataFrame) -> str:
    """Return the first cell that does not parse."""
    cells = frame[column.name]
    wrong = inputs[column.outputs[0]].isna().to_numpy() & (as_levels(cells).codes >= 0)
    return repr(cells.iloc[int(wrong.argmax())])
