"""Detects how the dates of a column are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.config import DateOrder
from mlsys.data.table.moments import CLOCKS, COMPACT, COMPACT_TIME, ISO, parse_dates, parse_moments
from mlsys.data.table.short_years import century_guess, place_century, place_year
from mlsys.data.table.values import Levels, evenly_spaced
from mlsys.text import counted

_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
    *(
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d-%m-%y",
        "%m-%d-%y",
        "%d %b %Y",
        "%d %B %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d/%b/%Y",
        "%d. %B %Y",
        "%d. %b %Y",
        "%d%b%Y",
        "%d %b %y",
    ),
    *(
        "%b %d, %Y",
        "%B %d, %Y",
        "%b %d %Y",
        "%B %d %Y",
        "%a, %d %b %Y",
        "%b-%Y",
        "%b %Y",
        "%B %Y",
        "%b-%y",
        "%m/%Y",
        COMPACT,
    ),
)
_TIMES = (
    *("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p"),
    *("%H:%M:%S%z", "%H:%M:%S %z", "%H:%M%z", "%H:%M %z", "%H:%M:%S %Z", "%H:%M %Z", "%H:%M:%S.%f %Z"),
)
_STAMPS = ("%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z", COMPACT_TIME)
_EXCEL_COMMA = re.compile(r"(?<=^\d{5}),(?=\d+$)")
MIN_VALID = 0.95  # fraction of the rows of a column that must parse in one format
_WITH_TIME = re.compile(r"(?P<day>.*?)(?P<separator>, | |T)(?P<time>\d\d?:\d\d.*)")
_LOOKS_LIKE_CLOCK = re.compile(r"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?", re.IGNORECASE)
_SHORT_DAY = re.compile(r"%[dm]([-/.])%[dm]\1%y")
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_LOOKS_LIKE_ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?(?: ?Z|[-+]\d\d(?::?\d\d)?)?)?)?"
)
_LOOKS_LIKE_DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b.*|\d\d?/\d{4}|\d{8}"
    rf"|(?:\w{{3}}, )?\d{{1,2}}(?:[-/ ]|\. )?{_MONTHS}[-/ ]?\d{{2,4}}\b.*"
    rf"|{_MONTHS}[- ](?:\d{{1,2}},? )?\d{{2,4}}\b.*",
    re.IGNORECASE,
)
_LOOKS_LIKE_STAMP = re.compile(
    rf"\w{{3}} {_MONTHS} \d\d? \d\d:\d\d:\d\d \d{{4}}|\d\d?/{_MONTHS}/\d{{4}}:.*|\d{{8}}T?\d{{6}}(?:Z|[-+]\d{{4}})?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DateFormat:
    """The date format of a column.

    Attributes
    ----------
    pattern : str
        See `parse_moments`.
    rows : int
        Number of rows that parse.
    ambiguous : bool
        Whether all rows would parse with day and month swapped, too.
    proves_order : bool
        Whether some rows do not parse with day and month swapped.
    filled : int
        Number of rows with a value.
    other_order : int
        Number of rows that parse only with day and month swapped.
    example, other_example : str
        A date that parses, if possible not with day and month swapped; one that parses only with these swapped.
    values, other_values : int
        Number of distinct values that parse, and that do not.
    year_undecided : bool
        Whether the year may come first or last, and nothing shows which.
    """

    pattern: str
    rows: int
    ambiguous: bool = False
    proves_order: bool = False
    filled: int = 0
    other_order: int = 0
    example: str = ""
    other_example: str = ""
    values: int = 0
    other_values: int = 0
    year_undecided: bool = False

    @property
    def day_first(self) -> bool | None:
        """Whether the day precedes the month; None if the format is unambiguous."""
        swapped = _swap_day_and_month(self.pattern)
        return None if swapped is None else self.pattern.index("%d") < self.pattern.index("%m")

    def ordered(self, day_first: bool | None) -> DateFormat:
        """Return the format with that order of day and month if it is ambiguous; None keeps its own."""
        swapped = _swap_day_and_month(self.pattern)
        if not self.ambiguous or swapped is None or day_first in (None, self.day_first):
            return self
        return replace(self, pattern=swapped)

    @property
    def guess(self) -> str:
        """What was chosen where the values have two readings, and how to choose the other; empty if they have one."""
        if self.pattern in CLOCKS:
            return f"the numbers are read as {CLOCKS[self.pattern].name}; if they are quantities, rename the column"
        guesses = [century_guess(self.pattern, self.example)]
        if self.pattern.startswith("%y"):
            guesses.append(f"{self.example} is read with the year first; if not, write it with four digits")
        if self.other_order:
            others = f"{counted(self.other_order, 'date')} such as {self.other_example}"
            guesses.append(f"{others} would need the other order of day and month: missing")
        return "; ".join(filter(None, guesses))

    @property
    def is_mixed(self) -> bool:
        """Whether the column has dates in both orders, and more than a few in each."""
        both = self.rows + self.other_order
        return both >= MIN_VALID * self.filled > self.rows and self.other_order > 0


def find_format(levels: Levels, stated: DateOrder | None = None) -> DateFormat | None:
    """Return the format that parses most of a column; None if the column does not look like dates.

    An ambiguous format has the month first; `DateFormat.ordered` changes that.

    Parameters
    ----------
    levels : Levels
        The column's distinct values.
    stated : {"day_first", "month_first", "year_first"}, optional
        The setting ``data.dates``, for two-digit years that may come first or last.

    Returns
    -------
    DateFormat or None

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> found = find_format(as_levels(pd.Series(["31/12/2020", "01/02/2021"])))
    >>> found.pattern, found.rows, found.ambiguous
    ('%d/%m/%Y', 2, False)
    >>> find_format(as_levels(pd.Series(["small", "large"]))) is None
    True
    """
    sample = evenly_spaced(levels.values, 200)
    if 2 * sum(bool(_LOOKS_LIKE_ISO.fullmatch(text)) for text in sample) > len(sample):
        return _evaluated(levels, ISO)
    if 2 * sum(bool(_LOOKS_LIKE_STAMP.fullmatch(text)) for text in sample) > len(sample):
        return _evaluated(levels, _best_of(_STAMPS, sample))
    if 2 * sum(bool(_LOOKS_LIKE_DATE.fullmatch(text)) for text in sample) <= len(sample):
        return None
    best, undecided = _best_pattern(sample, stated)
    best = place_century(levels.values, best)
    swapped = _swap_day_and_month(best)
    form = _evaluated(levels, best) if swapped is None else _ordered(levels, best, swapped)
    return replace(form, year_undecided=undecided)


def _ordered(levels: Levels, best: str, swapped: str) -> DateFormat:
    """Return the order of day and month that parses more rows; if both parse the same values, the format is ambiguous.

    Dates with points are written with the day first.
    """
    dates = {pattern: parse_dates(levels.values, pattern) for pattern in (best, swapped)}
    parses = {pattern: parsed.notna().to_numpy() for pattern, parsed in dates.items()}
    month_first, day_first = sorted(parses, key=lambda pattern: pattern.index("%d") < pattern.index("%m"))
    with_points = "." in best.partition("%H")[0]
    undecided = bool((parses[best] == parses[swapped]).all())
    if undecided:
        chosen = day_first if with_points else month_first
    else:
        chosen = max(parses, key=lambda pattern: levels.count(parses[pattern]))
    differ = parses[best] & (dates[best] != dates[swapped]).to_numpy()
    only, other = _only(parses, chosen), _only(parses, swapped if chosen == best else best)
    return DateFormat(
        chosen,
        levels.count(parses[chosen]),
        ambiguous=undecided and not with_points and bool(differ.any()),
        proves_order=bool(only.any()),
        filled=levels.filled,
        other_order=levels.count(other),
        example=_first(levels, only) or _first(levels, differ) or _first(levels, parses[chosen]),
        other_example=_first(levels, other),
        values=int(parses[chosen].sum()),
        other_values=int((~parses[chosen]).sum()),
    )


def _only(parses: dict[str, NDArray[np.bool_]], pattern: str) -> NDArray[np.bool_]:
    others = [mask for other, mask in parses.items() if other != pattern]
    return parses[pattern] & ~others[0]


def _first(levels: Levels, mask: NDArray[np.bool_]) -> str:
    return str(levels.values[mask].iloc[0]) if mask.any() else ""


def looks_like_dates(levels: Levels) -> bool:
    """Return whether most values of a column look like dates, each for itself.

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> looks_like_dates(as_levels(pd.Series(["31/12/2020", "2020-12-31", "Dec 31, 2020", "soon"])))
    True
    """
    forms = (_LOOKS_LIKE_ISO, _LOOKS_LIKE_STAMP, _LOOKS_LIKE_DATE)
    sample = evenly_spaced(levels.values, 200)
    return 2 * sum(any(form.fullmatch(text) for form in forms) for text in sample) > len(sample)


def find_clock(levels: Levels) -> DateFormat | None:
    """Return the format of times of day without a date; None if the column has none.

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> find_clock(as_levels(pd.Series(["05:12", "23:25"]))).pattern
    '%H:%M'
    """
    sample = evenly_spaced(levels.values, 200)
    if 2 * sum(bool(_LOOKS_LIKE_CLOCK.fullmatch(text)) for text in sample) <= len(sample):
        return None
    return _evaluated(levels, _best_of(_TIMES[:5], sample))


def _evaluated(levels: Levels, pattern: str) -> DateFormat:
    valid = parse_dates(levels.values, pattern).notna().to_numpy()
    return DateFormat(
        pattern,
        levels.count(valid),
        filled=levels.filled,
        example=_first(levels, valid),
        values=int(valid.sum()),
        other_values=int((~valid).sum()),
    )


def counted_format(levels: Levels, *, share: float = 1.0) -> DateFormat | None:
    """Return how the numbers of a column count time: days as 20200131, Unix times or Excel days; None if they do not.

    Whether such numbers *are* times, only their column's name or role can tell.

    Parameters
    ----------
    levels : Levels
        The column's distinct values.
    share : float
        Fraction of the rows that must count time.

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> counted_format(as_levels(pd.Series([1571522400, 1571562027]))).pattern
    'unix_s'
    """
    numbers = pd.to_numeric(levels.values.str.replace(_EXCEL_COMMA, ".", regex=True), errors="coerce").astype("float64")
    if not len(numbers) or numbers.isna().any():
        return None
    if numbers.between(18_500_101, 21_501_231).all():
        return _all_valid(levels, COMPACT)
    if numbers.between(18_500_101_000_000, 21_501_231_235_959).all():
        return _all_valid(levels, COMPACT_TIME)
    for name, clock in CLOCKS.items():
        covered = clock.covers(numbers).to_numpy()
        if levels.count(covered) >= share * levels.filled:
            return DateFormat(name, levels.count(covered), filled=levels.filled, example=_first(levels, covered))
    return None


def _all_valid(levels: Levels, pattern: str) -> DateFormat | None:
    form = _evaluated(levels, pattern)
    return form if form.rows == levels.filled else None


def _swap_day_and_month(pattern: str) -> str | None:
    swapped = pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return (
        swapped
        if swapped != pattern and not pattern.lower().startswith("%y") and "%d" in pattern and "%m" in pattern
        else None
    )


def _best_pattern(sample: list[str], stated: DateOrder | None) -> tuple[str, bool]:
    """Return the best format, and whether it is undecided if the year comes first or last."""
    parts = [match for text in sample if (match := _WITH_TIME.fullmatch(text))]
    if 2 * len(parts) <= len(sample):
        return _best_day(sample, stated)
    day, undecided = _best_day([part["day"] for part in parts], stated)
    return day + parts[0]["separator"] + _best_of(_TIMES, [part["time"] for part in parts]), undecided


def _best_day(texts: list[str], stated: DateOrder | None) -> tuple[str, bool]:
    best = _best_of(_DAYS, texts)
    if not _SHORT_DAY.fullmatch(best):
        return best, False
    return place_year(pd.Series(texts, dtype="str"), best, stated)


def _best_of(patterns: Sequence[str], texts: list[str]) -> str:
    values = pd.Series(texts, dtype="str")
    return max(patterns, key=lambda pattern: parse_moments(values, pattern).notna().sum())
