"""Builds the spine: one row per eligible entity and as-of, with its label."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import ibis

from mlsys.data.config import SpineConfig
from mlsys.errors import DataError
from mlsys.text import counted

if TYPE_CHECKING:
    import ibis.expr.types as ir

EPOCH = date(1970, 1, 1)


def to_day(day: date) -> int:
    """Return a date as days since 1970-01-01.

    Examples
    --------
    >>> to_day(date(2020, 2, 24))
    18316
    """
    return (day - EPOCH).days


def as_of_dates(config: SpineConfig, *, first: date, last: date, horizon_days: int) -> list[date]:
    """Return the sorted as-ofs.

    Parameters
    ----------
    config : SpineConfig
        Explicit dates, the step and the start.
    first : date
        The day on which the first event becomes known. By default, as-ofs start one step later.
    last : date
        The last day of the data.
    horizon_days : int
        Days after the as-of in which the outcome counts.

    Raises
    ------
    DataError
        If the data span too few days for a single as-of.

    Examples
    --------
    >>> dates = as_of_dates(SpineConfig(), first=date(2020, 1, 1), last=date(2020, 5, 1), horizon_days=30)
    >>> [str(day) for day in dates]
    ['2020-02-05', '2020-03-04', '2020-04-01']
    """
    step = timedelta(days=config.every_days)
    start = config.start or first + step
    explicit = sorted(set(config.dates))
    newest = explicit[0] if explicit else last - timedelta(days=horizon_days) + step
    earlier = []
    while (newest := newest - step) >= start:
        earlier.append(newest)
    dates = [*reversed(earlier), *explicit]
    if not dates:
        raise DataError(
            f"No as-of fits: the data run from {first} to {last}, the first possible as-of is {start} and the label "
            f"window is {counted(horizon_days, 'day')}. Set data.spine.start, data.spine.dates or a shorter "
            "data.horizon_days."
        )
    return dates


def eligible_rows(entities: ir.Table, as_ofs: ir.Table) -> ir.Table:
    """Return the entities that exist and have not converted at each as-of, in the column ``as_of_day``."""
    rows = entities.cross_join(as_ofs)
    exists = rows.created_day.isnull() | (rows.created_day <= rows.as_of_day)
    unconverted = rows.outcome_day.isnull() | (rows.outcome_day > rows.as_of_day)
    return rows.filter(exists & unconverted)


def build_spine(entities: ir.Table, as_ofs: Sequence[date] | ir.Table, *, horizon_days: int, end: date) -> ir.Table:
    """Return one row per eligible entity and as-of, with its label and when its outcome falls.

    The as-ofs may also be a table with the column ``as_of_day``.

    An entity is eligible if it exists and has not converted by the as-of. The label is 1 if the outcome falls in
    (as_of, as_of + horizon]; it is complete if that window ends by ``end``.

    Returns
    -------
    ibis table
        ``id``, ``as_of_day``, ``label``, ``label_complete``, ``value``; ``days_known``, the number of days after the
        as-of of which outcomes are known; and ``days_to_outcome``, null without an outcome in those days.
    """
    if isinstance(as_ofs, Sequence):
        as_ofs = ibis.memtable({"as_of_day": [to_day(day) for day in as_ofs]}, schema={"as_of_day": "int64"})
    rows = eligible_rows(entities, as_ofs)
    last_day = to_day(end)
    converts = (rows.outcome_day <= rows.as_of_day + horizon_days).fill_null(False)
    return rows.select(
        "id",
        "as_of_day",
        label=converts.ifelse(1, 0).cast("int8"),
        label_complete=rows.as_of_day + horizon_days <= last_day,
        value=converts.ifelse(rows.value, ibis.null("float64")),
        days_to_outcome=(rows.outcome_day <= last_day)
        .fill_null(False)
        .ifelse((rows.outcome_day - rows.as_of_day).cast("float64"), ibis.null("float64")),
        days_known=(last_day - rows.as_of_day).cast("float64"),
    )
