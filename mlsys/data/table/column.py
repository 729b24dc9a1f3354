"""One raw column of a flat table and what is known about the others, for the rules that infer its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from mlsys.data.config import DateOrder
from mlsys.data.table.date_formats import DateFormat, find_format
from mlsys.data.table.recipe import ColumnRecipe
from mlsys.data.table.values import Levels, as_levels
from mlsys.runs.recipe_file import ColumnKind

_ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "identifier"})
_NUMBER_WORDS = frozenset(
    "key number no nr num hash token index idx ref reference serial ssn iban phone email".split()  # noqa: SIM905
)
_CODE_WORDS = frozenset({"code", "zip", "zipcode", "postcode", "postal", "plz", "sic", "naics"})
_VERSION_WORDS = frozenset({"ver", "version", "release"})
_DATE_WORDS = frozenset({"timestamp", "datetime", "date", "datum"})
_TIME_UNITS = frozenset({"utc", "gmt", "s", "sec", "seconds", "ms", "millis", "us", "ns"})
_TIME_WORDS = frozenset(
    _DATE_WORDS
    | {"at", "on", "ts", "dt", "epoch", "unix", "birthday", "birthdate", "birth", "signed"}
    | {"created", "updated", "modified", "joined", "opened", "closed", "started", "ended", "born", "hired"}
    | {"registered", "expires", "expired", "cancelled", "canceled"}
)
_JOINED_ID = re.compile(
    "(?:user|customer|client|account|member|order|lead|contact|employee|person|patient|session|transaction|company|case"
    "|record|row|product|device|visitor|policy|loan|household|subscriber)(?:id|nr|no|num|number|key)"
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


@dataclass(frozen=True)
class Context:
    """Information about the other columns, and settings, for the rules.

    Attributes
    ----------
    decimal : str or None
        Decimal mark for columns with ambiguous numbers, such as "1,234"; None if nothing suggests one.
    decimal_is_set : bool
        Whether ``decimal`` is a setting, which precedes what a column suggests.
    day_first : bool or None
        Whether the day comes first in ambiguous dates, such as "03/04/2020".
    row_times : Series of datetime64, shape (n_rows,), or None
        Time of each row.
    drop : mapping of str to str
        Columns to drop regardless of their kind, and the settings that say so.
    max_categories : int
        Categories with more levels have high cardinality.
    """

    decimal: str | None = None
    decimal_is_set: bool = False
    day_first: bool | None = None
    row_times: pd.Series[pd.Timestamp] | None = None
    drop: Mapping[str, str] = field(default_factory=dict)
    max_categories: int = 50


@dataclass(frozen=True)
class Column:
    """One raw column, with cached properties for the rules; ``dates`` is the setting ``data.dates``."""

    name: str
    series: pd.Series
    dates: DateOrder | None = None

    @cached_property
    def levels(self) -> Levels:
        """The distinct values as text; rarely needed for numeric and datetime columns."""
        return as_levels(self.series)

    @cached_property
    def date_format(self) -> DateFormat | None:
        """The format of dates written as text; None if the column does not look like dates."""
        if self.is_number or self.is_datetime or self.is_version_name:
            return None
        return find_format(self.levels, self.dates)

    @property
    def is_number(self) -> bool:
        """Whether the dtype is numeric or timedelta."""
        dtype = self.series.dtype
        return dtype.kind == "m" or (pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype))

    @property
    def is_datetime(self) -> bool:
        """Whether the dtype is datetime."""
        return pd.api.types.is_datetime64_any_dtype(self.series.dtype)

    @cached_property
    def distinct(self) -> int:
        """Number of distinct values."""
        return self.series.nunique() if self.is_number or self.is_datetime else len(self.levels.values)

    @cached_property
    def filled(self) -> int:
        """Number of rows with a value."""
        return int(self.series.notna().sum()) if self.is_number or self.is_datetime else self.levels.filled

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.series)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words in the column's name, in lower case."""
        return tuple(word.lower() for word in _WORD.findall(self.name))

    @property
    def is_time_name(self) -> bool:
        """Whether the column's name indicates dates or times: signed_at and date_of_birth, but not amount_at_close.

        The last word decides, apart from digits and units, or the first if "of" or one more word follows.
        """
        words = [word for word in self.words if not word.isdecimal() and word not in _TIME_UNITS]
        if not words or words == ["t"]:
            return bool(words)
        return words[-1] in _TIME_WORDS or (words[0] in _DATE_WORDS and (len(words) == 2 or words[1] == "of"))

    @property
    def is_code_name(self) -> bool:
        """Whether the column's name indicates codes, such as postal codes."""
        return not _CODE_WORDS.isdisjoint(self.words)

    @property
    def is_version_name(self) -> bool:
        """Whether the column's name indicates versions."""
        return not _VERSION_WORDS.isdisjoint(self.words)

    @property
    def is_id_name(self) -> bool:
        """Whether the column's name indicates ids."""
        return not _ID_WORDS.isdisjoint(self.words) or any(_JOINED_ID.fullmatch(word) for word in self.words)

    @property
    def may_be_id_name(self) -> bool:
        """Whether the column's name suggests that the values may be ids."""
        return self.is_id_name or (bool(self.words) and self.words[-1] in _NUMBER_WORDS)

    def used(self, kind: ColumnKind, reason: str, parts: tuple[str, ...] = ("value",)) -> ColumnRecipe:
        """Return a recipe that uses the column."""
        empty = self.rows - self.filled
        missing = f"; {empty:,} of {self.rows:,} missing" if empty and parts != ("filled",) else ""
        return ColumnRecipe(self.name, kind, reason + missing, parts=parts)

    def dropped(self, kind: ColumnKind, reason: str, explanation: str) -> ColumnRecipe:
        """Return a recipe that drops the column."""
        return ColumnRecipe(self.name, kind, reason, dropped=explanation)
