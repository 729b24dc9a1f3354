"""Infers column kinds with one rule per kind; the first rule that matches a column determines its recipe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.column import Column, Context
from mlsys.data.table.date_formats import MIN_VALID, DateFormat, counted_format, find_clock, looks_like_dates
from mlsys.data.table.dates import as_timestamps, date_part
from mlsys.data.table.moments import CLOCKS, COMPACT, COMPACT_TIME, ISO, parse_dates
from mlsys.data.table.recipe import ColumnRecipe
from mlsys.data.table.values import (
    FALSE_WORDS,
    MAX_EXACT,
    TRUE_WORDS,
    Levels,
    common_unit,
    decimal_vote,
    evenly_spaced,
    parse_numbers,
    parse_words,
    thousands,
    to_numbers,
)
from mlsys.text import counted, joined

_LONGEST_SPAN = pd.Timedelta(days=36_500)
_UNPADDED = r"\d[-/.]\d{1,2}[-/.]\d|\d{1,2}[-/.]\d[-/.]\d"
MIN_ENTITIES = 0.05  # an id column with a larger fraction of distinct values identifies entities rather than categories
FEW = 20  # with fewer rows, "all values are distinct" is no evidence; also the limit for "few distinct whole numbers"

logger = logging.getLogger(__name__)


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
        return replace(recipe, parts=(), dropped=f"set by {context.drop[column.name]}", guess="")
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
    yes, no = (values[words == answer].tolist() for answer in (1, 0))
    true, false = (_own_first(own, known) for own, known in ((yes, TRUE_WORDS), (no, FALSE_WORDS)))
    return replace(column.used("boolean", f"{'/'.join(yes)} is 1, {'/'.join(no)} is 0"), true=true, false=false)


def _own_first(own: Collection[str], words: tuple[str, ...]) -> tuple[str, ...]:
    """Return words for one answer, those of the column first."""
    return tuple(dict.fromkeys((*(word.casefold() for word in own), *words)))


def _number(column: Column, context: Context) -> ColumnRecipe | None:
    notation, numbers, invalid = _numbers(column, context)
    if numbers is None:
        return None
    if coded := _written_like_codes(column, context):
        return coded
    known = numbers[~np.isnan(numbers)]
    if (
        len(np.unique(known)) < 2
        and not (column.distinct > 1 and known.max(initial=0) >= MAX_EXACT)
        and len(known) in (0, column.rows)
    ):
        return column.dropped("constant", "the same number in every row", "no information")
    if column.is_time_name and (form := counted_format(column.levels)) and _are_times(column, form):
        return _dated(column, context, form)
    integral = bool((known == np.floor(known)).all())
    if integral and (coded := _coded(column, known, context)):
        return coded
    reason = _number_reason(known, integral, notation) + _invalid_note(column, invalid)
    recipe = column.used("number", reason)
    return replace(recipe, decimal=notation.decimal, unit=notation.unit, guess=notation.guess or _version_guess(column))


def _are_times(column: Column, form: DateFormat) -> bool:
    """Whether numbers named like times are: Excel days look like other numbers, so they must not span a century."""
    if form.pattern not in CLOCKS:
        return False
    times = parse_dates(column.levels.values, form.pattern)
    return form.pattern != "excel" or times.max() - times.min() < _LONGEST_SPAN


class _Notation(NamedTuple):
    decimal: str = "."
    unit: str = ""
    guess: str = ""

    def parse(self, values: pd.Series[str]) -> NDArray[np.float64]:
        return parse_numbers(values, decimal=self.decimal, unit=self.unit)


def _numbers(column: Column, context: Context) -> tuple[_Notation, NDArray[np.float64] | None, int]:
    """Return the notation, the number in each row (None if not numeric) and the number of rows that do not parse."""
    if column.is_number:
        is_duration = column.series.dtype.kind == "m"
        return _Notation(), to_numbers(column.series.dt.total_seconds() / 86_400 if is_duration else column.series), 0
    levels = column.levels
    notation = _notation(levels, context)
    sample = pd.Series(evenly_spaced(levels.values, 500), dtype="str")
    if np.isnan(notation.parse(sample)).mean() > 0.5:
        return notation, None, 0
    parsed = notation.parse(levels.values)
    valid = ~np.isnan(parsed)
    return notation, levels.spread(parsed) if mostly_valid(levels, valid) else None, levels.count(~valid)


def _notation(levels: Levels, context: Context) -> _Notation:
    unit, vote = common_unit(levels.values), decimal_vote(levels.values)
    grouped = None if vote else thousands(levels.values)
    if vote or grouped is None:
        return _Notation(vote or context.decimal or ".", unit)
    if context.decimal and context.decimal_is_set:
        return _Notation(context.decimal, unit)
    as_grouping = {",": ".", ".": ","}[grouped.mark]
    # Among few numbers, all decimals may have three digits by chance.
    is_evident = grouped.has_small_numbers and (grouped.marked >= FEW or as_grouping in (".", context.decimal))
    decimal = as_grouping if is_evident else context.decimal or "."
    if is_evident and decimal == ".":  # 2,256 beside 999, as everywhere
        return _Notation(decimal, unit)
    value = _Notation(decimal, unit).parse(pd.Series([grouped.example], dtype="str"))[0]
    guess = (
        f"{grouped.example} is read as {value:.15g}: the mark {grouped.mark!r} "
        + ("separates thousands" if decimal != grouped.mark else "is a decimal mark")
        + f"; if not, set data.decimal={'point' if decimal == ',' else 'comma'}"
    )
    return _Notation(decimal, unit, guess)


def mostly_valid(levels: Levels, valid: NDArray[np.bool_]) -> bool:
    """Whether nearly all rows parse, or most do, with many values, and the rest are up to three words ("unknown")."""
    return _is_most(levels.count(valid), levels.filled, int(valid.sum()), int((~valid).sum()))


def _is_most(rows: int, filled: int, values: int, others: int) -> bool:
    return rows >= MIN_VALID * filled or (2 * rows >= filled and others <= 3 and values > FEW)


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
    is_inexact = bool(np.abs(known).max() >= MAX_EXACT)
    distinct, rows = column.distinct if is_inexact else len(np.unique(known)), len(known)
    if FEW <= rows == column.rows and known[0] in (0, 1) and (np.diff(known) == 1).all():
        return column.dropped("id", f"row numbers from {known[0]:.0f}", "identifies single rows")
    if recipe := _identifier(column, distinct, rows):
        return recipe
    if (form := counted_format(column.levels)) and form.pattern in (COMPACT, COMPACT_TIME):
        return _dated(column, context, form)
    if recipe := _entity(column, distinct, rows, context):
        return recipe
    if is_inexact or _is_padded(column) or column.is_id_name or column.is_code_name:
        return _text(column, context) or _category(column, context, "codes (unordered whole numbers): ")
    return None


def _is_padded(column: Column) -> bool:
    if column.is_number:
        return False
    values = column.levels.values
    padded = values.str.fullmatch(r"0[0-9]+").mean()
    return bool(padded > 0 and (values.str.len().nunique() == 1 or padded >= 1 - MIN_VALID))


def _written_like_codes(column: Column, context: Context) -> ColumnRecipe | None:
    """Match text that would parse as numbers, but is written as numbers never are: 3E10, or 1.10 after 1.9."""
    if column.is_number:
        return None
    values = column.levels.values
    exponents = values.str.fullmatch(r"[0-9]+[eE][0-9]+")
    if exponents.any() and not values.str.contains(r"\.|[eE][-+]").any():
        recipe = _text(column, context) or _category(column, context, "codes: ")
        example = values[exponents].iloc[0]
        return replace(recipe, guess=f"{example} is read as a code; if it is a number, write it without the letter E")
    if not column.is_version_name or not _has_uneven_zeros(values):
        return None
    return _text(column, context) or _category(column, context, "versions: ")


def _has_uneven_zeros(values: pd.Series[str]) -> bool:
    """Whether some decimals end in 0 although others are shorter, which neither fixed nor short notation gives."""
    decimals = values.str.extract(r"^[0-9]+\.([0-9]+)$")[0].dropna()
    return bool(decimals.str.endswith("0").any() and decimals.str.len().nunique() > 1)


def _version_guess(column: Column) -> str:
    if column.is_number or column.distinct > FEW or not _has_uneven_zeros(column.levels.values):
        return ""
    return "1.10 is read as the number 1.1; if these are versions, put a letter before them, such as v1.10"


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
    if column.date_format and is_read(column.date_format):
        return _dated(column, context, column.date_format.ordered(context.day_first))
    clock = find_clock(column.levels)
    if clock and is_read(clock):
        reason = f"times of day in format {clock.pattern}" + _invalid_note(column, column.filled - clock.rows)
        return replace(column.used("date", reason, ("hours",)), date_format=clock.pattern)
    return None


def is_read(form: DateFormat) -> bool:
    """Whether a column is read as dates in the format: nearly all rows parse, or most and the rest are a few words."""
    return _is_most(form.rows, form.filled, form.values, form.other_values)


def _dated(column: Column, context: Context, form: DateFormat) -> ColumnRecipe:
    timestamps, invalid = as_timestamps(column.series, form.pattern)
    dates = "dates" if column.is_datetime else _written(form)
    if timestamps.isna().all():
        return column.dropped("constant", f"{dates}, all placeholders", "no information")
    reason = f"{dates}, {timestamps.min():%Y-%m-%d} to {timestamps.max():%Y-%m-%d}" + _invalid_note(column, invalid)
    reason += _later_note(column, context, timestamps)
    first = "day" if context.row_times is None else "age_days"
    known = timestamps.dropna()
    cyclic = [part for part in ("month", "weekday", "hour") if len(np.unique(date_part(known, part))) > 1]
    recipe = column.used("date", reason, (first, *cyclic))
    return replace(recipe, date_format=form.pattern, guess=form.guess or _version_or_date(column, form))


def _version_or_date(column: Column, form: DateFormat) -> str:
    """Say that 1.9.10 is read as a date, unless the column's name or the zeros in 01.09.10 show that it is one."""
    if column.is_time_name or "%y" not in form.pattern or not column.levels.values.str.match(_UNPADDED).any():
        return ""
    day = parse_dates(pd.Series([form.example], dtype="str"), form.pattern).iloc[0]
    return (
        f"{form.example} is read as the date {day:%Y-%m-%d}; if these are versions or sizes, put a letter before them,"
        f" such as v{form.example}"
    )


def _written(form: DateFormat) -> str:
    clock = CLOCKS.get(form.pattern)
    return f"dates as {clock.name}" if clock else f"dates in format {form.pattern}"


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
    return replace(column.dropped("id", reason, "identifies single rows"), guess=_not_alike(column))


def _not_alike(column: Column) -> str:
    """Say that a dropped column looks like dates or numbers that no single format reads."""
    if column.is_version_name:
        return ""
    values = column.levels.values
    if looks_like_dates(column.levels):
        kind, advice = "dates", "write all dates alike, such as 2020-01-31"
    else:
        sample = pd.Series(evenly_spaced(values, 500), dtype="str")
        parsed = ~np.isnan([parse_numbers(sample, decimal=mark) for mark in ".,"]).all(axis=0)
        if 2 * parsed.sum() <= len(sample):
            return ""
        kind, advice = "numbers", "write all numbers alike, such as 1234.5"
    examples = joined([_short(text) for text in values.iloc[[0, len(values) // 2, len(values) - 1]]])
    return f"most values look like {kind}, but no single format reads them ({examples}), so it is dropped; {advice}"


def _category(column: Column, context: Context, prefix: str = "") -> ColumnRecipe:
    values = column.levels.values
    levels = values.str.lower().nunique()
    folded = levels < len(values)
    reason = f"{prefix}{counted(levels, 'level')}"
    if levels > context.max_categories:
        reason += f", more than {context.max_categories} (high cardinality, handled by the encoder)"
    recipe = column.used("category", reason + ("; case is ignored" if folded else ""))
    return replace(recipe, fold_case=folded, guess=_some_dates(column))


def _some_dates(column: Column) -> str:
    form = column.date_format
    if form is None or 2 * form.rows < column.filled:
        return ""
    return (
        f"{form.rows:,} of {counted(column.filled, 'value')} are dates in format {form.pattern}, too few to read the"
        " column as dates: it is a category; write all dates alike"
    )


_RULES: tuple[Rule, ...] = (_constant, _boolean, _number, _date, _text, _category)


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:29] + "…")
