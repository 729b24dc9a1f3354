"""Dates: the days and months of a source must look like a calendar, not like one with day and month exchanged."""

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
LATE_ROWS = 0.01


def dates(subject: AuditSubject) -> AuditCheck:
    """Warn if dates look as if day and month were exchanged, or if events lie after the end of the data.

    If 10/01, 11/01, … are read with the wrong order, no day is after the 12th, whole months are empty, and events move
    into the past or the future of the as-ofs. Data with one date a month, such as the first day or the first Monday,
    are as they should be.
    """
    days = _days(subject)
    if not days:
        return AuditCheck.not_applicable(NAME, "the rows have no time.")
    findings = [f"{name}: {finding}" for name, rows in days.items() for finding in _findings(rows.index)]
    if subject.rebuild is not None and subject.rebuild.data.end is None:  # a configured end is meant to cut events off
        findings += _late(days["events"], subject.rebuild.end)
    if not findings:
        message = f"The days and months of {' and '.join(days)} look like a calendar's."
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


def _findings(index: pd.Index) -> list[str]:
    days = pd.DatetimeIndex(index)
    if len(days) < MIN_DAYS or (days[-1] - days[0]).days <= LONGEST_MONTH:
        return []
    findings = []
    months = days.to_period("M")
    is_monthly = not months.has_duplicates and days.day.max() <= WEEK
    if days.day.max() <= LAST_MONTH and not is_monthly:
        findings.append(f"none of {counted(len(days), 'different date')} has a day after the 12th")
    spanned = len(pd.period_range(months[0], months[-1], freq="M"))
    empty = spanned - months.nunique()
    if empty > EMPTY_MONTHS * spanned and months.value_counts().max() >= BUNCHED_DAYS:
        findings.append(f"{empty} of {spanned} months have no date, others have several")
    return findings


def _late(rows: pd.Series[int], end: date) -> list[str]:
    late = int(rows[rows.index > pd.Timestamp(end)].sum())
    if late <= LATE_ROWS * rows.sum():
        return []
    return [f"events: {late:,} of {int(rows.sum()):,} lie after the end of the data, {end}"]
