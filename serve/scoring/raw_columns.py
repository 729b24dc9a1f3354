"""The table that a run was trained on: converts its raw columns to model inputs by the run's own recipe.

A record or a table to score may have the columns of the training table, the model's inputs, or a mixture: each column
is given under its own name or as the inputs made from it, never both. No input has the name of another column, so
names suffice to tell. Cells are converted by training's own code, once per distinct value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.files import RECIPE_VERSION
from mlsys.runs.input_column import InputColumn, is_text
from mlsys.runs.recipe_file import read_recipe
from serve.scoring.date_words import in_words
from serve.scoring.problems import InputProblem, problem, quoted, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlsys.data.table.recipe import TableRecipe

MAX_PARSED = 1_000  # characters of a number, a date or a word; parsing longer ones would keep the service busy
MAX_BITS = 1_000  # of a whole number; Python refuses to print longer ones


@dataclass(frozen=True)
class TrainingColumn:
    """A column of the training table that inputs are made from.

    Attributes
    ----------
    name, kind, parts, outputs, decimal, unit, true, false, date_format
        As in `mlsys.data.table.recipe.ColumnRecipe`, which is not imported here because it needs pandas.
    inputs : tuple of InputColumn
        The inputs made from it, in the order of ``outputs``.
    """

    name: str
    kind: str
    parts: tuple[str, ...]
    outputs: tuple[str, ...]
    decimal: str
    unit: str
    true: tuple[str, ...]
    false: tuple[str, ...]
    date_format: str
    inputs: tuple[InputColumn, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any], inputs: Mapping[str, InputColumn]) -> TrainingColumn:
        """Return the column that an entry of recipe.json describes."""
        outputs = tuple(entry["outputs"])
        return cls(
            name=entry["name"],
            kind=entry["kind"],
            parts=tuple(entry["parts"]),
            outputs=outputs,
            decimal=entry.get("decimal", "."),
            unit=entry.get("unit", ""),
            true=tuple(entry.get("true", ())),
            false=tuple(entry.get("false", ())),
            date_format=entry.get("date_format", ""),
            inputs=tuple(inputs[name] for name in outputs),
        )

    @cached_property
    def is_value(self) -> bool:
        """Whether its only input is its value; otherwise the inputs are parts, such as the month of a date."""
        return self.parts == ("value",)

    @cached_property
    def is_number(self) -> bool:
        """Whether its only input is its value as a number."""
        return self.is_value and self.inputs[0].number

    @cached_property
    def needs_time(self) -> bool:
        """Whether an input is the time from this date to the row's own time."""
        return "age_days" in self.parts

    @cached_property
    def nullable(self) -> bool:
        """Whether training had cells that are missing or do not parse."""
        return self.parts == ("filled",) or all(each.nullable for each in self.inputs)

    @cached_property
    def has_few_values(self) -> bool:
        """Whether its only input takes a few values, so that a cell that does not parse is an error."""
        return self.is_value and bool(self.inputs[0].allowed)

    def refuses(self, inputs: Sequence[float | str | None], *, valid: bool) -> bool:
        """Return whether a cell, by the inputs made from it, is not one of the few values that the column takes."""
        return self.has_few_values and not (valid and self.inputs[0].accepts(inputs[0]))

    @property
    def meaning(self) -> str:
        """What a cell has to be, for messages."""
        if self.parts == ("filled",):
            return "any value"
        match self.kind:
            case "number":
                unit = f" in {self.unit}" if self.unit else ""
                return f"a number{unit}" + (" with a decimal comma" if self.decimal == "," else "")
            case "boolean":
                return "a word for yes or no"
            case "date":
                return date_kind(self.date_format)
            case _:
                return "text"

    @property
    def expected(self) -> str:
        """Description of the accepted cells, for messages."""
        if self.is_value and (self.has_few_values or not self.is_number):
            return self.inputs[0].expected
        return self.meaning + (" or null" if self.nullable else "")

    @property
    def takes_any_text(self) -> bool:
        """Whether cells are not parsed, so that they may have any length."""
        return self.parts == ("filled",) or self.kind in ("category", "text")

    def needs_conversion(self, cell: object) -> bool:
        """Return whether a cell of a JSON record has to be converted, rather than being an input already.

        Numbers are taken as they are where the input is a number.
        """
        if not self.is_value:
            return True
        if self.is_number:
            return isinstance(cell, str) or (isinstance(cell, bool) and self.kind == "boolean")
        return not (cell is None or (isinstance(cell, str) and cell in (self.inputs[0].categories or ())))

    def accepts(self, cell: object) -> bool:
        """Return whether a JSON value can be a cell, even one that does not parse."""
        if isinstance(cell, str):
            return is_text(cell) and (self.takes_any_text or len(cell) <= MAX_PARSED)
        if isinstance(cell, bool):
            return self.kind != "number"
        if isinstance(cell, float):
            return isfinite(cell)
        return cell is None or (isinstance(cell, int) and cell.bit_length() <= MAX_BITS)

    def warning(self, cell: object) -> str:
        """Return the warning for a cell that does not parse and is scored as missing."""
        received = quoted(cell) if isinstance(cell, str) else shown(cell)
        return f"{self.name}: {received} is not {self.meaning} and is scored as missing, as in training."


def date_kind(pattern: str) -> str:
    """Describe the dates of a format.

    Examples
    --------
    >>> date_kind("ISO8601"), date_kind("unix_s")
    ('a date such as 2020-02-24', 'Unix seconds such as 1582533000')
    """
    return in_words(pattern)


class TrainingTable:
    """The columns of the training table, and how they become inputs.

    Parameters
    ----------
    data : mapping
        Content of recipe.json.
    fields : sequence of InputColumn
        The model's inputs.

    Attributes
    ----------
    columns : tuple of TrainingColumn
        Those that inputs are made from.
    by_name : dict of str to TrainingColumn
    parts : frozenset of str
        Inputs that are a part of a column, such as the month of a date.
    aged : frozenset of str
        Inputs made from a column and the row's own time.
    time, time_format : str
        The column with each row's own time, and the format of its dates; empty if there is none.
    unused : frozenset of str
        Columns that no input is made from, such as the target; they may be sent and are ignored.
    known : frozenset of str
        Names of all columns.
    loaded : bool
        Whether pandas and training's code, which convert cells, have been imported.

    Raises
    ------
    RunError
        If the recipe is of another version or does not match the inputs.
    """

    def __init__(self, data: Mapping[str, Any], fields: Sequence[InputColumn]) -> None:
        if data.get("version") != RECIPE_VERSION:
            raise RunError(
                f"recipe.json has version {data.get('version')!r}, but this version of mlsys reads {RECIPE_VERSION}: "
                "train again, or use the version of mlsys that wrote it."
            )
        self.loaded = False
        self._data = data
        by_name = {each.name: each for each in fields}
        try:
            entries = list(data["columns"])
            self.columns = tuple(TrainingColumn.of(entry, by_name) for entry in entries if entry.get("outputs"))
            names = frozenset(entry["name"] for entry in entries)
            times = [(str(entry["name"]), str(entry["date_format"])) for entry in entries if entry["kind"] == "time"]
            self.time, self.time_format = times[0] if times else ("", "")
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"recipe.json does not match schema.json ({error!r}): train again.") from error
        if missing := by_name.keys() - {name for column in self.columns for name in column.outputs}:
            raise RunError(f"recipe.json does not say how to make the input {min(missing)}: train again.")
        self.by_name = {column.name: column for column in self.columns}
        self.parts = frozenset(name for column in self.columns if not column.is_value for name in column.outputs)
        self.aged = frozenset(name for column in self.columns if column.needs_time for name in column.outputs)
        self.known, self.unused = names, names - self.by_name.keys()
        for column in self.columns:
            own = {column.name} if column.is_value else set()
            if clash := self.known & set(column.outputs) - own:
                raise RunError(
                    f"The input {min(clash)} has the name of another column of the training table, so rows cannot be "
                    "read without doubt: train again."
                )

    @classmethod
    def of(cls, run: Run, fields: Sequence[InputColumn]) -> TrainingTable | None:
        """Return the columns of a run's training table; None if it was not trained on a flat table.

        Raises
        ------
        RunError
            If recipe.json is corrupt, of another version or does not match the inputs.
        """
        data = read_recipe(run)
        return cls(data, fields) if "columns" in data else None

    def name_of(self, column: TrainingColumn, given: Collection[Any]) -> str | None:
        """Return the name of the column's cells; None if it is not given, or only as parts."""
        if column.name in given:
            return column.name
        return column.outputs[0] if column.is_value and column.outputs[0] in given else None

    def names_of(self, column: TrainingColumn, given: Collection[Any]) -> list[str]:
        """Return under which names a column is given: its own, or those of its inputs."""
        return [name for name in dict.fromkeys((column.name, *column.outputs)) if name in given]

    def name_problems(self, given: Collection[Any], row: int | None) -> tuple[list[InputProblem], set[str]]:
        """Return the columns that are given twice or not at all, and the inputs that this concerns."""
        problems: list[InputProblem] = []
        reported: set[str] = set()
        for column in self.columns:
            outputs = column.outputs
            if outputs == (column.name,):  # if it is missing, the check of inputs says so
                continue
            names = self.names_of(column, given)
            if column.name in names and len(names) > 1:
                message = f"{column.name} is given twice, also as {', '.join(names[1:])}; send one of them."
                twice = problem(row, column.name, None, "one of them", None, message)
                problems.append({**twice, "got": f"both {column.name} and {', '.join(names[1:])}"})
            elif not names:
                message = f"{column.name} is missing; expected {column.expected}, or instead {', '.join(outputs)}."
                problems.append({**problem(row, column.name, None, column.expected, None, message), "got": "nothing"})
            else:
                continue
            reported.update(outputs)
        dated = [column.name for column in self.columns if column.needs_time and column.name in given]
        if dated and self.time not in given:
            expected = date_kind(self.time_format)
            message = f"{self.time} is missing; expected {expected}, because {dated[0]} counts from it."
            problems.append({**problem(row, self.time, None, expected, None, message), "got": "nothing"})
            reported |= self.aged
        return problems, reported

    @cached_property
    def _recipe(self) -> TableRecipe:
        from mlsys.data.table.recipe import TableRecipe

        recipe = TableRecipe.from_dict(self._data)
        self.loaded = True
        return recipe

    def load(self) -> None:
        """Import what converts cells; this takes half a second."""
        self._recipe  # noqa: B018 - cached

    def inputs_of(self, frame: pd.DataFrame, column: TrainingColumn) -> pd.DataFrame:
        """Return the inputs made from a column of a frame that has it under its own name, and valid times if needed."""
        from mlsys.data.table.recipe import TableRecipe, convert

        names = {column.name, self.time} if column.needs_time else {column.name}
        return convert(TableRecipe(tuple(each for each in self._recipe.columns if each.name in names)), frame)[0]

    def has_time(self, cells: pd.Series[Any]) -> NDArray[np.bool_]:
        """Return which cells are a valid time of a row, shape (n_rows,)."""
        from mlsys.data.table.dates import as_timestamps

        return as_timestamps(cells, self.time_format)[0].notna().to_numpy()

    def days(self, values: Sequence[Any]) -> list[str | None]:
        """Return the days of values of the rows' time column as ISO dates; None if they do not have its format."""
        if not self.time:
            return [None] * len(values)
        import pandas as pd

        from mlsys.data.table.dates import as_timestamps

        times, _ = as_timestamps(pd.Series(values, dtype=object), self.time_format)
        return [None if pd.isna(time) else time.date().isoformat() for time in times]


def invalid_cells(cells: pd.Series[Any], inputs: pd.Series[Any]) -> set[int]:
    """Return the positions of the cells that have a value but do not parse."""
    from mlsys.data.table.values import as_levels

    missing = inputs.isna().to_numpy().nonzero()[0]
    if not len(missing):
        return set()
    return set(missing[as_levels(cells.iloc[missing]).codes >= 0].tolist())
