"""Checks the raw rows of a request: names, types and completeness must match training's raw tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Literal

import ibis
import pandas as pd
import pyarrow as pa

from mlsys.data.config import EventsData
from mlsys.data.parse_columns import MOMENT
from mlsys.data.rules import EARLIEST
from mlsys.data.table.moments import parse_moments
from mlsys.errors import RunError, closest, closest_pairs
from mlsys.runs.input_column import is_text
from serve.scoring.date_words import in_words, is_counted
from serve.scoring.problems import InputProblem, problem

Kind = Literal["whole", "number", "text", "flag", "moment"]

EXPECTED: dict[Kind, str] = {
    "whole": "a whole number",
    "number": "a finite number",
    "text": "text",
    "flag": "true or false",
    "moment": f"a date or time from {EARLIEST} on, such as 2020-02-24 or 2020-02-24T08:30:00Z",
}
JSON_TYPES: dict[Kind, frozenset[type]] = {
    "whole": frozenset({int}),
    "number": frozenset({int, float}),
    "text": frozenset({str}),
    "flag": frozenset({bool}),
    "moment": frozenset({str}),
}
MAX_EXACT = 2**53  # whole numbers below this are exact as float64


@dataclass(frozen=True)
class RawColumn:
    """A column of a raw table.

    Attributes
    ----------
    name : str
        Name in the raw table.
    meaning : str
        Key in the data config, such as ``entities.id`` or ``events.measures.users.deals``.
    dtype : str
        The Ibis type that training read it as.
    nullable : bool
        Whether null is allowed, for an unknown value.
    date_formats : tuple of str
        The formats of a time in training, if they were not ISO 8601; they are accepted too.
    """

    name: str
    meaning: str
    dtype: str
    nullable: bool
    date_formats: tuple[str, ...] = ()

    @cached_property
    def kind(self) -> Kind:
        """Kind of JSON value."""
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
        raise RunError(
            f"The raw column {self.name} had the type {kind} in training, which JSON does not support: send "
            "rows of the model's inputs to /predict/batch."
        )

    @property
    def expected(self) -> str:
        """Description of the accepted values."""
        trained = "".join(f", or {in_words(date_format)}" for date_format in self.date_formats)
        trained += " as in training" if trained else ""
        return EXPECTED[self.kind] + trained + (" or null" if self.nullable else "")

    @property
    def type(self) -> pa.DataType:
        """Arrow type for the features' query, which parses times from text."""
        return pa.string() if self.is_time else ibis.dtype(self.dtype).to_pyarrow()

    @property
    def counts(self) -> bool:
        """Whether training read numbers as times, so that JSON numbers are accepted."""
        return any(map(is_counted, self.date_formats))

    @property
    def is_time(self) -> bool:
        """Whether it holds the time of an event or of the entity's creation."""
        return self.meaning in ("events.time", "entities.created")

    def fits(self, value: Any) -> bool:  # noqa: ANN401 - any JSON value
        """Return whether the column accepts a value."""
        if value is None:
            return self.nullable
        kind = self.kind
        if kind == "moment" and self.counts and type(value) in (int, float):
            return abs(value) < MAX_EXACT and _is_moment(self._iso(value))
        if type(value) not in JSON_TYPES[kind] and not (kind == "whole" and type(value) is float):
            return False
        if kind == "whole":
            return bool(self._bounds[0] <= value <= self._bounds[1]) and value == int(value)
        if kind == "number":
            return bool(abs(value) < MAX_EXACT) if type(value) is int else isfinite(value)
        if kind == "moment":
            return _is_moment(self._iso(value))
        if kind == "text":
            return is_text(value) and (self.nullable or bool(value.strip()))
        return True

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return accepted values as an Arrow array for the features' query."""
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
            return lambda value: None if value is None else _moment(self._iso(value), dtype)
        if kind == "moment":
            return lambda value: None if value is None else self._iso(value)
        return lambda value: value

    def _iso(self, value: str | float) -> str:
        text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        if not self.date_formats or re.search(MOMENT, text):
            return text
        return _iso_text(text, self.date_formats)


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
    def of(
        cls, name: Literal["entities", "events"], data: EventsData, types: Mapping[str, Mapping[str, str]]
    ) -> RawTable:
        """Return the table with the data config's columns and the types that training read them as (recipe.json)."""
        meanings = _meanings(name, data)
        columns = []
        for column, meaning in meanings.items():
            if column not in types[name]:
                raise RunError(f"The run's recipe.json has no type for the column {column}: train again.")
            key = f"{name}.{meaning}"
            formats = tuple(types.get("dates", {}).get(key, ()))
            columns.append(RawColumn(column, key, types[name][column], meaning not in ("id", "time"), formats))
        table = cls(name, tuple(columns))
        for each in table.columns:
            assert each.kind  # raises for types that JSON does not support now, not in the first request
        return table

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def check(self, rows: Sequence[Any]) -> list[InputProblem]:
        """Return the problems of single rows."""
        problems: list[InputProblem] = []
        names = set(self.names)
        complete = []
        for row, record in enumerate(rows):
            if not isinstance(record, Mapping):
                problems.append(problem(row, self.name, record, f"an object with {', '.join(self.names)}", None))
                continue
            if record.keys() != names:
                problems += self._name_problems(row, record)
            complete.append((row, record))
        for column in self.columns:
            name = column.name
            values = [record.get(name) for _, record in complete]
            if column.kind in ("number", "flag", "text") and set(map(type, values)) <= self._always_valid(column):
                continue
            problems += [
                problem(row, f"{self.name}.{name}", record[name], column.expected, None)
                for row, record in complete
                if name in record and not column.fits(record[name])
            ]
        return problems

    def arrow(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return checked rows as an Arrow table."""
        return pa.table({column.name: column.array([row[column.name] for row in rows]) for column in self.columns})

    def empty(self) -> pa.Table:
        """Return an Arrow table without rows."""
        return self.arrow([])

    def ids(self, rows: Sequence[Any]) -> list[Any]:
        """Return the rows' ids as the features' query compares them; None if missing or invalid."""
        column = self.columns[0]
        ids = [row.get(column.name) if isinstance(row, Mapping) else None for row in rows]
        known = [value if column.fits(value) else None for value in ids]
        if column.kind == "whole":
            return [None if value is None else int(value) for value in known]
        return [None if value is None else str(value).strip() for value in known]

    def _always_valid(self, column: RawColumn) -> set[type]:
        return {bool, type(None)} if column.kind == "flag" and column.nullable else set()

    def _name_problems(self, row: int, record: Mapping[str, Any]) -> list[InputProblem]:
        missing = [column for column in self.columns if column.name not in record]
        unknown = [str(name) for name in record if name not in self.names]
        near_missing = closest_pairs([column.name for column in missing], unknown)
        near_unknown = {name: column for column, name in near_missing.items()}
        others = [name for name in self.names if name not in near_missing]
        problems = []
        for column in missing:
            near = near_missing.get(column.name)
            message = f"{self.name}.{column.name} is missing; expected {column.expected}."
            problems.append(problem(row, f"{self.name}.{column.name}", None, column.expected, near, message))
        for name in unknown:
            near = near_unknown.get(name) or closest(name, others)
            hint = f"; closest match: {near}" if near else ""
            message = f"{self.name}.{name} is not a column of the run's raw table{hint}."
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


@lru_cache(maxsize=10_000)  # events share their days
def _iso_text(text: str, date_formats: tuple[str, ...]) -> str:
    """Return a time of training's formats in ISO 8601; the text itself if they give no time, or several."""
    values = pd.Series([text], dtype="str")
    moments = {moment for each in date_formats if not pd.isna(moment := parse_moments(values, each).iloc[0])}
    return moments.pop().isoformat(sep=" ") if len(moments) == 1 else text


def _is_moment(text: str) -> bool:
    if not re.search(MOMENT, text.strip()):
        return False
    try:
        return date.fromisoformat(text.strip()[:10]) >= EARLIEST
    except ValueError:  # such as February 30
        return False


def _moment(text: str, dtype: Any) -> date | datetime:  # noqa: ANN401 - an Ibis type
    moment = datetime.fromisoformat(text.strip())
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if dtype.is_date():
        return moment.date()
    return moment if dtype.timezone else moment.replace(tzinfo=None)
