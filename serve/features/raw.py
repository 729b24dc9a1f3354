"""Raw rows as they come in a request: named, typed and complete as training's raw tables were, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any, Literal

import ibis
import pyarrow as pa

from mlsys.data.config import EventsData
from mlsys.data.parse_columns import MOMENT
from mlsys.data.rules import EARLIEST
from mlsys.errors import RunError, closest
from mlsys.runs.input_column import is_text
from serve.scoring.problems import InputProblem, problem

Kind = Literal["whole", "number", "text", "flag", "moment"]

EXPECTED: dict[Kind, str] = {
    "whole": "a whole number",
    "number": "a finite number",
    "text": "text",
    "flag": "true or false",
    "moment": f"a date or time from {EARLIEST} on, such as 2020-02-24 or 2020-02-24T08:30:00Z",
}
PLAIN: dict[Kind, frozenset[type]] = {
    "whole": frozenset({int}),
    "number": frozenset({int, float}),
    "text": frozenset({str}),
    "flag": frozenset({bool}),
    "moment": frozenset({str}),
}
EXACT = 2**53  # whole numbers below this are exact as float64


@dataclass(frozen=True)
class RawColumn:
    """A column of a raw table.

    Attributes
    ----------
    name : str
        As in the raw table.
    meaning : str
        What the data config calls it, such as ``entities.id`` or ``events.measures.users.deals``.
    dtype : str
        The Ibis type as which training read it.
    nullable : bool
        Whether null stands for "not known".
    """

    name: str
    meaning: str
    dtype: str
    nullable: bool

    @cached_property
    def kind(self) -> Kind:
        """What JSON holds it as."""
        kind = ibis.dtype(self.dtype)
        if kind.is_integer():
            return "whole"
        if kind.is_floating() or kind.is_decimal():
            return "number"
        if kind.is_string():
            return "text"
        if kind.is_boolean():
            return "flag"
        if kind.is_date() or kind.is_timestamp():
            return "moment"
        raise RunError(f"The raw column {self.name} was of type {kind} in training, which JSON does not have: score by "
                       "`mlsys score`.")  # fmt: skip

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        return EXPECTED[self.kind] + (" or null" if self.nullable else "")

    @property
    def type(self) -> pa.DataType:
        """The Arrow type in which the features' query reads it; times are read from text there."""
        return pa.string() if self.is_time else ibis.dtype(self.dtype).to_pyarrow()

    @property
    def is_time(self) -> bool:
        """Whether it is the time of an event or of the entity's creation."""
        return self.meaning in ("events.time", "entities.created")

    def fits(self, value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
        """Return whether a value is what the column takes."""
        if value is None:
            return self.nullable
        kind = self.kind
        if type(value) not in PLAIN[kind] and not (kind == "whole" and type(value) is float):
            return False
        if kind == "whole":
            return bool(self._bounds[0] <= value <= self._bounds[1]) and value == int(value)
        if kind == "number":
            return bool(abs(value) < EXACT) if type(value) is int else isfinite(value)
        if kind == "moment":
            return _is_moment(value)
        if kind == "text":
            return is_text(value) and (self.nullable or bool(value.strip()))
        return True

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return fitting values as the features' query reads them."""
        return pa.array(map(self._convert, values), self.type, from_pandas=False)

    @cached_property
    def _bounds(self) -> tuple[int, int]:
        bounds = ibis.dtype(self.dtype).bounds
        return int(bounds.lower), int(bounds.upper)

    @cached_property
    def _convert(self) -> Callable[[Any], Any]:
        dtype, kind = ibis.dtype(self.dtype), self.kind
        if kind == "whole":
            return lambda value: None if value is None else int(value)
        if kind == "number":
            number = (lambda value: Decimal(repr(value))) if dtype.is_decimal() else float
            return lambda value: None if value is None else number(value)
        if kind == "moment" and not self.is_time:
            return lambda value: None if value is None else _moment(value, dtype)
        return lambda value: value


@dataclass(frozen=True)
class RawTable:
    """One of the two raw tables of a request.

    Attributes
    ----------
    name : str
        ``entities`` or ``events``.
    columns : tuple of RawColumn
        The first is the entity's id.
    """

    name: str
    columns: tuple[RawColumn, ...]

    @classmethod
    def of(cls, name: Literal["entities", "events"], data: EventsData, types: Mapping[str, str]) -> RawTable:
        """Return the table as the data config names its columns and as training read them."""
        meanings = _meanings(name, data)
        columns = []
        for column, meaning in meanings.items():
            if column not in types:
                raise RunError(f"The run's recipe.json does not say how the column {column} was read: train again.")
            columns.append(RawColumn(column, f"{name}.{meaning}", types[column], meaning not in ("id", "time")))
        made = cls(name, tuple(columns))
        for each in made.columns:
            assert each.kind  # what JSON does not have is said now, not at the first request
        return made

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def check(self, rows: Sequence[Any], found: list[InputProblem]) -> None:
        """Add to ``found`` whatever is wrong with single rows."""
        names = set(self.names)
        complete = []
        for row, record in enumerate(rows):
            if not isinstance(record, Mapping):
                found.append(problem(row, self.name, record, f"an object of {', '.join(self.names)}", None))
                continue
            if record.keys() != names:
                found += self._misnamed(row, record)
            complete.append((row, record))
        for column in self.columns:
            name = column.name
            values = [record.get(name) for _, record in complete]
            if column.kind in ("number", "flag", "text") and set(map(type, values)) <= self._safe(column):
                continue  # of these types whatever comes fits
            found += [
                problem(row, f"{self.name}.{name}", record[name], column.expected, None)
                for row, record in complete
                if name in record and not column.fits(record[name])
            ]

    def arrow(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return checked rows."""
        return pa.table({column.name: column.array([row[column.name] for row in rows]) for column in self.columns})

    def empty(self) -> pa.Table:
        """Return no rows."""
        return self.arrow([])

    def ids(self, rows: Sequence[Any]) -> list[Any]:
        """Return the rows' ids as the features' query compares them; None where there is none."""
        column = self.columns[0]
        ids = [row.get(column.name) if isinstance(row, Mapping) else None for row in rows]
        known = [value if column.fits(value) else None for value in ids]
        if column.kind == "whole":
            return [None if value is None else int(value) for value in known]
        return [None if value is None else str(value).strip() for value in known]

    def _safe(self, column: RawColumn) -> set[type]:
        return {bool, type(None)} if column.kind == "flag" and column.nullable else set()

    def _misnamed(self, row: int, record: Mapping[str, Any]) -> list[InputProblem]:
        missing = [column for column in self.columns if column.name not in record]
        unknown = [str(name) for name in record if name not in self.names]
        problems = []
        for column in missing:
            near = closest(column.name, unknown)
            message = f"{self.name}.{column.name} is missing; expected {column.expected}."
            problems.append(problem(row, f"{self.name}.{column.name}", None, column.expected, near, message))
        for name in unknown:
            near = closest(name, self.names)
            hint = f" The nearest is {near}." if near else ""
            message = f"{self.name}.{name} is no column of the run's raw table.{hint}"
            expected = "one of " + ", ".join(self.names)
            problems.append(problem(row, f"{self.name}.{name}", record[name], expected, near, message))
        return problems


def _meanings(name: Literal["entities", "events"], data: EventsData) -> dict[str, str]:
    if name == "entities":
        entities = data.entities
        created = {entities.created: "created"} if entities.created else {}
        attributes = {column: f"attributes.{attribute}" for attribute, column in entities.attributes.items()}
        return {entities.id: "id"} | created | {key: value for key, value in attributes.items() if key != entities.id}
    events = data.events
    measures = {
        column: f"measures.{kind}.{product}"
        for kind, columns in events.measures.items()
        for product, column in columns.items()
    }
    return {events.id: "id", events.time: "time"} | measures


def _is_moment(text: str) -> bool:
    if not re.search(MOMENT, text.strip()):
        return False
    try:
        return date.fromisoformat(text.strip()[:10]) >= EARLIEST
    except ValueError:  # the thirtieth of February
        return False


def _moment(text: str, dtype: Any) -> date | datetime:  # noqa: ANN401 - an Ibis type
    moment = datetime.fromisoformat(text.strip())
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if dtype.is_date():
        return moment.date()
    return moment if dtype.timezone else moment.replace(tzinfo=None)
