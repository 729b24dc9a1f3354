"""Finds the treated rows of a flat table: the two values of the column that says who was contacted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.panel import Treatment
from mlsys.data.table.recipe import TableRecipe
from mlsys.data.table.values import FALSE_WORDS, TRUE_WORDS, as_levels
from mlsys.errors import DataError, closest
from mlsys.text import counted

TREATED_WORDS = frozenset({*TRUE_WORDS, "treated", "treatment", "contacted", "exposed", "mailed", "called"})
CONTROL_WORDS = frozenset(
    {*FALSE_WORDS, "control", "controls", "untreated", "not treated", "not contacted", "unexposed", "holdout"}
)
MAX_SHOWN = 10  # values of a column that has too many


def find_treatment(
    raw: pd.Series,
    recipe: TableRecipe,
    inputs: pd.DataFrame,
    *,
    treated: str | int | float | bool | None = None,
) -> Treatment:
    """Return the feature made from the treatment column, and its values for treated rows and for the others.

    Parameters
    ----------
    raw : Series, shape (n_rows,)
        The treatment column of the raw table.
    recipe : TableRecipe
        How the table's columns become features.
    inputs : DataFrame of shape (n_rows, n_features)
        The features of the same rows.
    treated : str, int, float or bool, optional
        The value of a treated row; by default the one that means yes (1, true, yes, treated, contacted, ...).

    Raises
    ------
    DataError
        If the column is not used with its value, is empty in some rows or does not have exactly two values; if
        ``treated`` is not one of them, or is needed.

    Examples
    --------
    >>> from mlsys.data.table import apply, infer_recipe
    >>> rows = pd.DataFrame({"mail": ["yes", "no", "yes"], "size": [3, 1, 2], "won": [1, 0, 1]})
    >>> recipe = infer_recipe(rows, target="won")
    >>> find_treatment(rows["mail"], recipe, apply(recipe, rows))
    Treatment(column='mail', treated=1.0, control=0.0, names=('yes', 'no'))
    """
    name = str(raw.name)
    column = next(each for each in recipe.columns if each.name == name)
    levels = as_levels(raw)
    if empty := levels.rows - levels.filled:
        raise DataError(
            f"Treatment column {name!r} is empty in {empty:,} of {counted(levels.rows, 'row')}. Fill it with one of "
            "its two values, or leave these rows out."
        )
    if len(levels.values) < 2:
        raise DataError(
            f"Treatment column {name!r} has only one value, {levels.values.iloc[0]!r}: all rows are in one arm, so "
            "nothing can be compared. Add rows of the other arm, or set data.treatment to another column."
        )
    if column.parts != ("value",):
        raise DataError(
            f"Treatment column {name!r} is {column.report.done} ({column.reason}); expected a column with two values, "
            "such as 0 and 1, or yes and no. Set data.treatment to another column."
        )
    feature = inputs[column.outputs[0]]
    names = _names(levels.values, feature.groupby(levels.codes).first(), levels.counts.tolist())
    if len(names) != 2 or feature.isna().any():
        ordered = sorted(levels.values, key=_by_number)
        shown = ", ".join(map(repr, ordered[:MAX_SHOWN])) + (", …" if len(ordered) > MAX_SHOWN else "")
        raise DataError(
            f"Treatment column {name!r} has {counted(len(levels.values), 'value')} ({shown}); expected two: one for "
            "treated rows, one for the others. Merge its values, or set data.treatment to another column."
        )
    chosen = _chosen(name, list(names), treated)
    [other] = [each for each in names if each != chosen]
    return Treatment(column.outputs[0], names[chosen], names[other], (chosen, other))


def _names(texts: pd.Series[str], values: pd.Series, counts: Sequence[int]) -> dict[str, float | str]:
    """Return the distinct values of the feature, by the most common text of each."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    by_value = {values.iloc[row]: str(texts.iloc[row]) for row in reversed(order)}
    return {text: value if isinstance(value, str) else float(value) for value, text in by_value.items()}


def _chosen(column: str, names: Sequence[str], treated: str | int | float | bool | None) -> str:
    if treated is None:
        meanings = {name.casefold() in TREATED_WORDS: name for name in names}
        if len(meanings) == 2 and meanings[False].casefold() in CONTROL_WORDS:
            return meanings[True]
        raise DataError(
            f"Treatment column {column!r} has the values {names[0]!r} and {names[1]!r}; which of them means treated is "
            "not obvious. Set data.treated to that value."
        )
    wanted = " ".join(str(treated).split()).casefold()
    words = TRUE_WORDS if treated is True else FALSE_WORDS if treated is False else (wanted,)
    found = [name for name in names if name.casefold() in words or _same_number(name, wanted)]
    if len(found) == 1:
        return found[0]
    near = closest(wanted, names)
    raise DataError(
        f"Value not found in treatment column {column!r}: data.treated={treated}"
        + (f" (closest: {near})" if near else "")
        + f". The column has {names[0]!r} and {names[1]!r}."
    )


def check_outcomes(
    treatment: Treatment, inputs: pd.DataFrame, label: NDArray[np.int8], *, treatment_name: str, target: str
) -> None:
    """Check that the treatment is not the outcome under another name.

    Parameters
    ----------
    treatment : Treatment
    inputs : DataFrame of shape (n_rows, n_features)
    label : ndarray of int8, shape (n_rows,)
    treatment_name, target : str
        The two columns of the raw table, for the message.

    Raises
    ------
    DataError
        If all treated rows have one outcome, and all others have the other one.
    """
    treated = treatment.arms(inputs).to_numpy()
    if len(np.unique(label[treated])) == 1 and len(np.unique(label[~treated])) == 1:
        names = treatment.names
        raise DataError(
            f"Treatment column {treatment_name!r} tells the outcome: all rows with {names[0]!r} have the same value of "
            f"the target {target!r}, and so have all rows with {names[1]!r}. Set data.treatment to the column that "
            "says who was treated, before the outcome was known."
        )


def _by_number(text: str) -> tuple[bool, float, str]:
    """Return a sort key that puts 2 before 10, and numbers before other text."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False
