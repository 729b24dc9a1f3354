"""One small rule per kind of column: the first that claims a column says what it is and how it is read."""

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

from mlsys.data.table.dates import COMPACT, ISO, DateFormat, as_moments, date_part, find_format, parse_dates
from mlsys.data.table.recipe import ColumnKind, ColumnRecipe
from mlsys.data.table.values import (
    FALSE_WORDS,
    TRUE_WORDS,
    Levels,
    as_levels,
    common_unit,
    decimal_vote,
    parse_numbers,
    parse_words,
    spaced,
    to_numbers,
)

ENOUGH = 0.95  # share of the filled rows that must read as a kind; also the share of distinct values that makes an id
ENTITY = 0.05  # an id column with more distinct values than this share of the rows names things, not kinds of things
FEW = 20  # below this many rows "every value differs" says nothing; up to this many whole numbers are called few

_NAMING = frozenset({"id", "ids", "uuid", "guid", "identifier"})
_NUMBERING = frozenset(
    "key number no nr num hash token index idx ref reference serial ssn iban phone email".split()  # noqa: SIM905
)
_CODING = frozenset({"code", "zip", "zipcode", "postcode", "postal", "plz", "sic", "naics"})
_GLUED = re.compile(
    "(?:user|customer|client|account|member|order|lead|contact|employee|person|patient|session|transaction|company|case"
    "|record|row|product|device|visitor|policy|loan|household|subscriber)(?:id|nr|no|num|number|key)"
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """What a rule may know beside its column.

    Attributes
    ----------
    decimal : str or None
        The decimal mark of columns whose numbers do not tell, such as "1,234".
    day_first : bool or None
        How to read dates that do not tell, such as "03/04/2020".
    row_times : Series of datetime64, shape (n_rows,), or None
        The moment that each row stands for.
    drop : frozenset of str
        Columns that are left out whatever they are.
    max_categories : int
        Above this many levels a category is of high cardinality.
    """

    decimal: str | None = None
    day_first: bool | None = None
    row_times: pd.Series[pd.Timestamp] | None = None
    drop: frozenset[str] = frozenset()
    max_categories: int = 50


@dataclass(frozen=True)
class Column:
    """One raw column, with what several rules ask about it worked out once."""

    name: str
    series: pd.Series

    @cached_property
    def levels(self) -> Levels:
        """The distinct texts; not needed for most columns that hold numbers or moments already."""
        return as_levels(self.series)

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers or durations already."""
        dtype = self.series.dtype
        return dtype.kind == "m" or (pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype))

    @property
    def is_moment(self) -> bool:
        """Whether it holds moments already."""
        return pd.api.types.is_datetime64_any_dtype(self.series.dtype)

    @cached_property
    def distinct(self) -> int:
        """Number of distinct values."""
        return self.series.nunique() if self.is_number or self.is_moment else len(self.levels.values)

    @cached_property
    def filled(self) -> int:
        """Number of rows with a value."""
        return int(self.series.notna().sum()) if self.is_number or self.is_moment else self.levels.filled

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.series)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words in its name, in lower case."""
        return tuple(word.lower() for word in _WORD.findall(self.name))

    @property
    def names_things(self) -> bool:
        """Whether its name says that the values are names of something."""
        return not _NAMING.isdisjoint(self.words) or any(_GLUED.fullmatch(word) for word in self.words)

    @property
    def numbers_things(self) -> bool:
        """Whether its name says that the values may be names of something."""
        return self.names_things or (bool(self.words) and self.words[-1] in _NUMBERING)

    def read_as(self, kind: ColumnKind, reason: str, parts: tuple[str, ...] = ("value",)) -> ColumnRecipe:
        """Return a recipe that makes model inputs of it."""
        gaps = self.rows - self.filled
        missing = f"; {gaps:,} of {self.rows:,} missing" if gaps and parts != ("filled",) else ""
        return ColumnRecipe(self.name, kind, reason + missing, parts=parts)

    def dropped(self, kind: ColumnKind, reason: str, why: str) -> ColumnRecipe:
        """Return a recipe that makes nothing of it."""
        return ColumnRecipe(self.name, kind, reason, dropped=why)


Rule = Callable[[Column, Context], ColumnRecipe | None]


def inferred(column: Column, context: Context) -> ColumnRecipe:
    """Return what the first rule that claims the column says of it.

    Examples
    --------
    >>> inferred(Column("plan", pd.Series(["free", "pro", "free"])), Context()).reason
    '2 levels'
    """
    recipe = next(found for rule in _RULES if (found := rule(column, context)))
    if column.name in context.drop:
        return column.dropped(recipe.kind, recipe.reason, "named by data.drop")
    return recipe


def _constant(column: Column, _: Context) -> ColumnRecipe | None:
    if column.distinct > FEW or (column.distinct > 1 and column.levels.values.str.lower().nunique() > 1):
        return None
    if column.filled == 0:
        return column.dropped("constant", f"no value in any of {column.rows:,} rows", "nothing to learn from")
    value = _short(column.levels.values.tolist()[0]) if len(column.levels.values) else "infinite"
    if column.filled == column.rows:
        return column.dropped("constant", f"{value} in every row", "nothing to learn from")
    reason = f"only {value}, in {column.filled:,} of {column.rows:,} rows: 1 where filled, 0 where not"
    return column.read_as("boolean", reason, ("filled",))


def _boolean(column: Column, _: Context) -> ColumnRecipe | None:
    if column.is_number or column.is_moment or column.distinct > len(TRUE_WORDS + FALSE_WORDS):
        return None
    values = column.levels.values
    words = parse_words(values, TRUE_WORDS, FALSE_WORDS)
    only_digits = values.str.fullmatch(r"[01](?:\.0)?").all()
    if only_digits or np.isnan(words).any() or len(np.unique(words)) < 2:
        return None
    yes, no = ("/".join(values[words == answer].tolist()) for answer in (1, 0))
    return replace(column.read_as("boolean", f"{yes} is 1, {no} is 0"), true=TRUE_WORDS, false=FALSE_WORDS)


def _number(column: Column, context: Context) -> ColumnRecipe | None:
    how, numbers, unread = _numbers(column, context)
    if numbers is None:
        return None
    known = numbers[~np.isnan(numbers)]
    if len(np.unique(known)) < 2 and len(known) in (0, column.rows):
        return column.dropped("constant", "one and the same number in every row", "nothing to learn from")
    whole = bool((known == np.floor(known)).all())
    if whole and (coded := _coded(column, known, context)):
        return coded
    reason = _number_reason(known, whole, how) + _unread_note(column, unread)
    return replace(column.read_as("number", reason), decimal=how.decimal, unit=how.unit)


class _Writing(NamedTuple):
    decimal: str = "."
    unit: str = ""


def _numbers(column: Column, context: Context) -> tuple[_Writing, NDArray[np.float64] | None, int]:
    """Return how numbers are written, the numbers by row (None if they are not numbers), and how many are unread."""
    if column.is_number:
        is_duration = column.series.dtype.kind == "m"
        return _Writing(), to_numbers(column.series.dt.total_seconds() / 86_400 if is_duration else column.series), 0
    levels = column.levels
    how = _Writing(decimal_vote(levels.values) or context.decimal or ".", common_unit(levels.values))
    sample = pd.Series(spaced(levels.values, 500), dtype="str")
    if np.isnan(parse_numbers(sample, **how._asdict())).mean() > 0.5:
        return how, None, 0
    parsed = parse_numbers(levels.values, **how._asdict())
    read = ~np.isnan(parsed)
    return how, levels.spread(parsed) if _mostly(levels, read) else None, levels.count(~read)


def _mostly(levels: Levels, read: NDArray[np.bool_]) -> bool:
    """Whether nearly all rows read, or most do, in many values, and the rest is a word or two ("unknown")."""
    rows, others = levels.count(read), int((~read).sum())
    return rows >= ENOUGH * levels.filled or (2 * rows >= levels.filled and others <= 3 and int(read.sum()) > FEW)


def _number_reason(known: NDArray[np.float64], whole: bool, how: _Writing) -> str:
    distinct = len(np.unique(known))
    places = ",.0f" if whole and np.abs(known).max() < 1e15 else ",.6g"
    reason = f"{'whole numbers' if whole else 'numbers'} from {known.min():{places}} to {known.max():{places}}"
    if whole and 2 < distinct <= FEW:
        reason += f", {distinct} distinct: kept as numbers, so that their order counts"
    if how.decimal == ",":
        reason += "; decimal comma"
    return reason + (f"; in {how.unit}" if how.unit else "")


def _unread_note(column: Column, unread: int) -> str:
    read = column.filled - unread
    return f"; stored as text: {read:,} of {column.filled:,} parse, the rest become missing" if unread else ""


def _coded(column: Column, known: NDArray[np.float64], context: Context) -> ColumnRecipe | None:
    """Claim whole numbers that count nothing: row numbers, ids, codes, and dates such as 20200131."""
    distinct, rows = len(np.unique(known)), len(known)
    if FEW <= rows == column.rows and known[0] in (0, 1) and (np.diff(known) == 1).all():
        return column.dropped("id", f"counts the rows from {known[0]:.0f}", "names single rows")
    if named := _identifier(column, distinct, rows):
        return named
    if known.min() >= 18_500_101 and known.max() <= 21_501_231:
        compact = DateFormat(COMPACT, rows)
        if _dates_read(column, compact).all():
            return _dated(column, context, compact)
    if named := _entity(column, distinct, rows, context):
        return named
    if _is_padded(column) or column.names_things or not _CODING.isdisjoint(column.words):
        return _text(column, context) or _category(column, context, "codes: whole numbers without an order, ")
    return None


def _is_padded(column: Column) -> bool:
    if column.is_number:
        return False
    values = column.levels.values
    return bool(values.str.fullmatch(r"0[0-9]+").any()) and values.str.len().nunique() == 1


def _identifier(column: Column, distinct: int, rows: int) -> ColumnRecipe | None:
    if not column.numbers_things or distinct < ENOUGH * rows:
        return None
    return column.dropped("id", f"named like an id, {distinct:,} distinct in {rows:,} rows", "names single rows")


def _entity(column: Column, distinct: int, rows: int, context: Context) -> ColumnRecipe | None:
    """Claim the id of something that has several rows: what it is called says nothing about those not seen yet."""
    if not column.names_things or distinct <= max(ENTITY * rows, context.max_categories):
        return None
    advice = f"names things, not what they are like; data.group={column.name} would keep the rows of one together"
    return column.dropped("id", f"named like an id, {distinct:,} distinct in {rows:,} rows", advice)


def _moment(column: Column, context: Context) -> ColumnRecipe | None:
    if column.is_number:
        return None
    if column.is_moment:
        return _dated(column, context, DateFormat(ISO, column.filled))
    found = find_format(column.levels, day_first=context.day_first)
    return _dated(column, context, found) if found and _mostly(column.levels, _dates_read(column, found)) else None


def _dates_read(column: Column, found: DateFormat) -> NDArray[np.bool_]:
    return parse_dates(column.levels.values, found.pattern).notna().to_numpy()


def _dated(column: Column, context: Context, found: DateFormat) -> ColumnRecipe:
    moments, unread = as_moments(column.series, found.pattern)
    written = "dates" if column.is_moment else f"dates written {found.pattern}"
    if moments.isna().all():
        return column.dropped("constant", f"{written}, all of them placeholders", "nothing to learn from")
    reason = f"{written}, {moments.min():%Y-%m-%d} to {moments.max():%Y-%m-%d}" + _unread_note(column, unread)
    if found.ambiguous and context.day_first is None:
        reason += "; nothing in the table tells day from month"
    reason += _later_note(column, context, moments)
    first = "day" if context.row_times is None else "age_days"
    known = moments.dropna()
    rhythm = [part for part in ("month", "weekday", "hour") if len(np.unique(date_part(known, part))) > 1]
    return replace(column.read_as("date", reason, (first, *rhythm)), date_format=found.pattern)


def _later_note(column: Column, context: Context, moments: pd.Series[pd.Timestamp]) -> str:
    later = 0 if context.row_times is None else int((moments > context.row_times).sum())
    if not later:
        return ""
    if column.name not in context.drop:
        logger.warning(
            "%s lies after the row's own time in %s rows: if it was not known then, name it in data.drop",
            column.name,
            f"{later:,}",
        )
    return f"; after the row's own time in {later:,} rows"


def _text(column: Column, context: Context) -> ColumnRecipe | None:
    levels, distinct, filled = column.levels, column.distinct, column.filled
    if named := _identifier(column, distinct, filled) or _entity(column, distinct, filled, context):
        return named
    if filled < FEW or distinct <= 0.5 * filled:
        return None
    length, words = levels.values.str.len().mean(), (levels.values.str.count(" ") + 1).mean()
    if words >= 4 or (words > 1.5 and length > 40):
        reason = f"free text: {words:.0f} words on average, {distinct:,} distinct in {filled:,} rows"
        return column.read_as("text", reason, ("length", "words"))
    if distinct <= ENOUGH * filled:
        return None
    reason = "unique in every row" if distinct == filled else f"{distinct:,} distinct in {filled:,} rows"
    return column.dropped("id", reason, "names single rows")


def _category(column: Column, context: Context, prefix: str = "") -> ColumnRecipe:
    values = column.levels.values
    levels = values.str.lower().nunique()
    folded = levels < len(values)
    reason = f"{prefix}{levels:,} levels"
    if levels > context.max_categories:
        reason += f", more than {context.max_categories}: the encoder keeps what it can learn from"
    recipe = column.read_as("category", reason + ("; case is ignored" if folded else ""))
    return replace(recipe, fold_case=folded)


_RULES: tuple[Rule, ...] = (_constant, _boolean, _number, _moment, _text, _category)


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:29] + "…")
