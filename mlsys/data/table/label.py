"""The target column: which of its classes is the one to predict, as 0 and 1."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.values import FALSE_WORDS, MISSING_TARGET, TRUE_WORDS, as_levels
from mlsys.errors import DataError, closest

# Classes that mean "it happened" in tables of this kind; used only where exactly one of two classes is among them.
_HAPPENED = frozenset(
    {"won", "win", "converted", "success", "successful", "positive", "pos", "+", "churned", "churn", "exited", "fraud"}
    | {"default", "defaulted", "spam", "bought", "purchased", "subscribed", "accepted"}
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Class:
    name: str  # as most rows spell it
    rows: int
    codes: tuple[int, ...]
    spellings: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.rows:,})"


def labelled_rows(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the rows whose target is known; how many are left out is logged as a warning.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
    target : str

    Returns
    -------
    DataFrame, shape (n_labelled, n_columns)
        With the index of the kept rows.

    Raises
    ------
    DataError
        If the column is absent or no row has a target.

    Examples
    --------
    >>> labelled_rows(pd.DataFrame({"won": ["yes", " ", "no", None]}), "won").index.tolist()
    [0, 2]
    """
    if target not in frame.columns:
        names = [str(name) for name in frame.columns]
        near = closest(target, names)
        raise DataError(
            f"data.target={target}: the table has no such column"
            + (f" (closest: {near})" if near else "")
            + f". It has: {', '.join(names)}."
        )
    known = as_levels(frame[target], MISSING_TARGET).codes >= 0
    if not known.any():
        raise DataError(
            f"data.target={target}: all {len(frame):,} rows are empty there. Name another column, or fill it in."
        )
    if not known.all():
        logger.warning("%s of %s rows have no %s and are left out", f"{(~known).sum():,}", f"{len(frame):,}", target)
    return frame[known]


def to_label(series: pd.Series, *, positive: str | int | float | bool | None = None) -> tuple[NDArray[np.int8], str]:
    """Turn the target column into 0 and 1.

    Classes that differ only by blanks, case or number format ("1", 1, 1.0) are one. ``positive`` is looked for in any
    of their spellings, then as a number, then (for true and false) by its meaning.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Without gaps; see `labelled_rows`.
    positive : str, int, float or bool, optional
        The class to predict; all others together are the negative one. Without it, of two classes the one that means
        yes (1, true, yes, won, churned, …) is taken, else the rarer one, which is logged.

    Returns
    -------
    labels : array of int8, shape (n_rows,)
        1 for the positive class, else 0.
    name : str
        The positive class as most rows spell it.

    Raises
    ------
    DataError
        If a cell is empty, there is only one class, ``positive`` is not a class, or there are more than two and none is
        named.

    Examples
    --------
    >>> to_label(pd.Series(["Won", "lost", "won ", "lost"]))
    (array([1, 0, 1, 0], dtype=int8), 'Won')
    >>> to_label(pd.Series([1.0, 2.0, 2.0]), positive="1")
    (array([1, 0, 0], dtype=int8), '1')
    """
    levels = as_levels(series, MISSING_TARGET)
    if levels.filled < levels.rows:
        gaps = f"{levels.rows - levels.filled:,} of {levels.rows:,} rows"
        raise DataError(f"target {series.name!r}: {gaps} are empty. Leave them out first (labelled_rows).")
    classes = _classes(levels.values.tolist(), levels.counts.tolist())
    if len(classes) < 2:
        shown = ", ".join(map(str, classes)) or "none"
        raise DataError(
            f"target {series.name!r} has only one class: {shown}. Two are needed: name another column, or add rows."
        )
    chosen = _guess(classes, series.name) if positive is None else _find(classes, positive, series.name)
    if len(classes) > 2:
        logger.warning("target %r: %s against the %s other classes together", series.name, chosen, len(classes) - 1)
    return np.isin(levels.codes, chosen.codes).astype(np.int8), chosen.name


def _classes(values: Sequence[str], counts: Sequence[int]) -> list[_Class]:
    numbers = [_as_number(value) for value in values]
    keys = values if None in numbers else numbers
    members: dict[object, list[int]] = {}
    for code, key in enumerate(keys):
        members.setdefault(key.casefold() if isinstance(key, str) else key, []).append(code)
    classes = []
    for codes in members.values():
        name = values[max(codes, key=lambda code: counts[code])]
        classes.append(_Class(name, sum(counts[c] for c in codes), tuple(codes), tuple(values[c] for c in codes)))
    return sorted(classes, key=lambda each: each.name)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _guess(classes: Sequence[_Class], column: object) -> _Class:
    if len(classes) > 2:
        hint = " It looks like a quantity: only classes can be predicted." if len(classes) > 50 else ""
        raise DataError(f"target {column!r} has {_shown(classes)}.{hint} Say which one to predict: data.positive=…")
    happened = [each for each in classes if each.name.casefold() in _HAPPENED]
    if {_meaning(each.name) for each in classes} == {True, False} or {each.name for each in classes} == {"-1", "1"}:
        happened = [each for each in classes if _meaning(each.name)]
    if len(happened) == 1:
        return happened[0]
    rarer = min(classes, key=lambda each: each.rows)
    logger.warning(
        "target %r: predicting the rarer class, %s of %s; data.positive=… says otherwise",
        column,
        rarer,
        _shown(classes),
    )
    return rarer


def _find(classes: Sequence[_Class], positive: str | int | float | bool, column: object) -> _Class:
    wanted = " ".join(str(positive).split())
    number = None if isinstance(positive, bool) else _as_number(wanted)
    ways: tuple[Callable[[_Class], bool], ...] = (
        lambda each: wanted.casefold() in map(str.casefold, each.spellings),
        lambda each: number is not None and _as_number(each.name) == number,
        lambda each: isinstance(positive, bool) and _meaning(each.name) is positive,
    )
    for way in ways:
        if len(found := [each for each in classes if way(each)]) == 1:
            return found[0]
    near = closest(wanted, [each.name for each in classes])
    raise DataError(
        f"data.positive={positive}: target {column!r} has no such class"
        + (f" (closest: {near})" if near else "")
        + f". It has {_shown(classes)}."
    )


def _meaning(name: str) -> bool | None:
    word = name.casefold()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def _shown(classes: Sequence[_Class]) -> str:
    common = sorted(classes, key=lambda each: -each.rows)
    rest = f" and {len(common) - 10} more" if len(common) > 10 else ""
    return f"{len(common)} classes: {', '.join(map(str, common[:10]))}{rest}"
