"""Dates: days and months of a source must look like a calendar, not like one with day, month or year exchanged."""

from __future__ import annotations

from datetime import date

import pandas as pd

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.text import counted

NAME = "dates"
LAST_MONTH = 12
# Of so few distinct days, all may be in the first twelve of their months by chance: (12 / 30)^8 is 0.07 %.
MIN_DAYS = 8
LONGEST_MONTH = 31
WEEK = 7
# Dates of three or more days in some months, and none in more than this fraction of the others.
EMPTY_MONTHS = 2 / 3
BUNCHED_DAYS = 3
FIXED_DAYS = 3  # so few days of months, such as the 1st and the 15th, are a schedule
JANUARY = 1  # where the first days of months lie if day and month are exchanged
# The chance of days of months that leave out as many as these, such as all but the 18th to the 22nd in 60 dates.
UNLIKELY = 0.001
SAME_WEEKDAY = 0.9
LATE_ROWS = 0.01


def dates(subject: AuditSubject) -> AuditCheck:
    """Warn if dates look as if day and month were exchanged, or if events lie after the end of the data.

    If 10/01, 11/01, … are read with the wrong order, no day is after the 12th, whole months are empty, and events move
    into the past or the future of the as-ofs. Data with one date a month, such as the first day or the first Monday, on
    fixed days of months, or in one month of each year are as they should be. If 01.03.18 is read with the year first,
    all dates lie within a few days of their months.
    """
    days = _days(subject)
    if not days:
        return AuditCheck.not_applicable(NAME, "the rows have no time.")
    checked = {name: rows.index for name, rows in days.items() if _is_checkable(pd.DatetimeIndex(rows.index))}
    findings = [f"{name}: {finding}" for name, index in checked.items() for finding in _findings(index)]
    if subject.rebuild is not None and subject.rebuild.data.end is None:  # a configured end is meant to cut events off
        findings += _late(days["events"], subject.rebuild.end)
    if not findings and not checked:
        reason = f"no table has {MIN_DAYS} different days over more than {LONGEST_MONTH} days, too few to judge."
        return AuditCheck.not_applicable(NAME, reason)
    if not findings:
        message = f"The days and months of {' and '.join(checked)} look like a calendar's."
        return AuditCheck(NAME, "pass", 0, 0, message)
    message = (
        f"{'; '.join(findings)}. This happens when day and month are exchanged, and features then see the future. "
        "Compare some dates with their source. `mlsys data describe` shows how they are read, and data.dates sets the "
        "order."
    )
    return AuditCheck(NAME, "warn", len(findings), 0, message)


def _days(subject: AuditSubject) -> dict[str, pd.Series[int]]:
    """Return the number of rows on each day."""
    if subject.rebuild is not None:
        return {name: rows for name, rows in subject.rebuild.rows_by_day().items() if len(rows)}
    if not subject.has_time:
        return {}
    return {"rows": subject.panel.frame["as_of"].dt.floor("D").value_counts().sort_index()}


def _is_checkable(days: pd.DatetimeIndex) -> bool:
    return len(days) >= MIN_DAYS and (days[-1] - days[0]).days > LONGEST_MONTH


def _findings(index: pd.Index) -> list[str]:
    days = pd.DatetimeIndex(index)
    months = days.to_period("M")
    is_monthly = not months.has_duplicates and days.day.max() <= WEEK
    is_yearly = days.month.nunique() == 1 and days.month[0] != JANUARY and days.day.nunique() < LAST_MONTH
    if is_monthly or is_yearly:
        return []
    findings = []
    if days.day.max() <= LAST_MONTH and days.day.nunique() > FIXED_DAYS:
        findings.append(f"none of {counted(len(days), 'different date')} has a day after the 12th")
    elif _is_narrow(days):
        first, last = days.day.min(), days.day.max()
        findings.append(f"all {counted(len(days), 'different date')} are from day {first} to {last} of their months")
    elif (weekday := _broken_weekday(days)) is not None:
        findings.append(f"dates after the 12th are on {weekday}s, the others would be if day and month were exchanged")
    spanned = len(pd.period_range(months[0], months[-1], freq="M"))
    empty = spanned - months.nunique()
    if empty > EMPTY_MONTHS * spanned and months.value_counts().max() >= BUNCHED_DAYS:
        findings.append(f"{empty} of {spanned} months have no date, others have several")
    return findings


def _is_narrow(days: pd.DatetimeIndex) -> bool:
    """Whether several dates a month lie on all of a few successive days: those of years read as days."""
    width = days.day.max() - days.day.min() + 1
    is_unlikely = (width / LONGEST_MONTH) ** len(days) < UNLIKELY
    return bool(is_unlikely and width == days.day.nunique() >= FIXED_DAYS and days.to_period("M").has_duplicates)


def _broken_weekday(days: pd.DatetimeIndex) -> str | None:
    """Return the weekday of the dates after the 12th if the earlier ones have it only with day and month exchanged."""
    early, late = days[days.day <= LAST_MONTH], days[days.day > LAST_MONTH]
    if min(len(early), len(late)) < MIN_DAYS:
        return None
    weekday = late.day_name().value_counts().index[0]
    exchanged = pd.to_datetime({"year": early.year, "month": early.day, "day": early.month}).dt.day_name()
    shares = [(names == weekday).mean() for names in (late.day_name(), exchanged, early.day_name())]
    return str(weekday) if min(shares[:2]) >= SAME_WEEKDAY > shares[2] else None


def _late(rows: pd.Series[int], end: date) -> list[str]:
    late = int(rows[rows.index > pd.Timestamp(end)].sum())
    if late <= LATE_ROWS * rows.sum():
        return []
    return [f"events: {late:,} of {int(rows.sum()):,} lie after the end of the data, {end}"]
