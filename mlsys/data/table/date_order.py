"""Decides, once for all columns of a source, whether the day or the month comes first in dates such as 03/04/2020."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mlsys.data.config import DateOrder
from mlsys.data.table.date_formats import DateFormat
from mlsys.errors import DataError
from mlsys.text import counted, joined

_SHOWN = 3
logger = logging.getLogger(__name__)


def decide_order(
    formats: Mapping[str, DateFormat],
    stated: DateOrder | None = None,
    *,
    unused: frozenset[str] = frozenset(),
    instead: str = "",
) -> bool | None:
    """Return whether the day comes first in dates that can be read both ways.

    A column decides for all if one of its dates has a day after the 12th. Dates are never read by the row.

    Parameters
    ----------
    formats : mapping of str to DateFormat
        The formats of all date columns of a source, by the column's name.
    stated : {"day_first", "month_first", "year_first"}, optional
        The setting ``data.dates``, for columns about which nothing decides.
    unused : frozenset of str
        Columns that may stay undecided, as nothing reads them.
    instead : str
        What else an error suggests, for columns that are not dates.

    Returns
    -------
    bool or None
        None if no column needs it, and either nothing or no single order is proved.

    Raises
    ------
    DataError
        If a column has dates in both orders, or has two readings and nothing decides.

    Examples
    --------
    >>> proof, doubtful = DateFormat("%d/%m/%Y", 9, proves_order=True), DateFormat("%m/%d/%Y", 9, ambiguous=True)
    >>> decide_order({"signed": proof, "due": doubtful})
    True
    >>> decide_order({"due": doubtful}, "month_first")
    False
    """
    used = {name: form for name, form in formats.items() if name not in unused}
    if undecided := {name: form for name, form in used.items() if form.year_undecided}:
        raise DataError(_undecided_years(undecided, instead))
    _require_one_order(used)
    proofs = {name: form for name, form in formats.items() if form.proves_order}
    doubtful = {name: form for name, form in used.items() if form.ambiguous}
    orders = {form.day_first for form in proofs.values()}
    decided = next(iter(orders)) if len(orders) == 1 else None
    if stated in ("day_first", "month_first"):
        return _as_stated(stated, proofs)
    if doubtful and decided is None:
        raise DataError(_undecided(doubtful, proofs, instead))
    if doubtful:
        logger.warning(
            "%s: read %s, as %s %s; set data.dates if that is wrong",
            ", ".join(doubtful),
            _words(bool(decided)),
            _shown(proofs),
            "shows" if len(proofs) == 1 else "show",
        )
    return decided


def _as_stated(stated: DateOrder, proofs: Mapping[str, DateFormat]) -> bool:
    day_first = stated == "day_first"
    others = {name: form for name, form in proofs.items() if form.day_first is not day_first}
    if others:
        logger.warning(
            "data.dates=%s, but %s can only be read %s, and %s",
            stated,
            _shown(others),
            _words(not day_first),
            "is" if len(others) == 1 else "are",
        )
    return day_first


def _require_one_order(formats: Mapping[str, DateFormat]) -> None:
    for name, form in formats.items():
        if form.is_mixed:
            first, second = (_words(bool(order)) for order in (form.day_first, not form.day_first))
            raise DataError(
                f"{name} has dates in two orders: {form.rows:,} of {counted(form.filled, 'row')} can be read {first},"
                f" such as {form.example!r}, and {form.other_order:,} only {second}, such as {form.other_example!r}."
                " Nothing tells which of the others is which. Write all dates as 2020-01-31, or leave the column out."
            )


def _undecided_years(undecided: Mapping[str, DateFormat], instead: str) -> str:
    return (
        f"Dates with two readings in {_shown(undecided)}: the year may come first or last, and the dates do not show"
        " which. Set data.dates=year_first, or data.dates=day_first or data.dates=month_first if the year is last, or"
        f" write the dates as 2020-01-31{instead}."
    )


def _undecided(doubtful: Mapping[str, DateFormat], proofs: Mapping[str, DateFormat], instead: str) -> str:
    names = joined([f"{name} ({form.example!r})" for name, form in doubtful.items()])
    orders = [
        f"{_shown({name: form for name, form in proofs.items() if form.day_first is order})} {_words(order)}"
        for order in (True, False)
    ]
    reason = (
        f"the other columns disagree: {' but '.join(orders)}"
        if proofs
        else "no date written like this has a day after the 12th, which would decide"
    )
    return (
        f"Dates with two readings in {names}: the day or the month may come first, and {reason}. Set"
        f" data.dates=day_first or data.dates=month_first, or write the dates as 2020-01-31{instead}."
    )


def _shown(formats: Mapping[str, DateFormat]) -> str:
    shown = [f"{name} ({form.example!r})" for name, form in formats.items()]
    more = len(shown) - _SHOWN
    return joined(shown[:_SHOWN] + ([f"{more} more"] if more > 0 else []))


def _words(day_first: bool) -> str:
    return "with the day first" if day_first else "with the month first"
