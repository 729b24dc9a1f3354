"""Converts the target column to labels 0 and 1."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.values import FALSE_WORDS, MISSING_TARGET, TRUE_WORDS, as_levels
from mlsys.errors import DataError, closest
from mlsys.text import counted

# Class names that mean "it happened"; used only if exactly one of two classes is among them.
_POSITIVE_NAMES = frozenset(
    {"won", "win", "converted", "success", "successful", "positive", "pos", "+", "churned", "churn", "exited", "fraud"}
    | {"default", "defaulted", "spam", "bought", "purchased", "subscribed", "accepted"}
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Class:
    name: str  # the most common spelling
    rows: int
    codes: tuple[int, ...]
    spellings: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.rows:,})"


def labelled_rows(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the rows that have a target; the number of rows dropped is logged as a warning.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        The raw table.
    target : str
        Name of the target column.

    Returns
    -------
    DataFrame, shape (n_labelled, n_columns)
        The kept rows, with their index.

    Raises
    ------
    DataError
        If the column does not exist or no row has a target.

    Examples
    --------
    >>> labelled_rows(pd.DataFrame({"won": ["yes", " ", "no", None]}), "won").index.tolist()
    [0, 2]
    """
    if target not in frame.columns:
        names = [str(name) for name in frame.columns]
        near = closest(target, names)
        raise DataError(
            f"Column not found: data.target={target}"
            + (f" (closest: {near})" if near else "")
            + f". The table has: {', '.join(names)}."
        )
    known = as_levels(frame[target], MISSING_TARGET).codes >= 0
    if not known.any():
        raise DataError(
            f"Target column {target!r} is empty in all {len(frame):,} rows. Set data.target to another column, or fill"
            " this one."
        )
    if not known.all():
        dropped = f"{(~known).sum():,} of {counted(len(frame), 'row')}"
        logger.warning("dropping %s without a value in target column %s", dropped, target)
    return frame[known]


def to_label(series: pd.Series, *, positive: str | int | float | bool | None = None) -> tuple[NDArray[np.int8], str]:
    """Convert the target column to 0 and 1.

    Classes that differ only by whitespace, case or number format ("1", 1, 1.0) are merged. ``positive`` is matched
    against any spelling of a class, then as a number, then (for true and false) by meaning.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        The target, without missing values; see `labelled_rows`.
    positive : str, int, float or bool, optional
        The class to predict; all others are negative. By default, with two classes, the one that means yes (1, true,
        yes, won, churned, …), else the rarer one, which is logged.

    Returns
    -------
    labels : array of int8, shape (n_rows,)
        1 for the positive class, else 0.
    name : str
        The positive class in its most common spelling.

    Raises
    ------
    DataError
        If a cell is empty, if there is only one class, if ``positive`` is not a class, or if it is not given and there
        are more than two classes.

    Examples
    --------
    >>> to_label(pd.Series(["Won", "lost", "won ", "lost"]))
    (array([1, 0, 1, 0], dtype=int8), 'Won')
    >>> to_label(pd.Series([1.0, 2.0, 2.0]), positive="1")
    (array([1, 0, 0], dtype=int8), '1')
    """
    levels = as_levels(series, MISSING_TARGET)
    if levels.filled < levels.rows:
        empty = f"{levels.rows - levels.filled:,} of {counted(levels.rows, 'row')}"
        raise DataError(f"Target {series.name!r} is empty in {empty}. Drop these rows first (labelled_rows).")
    classes = _classes(levels.values.tolist(), levels.counts.tolist())
    if len(classes) < 2:
        shown = ", ".join(map(str, classes)) or "none"
        raise DataError(
            f"Target {series.name!r} needs at least two classes, but has: {shown}. Set data.target to another column,"
            " or add rows of another class."
        )
    chosen = _guess(classes, series.name) if positive is None else _find(classes, positive, series.name)
    if len(classes) > 2:
        others = counted(len(classes) - 1, "other class", "other classes")
        logger.warning("target %r: %s is positive, the %s are negative", series.name, chosen, others)
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
        hint = " It looks numeric, but only classes can be predicted." if len(classes) > 50 else ""
        raise DataError(f"Target {column!r} has {_shown(classes)}.{hint} Set data.positive to the class to predict.")
    positive = [each for each in classes if each.name.casefold() in _POSITIVE_NAMES]
    if {_meaning(each.name) for each in classes} == {True, False} or {each.name for each in classes} == {"-1", "1"}:
        positive = [each for each in classes if _meaning(each.name)]
    if len(positive) == 1:
        return positive[0]
    rarer = min(classes, key=lambda each: each.rows)
    logger.warning(
        "target %r: predicting the rarer class, %s of %s; set data.positive to choose another",
        column,
        rarer,
        _shown(classes),
    )
    return rarer


def _find(classes: Sequence[_Class], positive: str | int | float | bool, column: object) -> _Class:
    requested = " ".join(str(positive).split())
    number = None if isinstance(positive, bool) else _as_number(requested)
    matchers: tuple[Callable[[_Class], bool], ...] = (
        lambda each: requested.casefold() in map(str.casefold, each.spellings),
        lambda each: number is not None and _as_number(each.name) == number,
        lambda each: isinstance(positive, bool) and _meaning(each.name) is positive,
    )
    for matches in matchers:
        if len(matching := [each for each in classes if matches(each)]) == 1:
            return matching[0]
    near = closest(requested, [each.name for each in classes])
    raise DataError(
        f"Class not found in target {column!r}: data.positive={positive}"
        + (f" (closest: {near})" if near else "")
        + f". The target has {_shown(classes)}."
    )


def _meaning(name: str) -> bool | None:
    word = name.casefold()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def _shown(classes: Sequence[_Class]) -> str:
    common = sorted(classes, key=lambda each: -each.rows)
    rest = f" and {len(common) - 10} more" if len(common) > 10 else ""
    return f"{counted(len(common), 'class', 'classes')}: {', '.join(map(str, common[:10]))}{rest}"
