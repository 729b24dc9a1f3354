"""The table that a run was trained on: converts its raw columns to model inputs by the run's own recipe.

A record or a table to score may have the columns of the training table, the model's inputs, or a mixture: each column
is given under its own name or as the inputs made from it, never both. No input has the name of another column, so
names suffice to tell. Cells are converted by training's own code, once per distinct value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.input_column import InputColumn, is_text
from serve.scoring.problems import InputProblem, problem, quoted, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlsys.data.table.recipe import ColumnRecipe, TableRecipe

RECIPE = "recipe.json"
MAX_PARSED = 1_000  # characters of a number, a date or a word; parsing longer ones would keep the service busy
MAX_BITS = 1_000  # of a whole number; Python refuses to print longer ones


@dataclass(frozen=True)
class RawColumn:
    """A column of the training table that inputs are made from.

    Attributes
    ----------
    recipe : ColumnRecipe
        How training converted it.
    inputs : tuple of InputColumn
        The inputs made from it.
    """

    recipe: ColumnRecipe
    inputs: tuple[InputColumn, ...]

    @property
    def name(self) -> str:
        """Name in the table."""
        return self.recipe.name

    @property
    def is_value(self) -> bool:
        """Whether its only input is its value; otherwise the inputs are parts, such as the month of a date."""
        return self.recipe.parts == ("value",)

    @property
    def is_number(self) -> bool:
        """Whether its only input is its value as a number."""
        return self.is_value and self.inputs[0].number

    @property
    def needs_time(self) -> bool:
        """Whether an input is the time from this date to the row's own time."""
        return "age_days" in self.recipe.parts

    @property
    def nullable(self) -> bool:
        """Whether training had cells that are missing or do not parse."""
        return self.recipe.parts == ("filled",) or all(each.nullable for each in self.inputs)

    @property
    def kind(self) -> str:
        """What a cell has to be, for messages."""
        recipe = self.recipe
        if recipe.parts == ("filled",):
            return "any value"
        match recipe.kind:
            case "number":
                unit = f" in {recipe.unit}" if recipe.unit else ""
                return f"a number{unit}" + (" with a decimal comma" if recipe.decimal == "," else "")
            case "boolean":
                return "a word for yes or no"
            case "date":
                return date_kind(recipe.date_format)
            case _:
                return "text"

    @property
    def expected(self) -> str:
        """Description of the accepted cells, for messages."""
        if self.is_value and not self.is_number:
            return self.inputs[0].expected
        return self.kind + (" or null" if self.nullable else "")

    @property
    def takes_any_text(self) -> bool:
        """Whether cells are not parsed, so that they may have any length."""
        return self.recipe.parts == ("filled",) or self.recipe.kind in ("category", "text")

    def needs_conversion(self, cell: object) -> bool:
        """Return whether a cell of a JSON record has to be converted, rather than being an input already.

        Numbers are taken as they are where the input is a number.
        """
        if not self.is_value:
            return True
        if self.is_number:
            return isinstance(cell, str) or (isinstance(cell, bool) and self.recipe.kind == "boolean")
        return not (cell is None or (isinstance(cell, str) and cell in (self.inputs[0].categories or ())))

    def accepts(self, cell: object) -> bool:
        """Return whether a JSON value can be a cell, even one that does not parse."""
        if isinstance(cell, str):
            return is_text(cell) and (self.takes_any_text or len(cell) <= MAX_PARSED)
        if isinstance(cell, bool):
            return self.recipe.kind != "number"
        if isinstance(cell, float):
            return isfinite(cell)
        return cell is None or (isinstance(cell, int) and cell.bit_length() <= MAX_BITS)

    def warning(self, cell: object) -> str:
        """Return the warning for a cell that does not parse and is scored as missing."""
        received = quoted(cell) if isinstance(cell, str) else shown(cell)
        return f"{self.name}: {received} is not {self.kind} and is scored as missing, as in training."


def date_kind(pattern: str) -> str:
    """Describe the dates of a format.

    Examples
    --------
    >>> date_kind("ISO8601"), date_kind("%d/%m/%Y")
    ('a date such as 2020-02-24', 'a date in the format %d/%m/%Y')
    """
    return "a date such as 2020-02-24" if pattern == "ISO8601" else f"a date in the format {pattern}"


def table_recipe(run: Run) -> TableRecipe | None:
    """Return the recipe of a run's training table; None if the run was not trained on a flat table.

    Raises
    ------
    MlsysError
        If recipe.json is corrupt.
    """
    data = run.read_json(RECIPE) if RECIPE in run.manifest.files else {}
    if "columns" not in data:
        return None
    from mlsys.data.table.recipe import TableRecipe  # imports pandas, which other runs do not need

    return TableRecipe.from_dict(data)


class RawColumns:
    """The columns of the training table, and how they become inputs.

    Parameters
    ----------
    recipe : TableRecipe
    fields : sequence of InputColumn
        The model's inputs.

    Attributes
    ----------
    columns : tuple of RawColumn
        Those that inputs are made from.
    time : ColumnRecipe or None
        The column with each row's own time, if inputs are made from it.
    by_name : dict of str to RawColumn
    aged : frozenset of str
        Inputs made from a column and the row's own time.
    unused : frozenset of str
        Columns that no input is made from, such as the target; they may be sent and are ignored.
    known : frozenset of str
        Names of all columns.

    Raises
    ------
    RunError
        If the recipe does not match the inputs.
    """

    def __init__(self, recipe: TableRecipe, fields: Sequence[InputColumn]) -> None:
        by_name = {each.name: each for each in fields}
        if set(recipe.features) != set(by_name):
            raise RunError("recipe.json and schema.json have different inputs: train again.")
        self.columns = tuple(
            RawColumn(column, tuple(by_name[name] for name in column.outputs))
            for column in recipe.columns
            if column.outputs
        )
        self._own_time = recipe.time
        self.time = recipe.time if any(column.needs_time for column in self.columns) else None
        self.aged = frozenset(name for column in self.columns if column.needs_time for name in column.recipe.outputs)
        self.unused = frozenset(column.name for column in recipe.columns if not column.outputs)
        self.by_name = {column.name: column for column in self.columns}
        self.known = frozenset(self.by_name.keys() | self.unused)
        for column in self.columns:
            own = {column.name} if column.is_value else set()
            if clash := self.known & set(column.recipe.outputs) - own:
                raise RunError(
                    f"The input {min(clash)} has the name of another column of the training table, so rows cannot be "
                    "read without doubt: train again."
                )

    @classmethod
    def of(cls, run: Run, fields: Sequence[InputColumn]) -> RawColumns | None:
        """Return the columns of a run's training table; None if it was not trained on a flat table.

        Raises
        ------
        MlsysError
            If recipe.json is corrupt or does not match the inputs.
        """
        recipe = table_recipe(run)
        return None if recipe is None else cls(recipe, fields)

    def name_of(self, column: RawColumn, given: Collection[Any]) -> str | None:
        """Return the name of the column's cells; None if it is not given, or only as parts."""
        names = self.names_of(column, given)
        return names[0] if names and (column.is_value or names[0] == column.name) else None

    def names_of(self, column: RawColumn, given: Collection[Any]) -> list[str]:
        """Return under which names a column is given: its own, or those of its inputs."""
        return [name for name in dict.fromkeys((column.name, *column.recipe.outputs)) if name in given]

    def name_problems(self, given: Collection[Any], row: int | None) -> tuple[list[InputProblem], set[str]]:
        """Return the columns that are given twice or not at all, and the inputs that this concerns."""
        problems: list[InputProblem] = []
        reported: set[str] = set()
        for column in self.columns:
            names, outputs = self.names_of(column, given), column.recipe.outputs
            if column.name in names and len(names) > 1:
                message = f"{column.name} is given twice, also as {', '.join(names[1:])}; send one of them."
                problems.append(problem(row, column.name, None, "one of them", None, message))
            elif not names and outputs != (column.name,):
                message = f"{column.name} is missing; expected {column.expected}, or instead {', '.join(outputs)}."
                problems.append({**problem(row, column.name, None, column.expected, None, message), "got": "nothing"})
            else:
                continue
            reported.update(outputs)
        time = self.time
        dated = [column.name for column in self.columns if column.needs_time and column.name in given]
        if time is not None and dated and time.name not in given:
            expected = date_kind(time.date_format)
            message = f"{time.name} is missing; expected {expected}, because {dated[0]} counts from it."
            problems.append({**problem(row, time.name, None, expected, None, message), "got": "nothing"})
            reported |= self.aged
        return problems, reported

    def has_time(self, cells: pd.Series[Any]) -> NDArray[np.bool_]:
        """Return which cells are a valid time of a row, shape (n_rows,)."""
        from mlsys.data.table.dates import as_timestamps

        pattern = "" if self.time is None else self.time.date_format
        return as_timestamps(cells, pattern)[0].notna().to_numpy()

    def days(self, values: Sequence[Any]) -> list[str | None]:
        """Return the days of values of the rows' time column as ISO dates; None if they do not have its format."""
        if self._own_time is None:
            return [None] * len(values)
        import pandas as pd

        from mlsys.data.table.dates import as_timestamps

        times, _ = as_timestamps(pd.Series(values, dtype=object), self._own_time.date_format)
        return [None if pd.isna(time) else time.date().isoformat() for time in times]

    def inputs_of(self, frame: pd.DataFrame, columns: Iterable[RawColumn]) -> pd.DataFrame:
        """Return the inputs made from columns of a frame that has them under their own names, and valid times."""
        from mlsys.data.table.recipe import TableRecipe, convert

        recipes = [column.recipe for column in columns]
        times = [self.time] if self.time is not None and self.time.name in frame else []
        return convert(TableRecipe((*recipes, *times)), frame)[0]


def invalid_cells(cells: pd.Series[Any], inputs: pd.Series[Any]) -> set[int]:
    """Return the positions of the cells that have a value but do not parse."""
    from mlsys.data.table.values import as_levels

    missing = inputs.isna().to_numpy().nonzero()[0]
    if not len(missing):
        return set()
    return set(missing[as_levels(cells.iloc[missing]).codes >= 0].tolist())
