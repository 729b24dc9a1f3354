"""Infers column kinds with one rule per kind; the first rule that matches a column determines its recipe."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.dates import COMPACT, ISO, DateFormat, as_timestamps, date_part, find_format, parse_dates
from mlsys.data.table.recipe import ColumnKind, ColumnRecipe
from mlsys.data.table.values import (
    FALSE_WORDS,
    TRUE_WORDS,
    Levels,
    as_levels,
    common_unit,
    decimal_vote,
    evenly_spaced,
    parse_numbers,
    parse_words,
    to_numbers,
)
from mlsys.text import counted

MIN_VALID = 0.95  # fraction of non-missing rows that must parse as a kind; also of distinct values in an id column
MIN_ENTITIES = 0.05  # an id column with a larger fraction of distinct values identifies entities rather than categories
FEW = 20  # with fewer rows, "all values are distinct" is no evidence; also the limit for "few distinct whole numbers"

_ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "identifier"})
_NUMBER_WORDS = frozenset(
    "key number no nr num hash token index idx ref reference serial ssn iban phone email".split()  # noqa: SIM905
)
_CODE_WORDS = frozenset({"code", "zip", "zipcode", "postcode", "postal", "plz", "sic", "naics"})
_JOINED_ID = re.compile(
    "(?:user|customer|client|account|member|order|lead|contact|employee|person|patient|session|transaction|company|case"
    "|record|row|product|device|visitor|policy|loan|household|subscriber)(?:id|nr|no|num|number|key)"
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """Information about the other columns, and settings, for the rules.

    Attributes
    ----------
    decimal : str or None
        Decimal mark for columns with ambiguous numbers, such as "1,234".
    day_first : bool or None
        Whether the day comes first in ambiguous dates, such as "03/04/2020".
    row_times : Series of datetime64, shape (n_rows,), or None
        Time of each row.
    drop : frozenset of str
        Columns to drop regardless of their kind.
    max_categories : int
        Categories with more levels have high cardinality.
    """

    decimal: str | None = None
    day_first: bool | None = None
    row_times: pd.Series[pd.Timestamp] | None = None
    drop: frozenset[str] = frozenset()
    max_categories: int = 50


@dataclass(frozen=True)
class Column:
    """One raw column, with cached properties for the rules."""

    name: str
    series: pd.Series

    @cached_property
    def levels(self) -> Levels:
        """The distinct values as text; rarely needed for numeric and datetime columns."""
        return as_levels(self.series)

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


Rule = Callable[[Column, Context], ColumnRecipe | None]


def inferred(column: Column, context: Context) -> ColumnRecipe:
    """Return the recipe of the first rule that matches the column.

    Examples
    --------
    >>> inferred(Column("plan", pd.Series(["free", "pro", "free"])), Context()).reason
    '2 levels'
    """
    recipe = next(match for rule in _RULES if (match := rule(column, context)))
    if column.name in context.drop:
        return column.dropped(recipe.kind, recipe.reason, "set by data.drop")
    return recipe


def _constant(column: Column, _: Context) -> ColumnRecipe | None:
    if column.distinct > FEW or (column.distinct > 1 and column.levels.values.str.lower().nunique() > 1):
        return None
    if column.filled == 0:
        return column.dropped("constant", f"empty in all {column.rows:,} rows", "no information")
    value = _short(column.levels.values.tolist()[0]) if len(column.levels.values) else "infinite"
    if column.filled == column.rows:
        return column.dropped("constant", f"{value} in every row", "no information")
    reason = f"{value} in {column.filled:,} of {counted(column.rows, 'row')}, else empty: 1 if filled, else 0"
    return column.used("boolean", reason, ("filled",))


def _boolean(column: Column, _: Context) -> ColumnRecipe | None:
    if column.is_number or column.is_datetime or column.distinct > len(TRUE_WORDS + FALSE_WORDS):
        return None
    values = column.levels.values
    words = parse_words(values, TRUE_WORDS, FALSE_WORDS)
    only_digits = values.str.fullmatch(r"[01](?:\.0)?").all()
    if only_digits or np.isnan(words).any() or len(np.unique(words)) < 2:
        return None
    yes, no = ("/".join(values[words == answer].tolist()) for answer in (1, 0))
    return replace(column.used("boolean", f"{yes} is 1, {no} is 0"), true=TRUE_WORDS, false=FALSE_WORDS)


def _number(column: Column, context: Context) -> ColumnRecipe | None:
    notation, numbers, invalid = _numbers(column, context)
    if numbers is None:
        return None
    known = numbers[~np.isnan(numbers)]
    if len(np.unique(known)) < 2 and len(known) in (0, column.rows):
        return column.dropped("constant", "the same number in every row", "no information")
    integral = bool((known == np.floor(known)).all())
    if integral and (coded := _coded(column, known, context)):
        return coded
    reason = _number_reason(known, integral, notation) + _invalid_note(column, invalid)
    return replace(column.used("number", reason), decimal=notation.decimal, unit=notation.unit)


class _Notation(NamedTuple):
    decimal: str = "."
    unit: str = ""


def _numbers(column: Column, context: Context) -> tuple[_Notation, NDArray[np.float64] | None, int]:
    """Return the notation, the number in each row (None if not numeric) and the number of rows that do not parse."""
    if column.is_number:
        is_duration = column.series.dtype.kind == "m"
        return _Notation(), to_numbers(column.series.dt.total_seconds() / 86_400 if is_duration else column.series), 0
    levels = column.levels
    notation = _Notation(decimal_vote(levels.values) or context.decimal or ".", common_unit(levels.values))
    sample = pd.Series(evenly_spaced(levels.values, 500), dtype="str")
    if np.isnan(parse_numbers(sample, **notation._asdict())).mean() > 0.5:
        return notation, None, 0
    parsed = parse_numbers(levels.values, **notation._asdict())
    valid = ~np.isnan(parsed)
    return notation, levels.spread(parsed) if _mostly_valid(levels, valid) else None, levels.count(~valid)


def _mostly_valid(levels: Levels, valid: NDArray[np.bool_]) -> bool:
    """Whether nearly all rows parse, or most do, with many values, and the rest are up to three words ("unknown")."""
    rows, others = levels.count(valid), int((~valid).sum())
    return rows >= MIN_VALID * levels.filled or (2 * rows >= levels.filled and others <= 3 and int(valid.sum()) > FEW)


def _number_reason(known: NDArray[np.float64], integral: bool, notation: _Notation) -> str:
    distinct = len(np.unique(known))
    spec = ",.0f" if integral and np.abs(known).max() < 1e15 else ",.6g"
    reason = f"{'whole numbers' if integral else 'numbers'} from {known.min():{spec}} to {known.max():{spec}}"
    if integral and 2 < distinct <= FEW:
        reason += f", {distinct} distinct: kept numeric to preserve their order"
    if notation.decimal == ",":
        reason += "; decimal comma"
    return reason + (f"; in {notation.unit}" if notation.unit else "")


def _invalid_note(column: Column, invalid: int) -> str:
    valid = column.filled - invalid
    return f"; stored as text: {valid:,} of {column.filled:,} parse, the rest become missing" if invalid else ""


def _coded(column: Column, known: NDArray[np.float64], context: Context) -> ColumnRecipe | None:
    """Match whole numbers that are not quantities: row numbers, ids, codes, and dates such as 20200131."""
    distinct, rows = len(np.unique(known)), len(known)
    if FEW <= rows == column.rows and known[0] in (0, 1) and (np.diff(known) == 1).all():
        return column.dropped("id", f"row numbers from {known[0]:.0f}", "identifies single rows")
    if recipe := _identifier(column, distinct, rows):
        return recipe
    if known.min() >= 18_500_101 and known.max() <= 21_501_231:
        compact = DateFormat(COMPACT, rows)
        if _valid_dates(column, compact).all():
            return _dated(column, context, compact)
    if recipe := _entity(column, distinct, rows, context):
        return recipe
    if _is_padded(column) or column.is_id_name or not _CODE_WORDS.isdisjoint(column.words):
        return _text(column, context) or _category(column, context, "codes (unordered whole numbers): ")
    return None


def _is_padded(column: Column) -> bool:
    if column.is_number:
        return False
    values = column.levels.values
    return bool(values.str.fullmatch(r"0[0-9]+").any()) and values.str.len().nunique() == 1


def _identifier(column: Column, distinct: int, rows: int) -> ColumnRecipe | None:
    if not column.may_be_id_name or distinct < MIN_VALID * rows:
        return None
    return column.dropped("id", f"named like an id, {distinct:,} distinct in {rows:,} rows", "identifies single rows")


def _entity(column: Column, distinct: int, rows: int, context: Context) -> ColumnRecipe | None:
    """Match ids of entities with several rows: ids do not generalize to unseen entities."""
    if not column.is_id_name or distinct <= max(MIN_ENTITIES * rows, context.max_categories):
        return None
    advice = f"identifies entities; data.group={column.name} would keep the rows of each entity together"
    return column.dropped("id", f"named like an id, {distinct:,} distinct in {rows:,} rows", advice)


def _date(column: Column, context: Context) -> ColumnRecipe | None:
    if column.is_number:
        return None
    if column.is_datetime:
        return _dated(column, context, DateFormat(ISO, column.filled))
    detected = find_format(column.levels, day_first=context.day_first)
    if detected and _mostly_valid(column.levels, _valid_dates(column, detected)):
        return _dated(column, context, detected)
    return None


def _valid_dates(column: Column, form: DateFormat) -> NDArray[np.bool_]:
    return parse_dates(column.levels.values, form.pattern).notna().to_numpy()


def _dated(column: Column, context: Context, form: DateFormat) -> ColumnRecipe:
    timestamps, invalid = as_timestamps(column.series, form.pattern)
    dates = "dates" if column.is_datetime else f"dates in format {form.pattern}"
    if timestamps.isna().all():
        return column.dropped("constant", f"{dates}, all placeholders", "no information")
    reason = f"{dates}, {timestamps.min():%Y-%m-%d} to {timestamps.max():%Y-%m-%d}" + _invalid_note(column, invalid)
    if form.ambiguous and context.day_first is None:
        reason += "; the order of day and month is ambiguous"
    reason += _later_note(column, context, timestamps)
    first = "day" if context.row_times is None else "age_days"
    known = timestamps.dropna()
    cyclic = [part for part in ("month", "weekday", "hour") if len(np.unique(date_part(known, part))) > 1]
    return replace(column.used("date", reason, (first, *cyclic)), date_format=form.pattern)


def _later_note(column: Column, context: Context, timestamps: pd.Series[pd.Timestamp]) -> str:
    later = 0 if context.row_times is None else int((timestamps > context.row_times).sum())
    if not later:
        return ""
    if column.name not in context.drop:
        logger.warning(
            "%s is after the row's own time in %s; if it was unknown then, add it to data.drop",
            column.name,
            counted(later, "row"),
        )
    return f"; after the row's own time in {counted(later, 'row')}"


def _text(column: Column, context: Context) -> ColumnRecipe | None:
    levels, distinct, filled = column.levels, column.distinct, column.filled
    if recipe := _identifier(column, distinct, filled) or _entity(column, distinct, filled, context):
        return recipe
    if filled < FEW or distinct <= 0.5 * filled:
        return None
    length, words = levels.values.str.len().mean(), (levels.values.str.count(" ") + 1).mean()
    if words >= 4 or (words > 1.5 and length > 40):
        reason = f"free text: {words:.0f} words on average, {distinct:,} distinct in {filled:,} rows"
        return column.used("text", reason, ("length", "words"))
    if distinct <= MIN_VALID * filled:
        return None
    reason = "unique in every row" if distinct == filled else f"{distinct:,} distinct in {filled:,} rows"
    return column.dropped("id", reason, "identifies single rows")


def _category(column: Column, context: Context, prefix: str = "") -> ColumnRecipe:
    values = column.levels.values
    levels = values.str.lower().nunique()
    folded = levels < len(values)
    reason = f"{prefix}{counted(levels, 'level')}"
    if levels > context.max_categories:
        reason += f", more than {context.max_categories} (high cardinality, handled by the encoder)"
    recipe = column.used("category", reason + ("; case is ignored" if folded else ""))
    return replace(recipe, fold_case=folded)


_RULES: tuple[Rule, ...] = (_constant, _boolean, _number, _date, _text, _category)


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:29] + "…")
