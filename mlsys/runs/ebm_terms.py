"""The one check of an explainable boosting machine: every term's table must fit the bins of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs.object_graph import walk_objects

# The bins of a column: cut points of numbers, or the bin of each category.
Bins: TypeAlias = NDArray[np.float64] | Mapping[str, int]


def bins_of_term(levels: Sequence[Bins], columns: Sequence[int]) -> Bins:
    """Return the bins of a column in a term: a column may have coarser bins in terms of several columns.

    Parameters
    ----------
    levels : sequence of Bins
        The column's bins, from fine to coarse.
    columns : sequence of int
        The columns of the term.

    Examples
    --------
    >>> bins_of_term([{"free": 1, "pro": 2}], [0, 1])
    {'free': 1, 'pro': 2}
    """
    return levels[min(len(levels), len(columns)) - 1]


def bin_count(bins: Bins) -> int:
    """Return the length of a table by these bins: 0 is for missing values, the last for categories that are not known.

    Examples
    --------
    >>> bin_count(np.array([1.5, 2.5])), bin_count({"free": 1, "pro": 2})
    (5, 4)
    """
    return max(bins.values(), default=0) + 2 if isinstance(bins, Mapping) else len(bins) + 3


def check_terms(model: Mapping[str, Any]) -> None:
    """Refuse a model whose terms would read outside their tables or columns.

    Parameters
    ----------
    model : mapping
        Attributes of a fitted ExplainableBoostingClassifier.

    Raises
    ------
    RunError
        If it is not one of two classes, or a term does not fit its columns.
    """
    try:
        bins, width = model["bins_"], model["n_features_in_"]
        terms = list(zip(model["term_features_"], model["term_scores_"], model["bin_weights_"], strict=True))
        if model["link_"] != "logit" or np.shape(model["intercept_"]) != (1,) or len(bins) != width:
            raise _refused("it has no probabilities of two classes")
        for columns, scores, weights in terms:
            if not columns or not all(0 <= column < width for column in columns):
                raise _refused(f"a term reads a column that does not exist (the model has {width})")
            used = [bins_of_term(bins[column], columns) for column in columns]
            shape = tuple(map(bin_count, used))
            if scores.shape != shape or weights.shape != shape or not all(map(_are_bins, used)):
                raise _refused("the table of a term does not fit the bins of its columns")
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise _refused(f"its terms cannot be read ({error!r})") from error


def check_ebms(model: object) -> None:
    """Check every explainable boosting machine in a loaded model before it predicts anything; see `check_terms`."""
    for part in walk_objects(model):
        attributes = getattr(part, "__dict__", {})
        if "term_scores_" in attributes:
            check_terms(attributes)


def _are_bins(bins: Bins) -> bool:
    if isinstance(bins, Mapping):
        return all(type(code) is int and code >= 1 for code in bins.values())
    return bins.dtype == np.float64 and bins.ndim == 1 and bool(np.all(np.diff(bins) > 0))


def _refused(reason: str) -> RunError:
    return RunError(
        f"The explainable boosting machine was refused: {reason}. Its file is corrupt or was tampered with: train "
        "again, or restore it from a backup."
    )
