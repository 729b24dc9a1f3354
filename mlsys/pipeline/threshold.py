"""The operating threshold: the lowest probability at which a row is flagged, chosen on out-of-fold rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import FitError, closest
from mlsys.text import counted, is_or_are, joined

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
METHODS = ("top_k", "f_beta", "cost")
OUTCOMES = ("true_positive", "false_positive", "false_negative", "true_negative")


@dataclass(frozen=True)
class Threshold:
    """A threshold and its results on the rows that it was chosen on.

    Attributes
    ----------
    threshold : float
        A row is flagged if its probability is at least this.
    method : {"top_k", "f_beta", "cost"}
        Method that chose the threshold.
    parameters : dict of str to float
        Parameters of the method; for "cost" also ``elkan``, the optimal threshold for perfect probabilities.
    rows, positives, folds : int
        Number of rows, positive rows and folds that it was chosen on. If rows stand for others that were left out,
        these count, here and below.
    flagged : tuple of int, shape (folds,)
        Number of rows flagged in each fold, in the order of the folds.
    flagged_mean : float
        Mean number of rows flagged per fold.
    precision, recall : float or None
        Precision and recall on all rows pooled; None if undefined (nothing flagged, no positives).
    expected_gain : float or None
        Mean over the folds of the value of true positives minus all costs, in currency; None without values and costs.
    """

    threshold: float
    method: str
    parameters: dict[str, float]
    rows: int
    positives: int
    folds: int
    flagged: tuple[int, ...]
    flagged_mean: float
    precision: float | None
    recall: float | None
    expected_gain: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of threshold.json."""
        return asdict(self) | {"flagged": list(self.flagged)}


def operating_threshold(predictions: pd.DataFrame, **arguments: Any) -> Threshold:  # noqa: ANN401 - as choose_threshold
    """Choose the threshold on the out-of-fold rows whose label windows are complete.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold rows with the columns ``label``, ``label_complete``, ``probability``, ``value`` and ``fold``.
    **arguments
        The method and its parameters; see :func:`choose_threshold`.
    """
    known = predictions[predictions["label_complete"]]
    weight = known.get(SAMPLING_WEIGHT)
    sizes = known.groupby("fold").size() if weight is None else weight.groupby(known["fold"]).sum()
    k, smallest = arguments.get("k"), int(sizes.min()) if len(known) else 0
    if arguments.get("method") == "top_k" and k is not None and k >= smallest > 0:
        logger.warning(
            "threshold.k=%d is not less than the %s of a fold, so nearly all rows are flagged; set threshold.k to the "
            "number of rows that you can act on",
            k,
            counted(smallest, "row"),
        )
    return choose_threshold(
        known["label"], known["probability"], known["value"], groups=known["fold"], weight=weight, **arguments
    )


def choose_threshold(
    label: npt.ArrayLike,
    probability: npt.ArrayLike,
    value: npt.ArrayLike | None = None,
    *,
    method: str,
    k: int | None = None,
    beta: float = 1.0,
    cost: Mapping[str, float] | None = None,
    groups: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> Threshold:
    """Choose the lowest probability at which rows are flagged.

    The candidates are the distinct probabilities, so tied rows are flagged together. Among equally good candidates,
    the highest wins, which flags the fewest rows.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        Labels of out-of-fold rows with complete label windows.
    probability : array-like of float, shape (rows,)
        Calibrated out-of-fold probabilities.
    value : array-like of float, shape (rows,), optional
        Value of a true positive, in the currency of `cost`; NaN (unknown) counts as 0.
    method : {"top_k", "f_beta", "cost"}
        - "top_k": flag as close to `k` rows per fold on average as ties allow, but at least one row in total. A `k`
          larger than the folds flags all rows.
        - "f_beta": maximise F-beta on all rows pooled (van Rijsbergen 1979, chapter 7).
        - "cost": minimise the cost on all rows pooled (Elkan 2001, "The foundations of cost-sensitive learning", for
          the cost matrix). If flagging nobody is cheapest, the threshold lies just above the highest probability.
    k : int, optional
        Number of rows to flag per fold, for "top_k"; at least 1.
    beta : float, default 1
        How many times as important recall is as precision, for "f_beta"; above 0.
    cost : mapping of str to float, optional
        Cost of a ``true_positive``, ``false_positive``, ``false_negative`` and ``true_negative`` row, for "cost"; a
        gain is a negative cost, and a missing entry is 0. The other methods only use it for `expected_gain`.
    groups : array-like, shape (rows,), optional
        Fold of each row; by default, all rows form one fold.
    weight : array-like of float, shape (rows,), optional
        Rows that each row stands for.

    Returns
    -------
    Threshold

    Raises
    ------
    FitError
        If there are no rows, labels or probabilities are invalid, there are no positives for "f_beta", a parameter is
        missing or out of range, or the costs make the same decision best for every row.

    Examples
    --------
    >>> choice = choose_threshold([0, 1, 0, 1], [0.1, 0.7, 0.4, 0.6], method="top_k", k=3)
    >>> choice.threshold, choice.flagged, choice.recall
    (0.4, (3,), 1.0)
    >>> cost = {"false_positive": 1, "false_negative": 5}
    >>> choose_threshold([0, 1, 0, 1], [0.1, 0.7, 0.4, 0.6], method="cost", cost=cost).threshold
    0.6
    """
    rows = _Rows.of(label, probability, value, groups, weight)
    costs = None if cost is None else _costs(cost)
    match method:
        case "top_k":
            threshold, parameters = _top_k(rows, k)
        case "f_beta":
            threshold, parameters = _f_beta(rows, beta)
        case "cost":
            threshold, parameters = _cheapest(rows, costs)
        case _:
            suggestion = closest(method, METHODS)
            hint = f" (closest: {suggestion})" if suggestion else ""
            raise FitError(f"Unknown threshold method {method!r}; expected {joined(METHODS, 'or')}{hint}.")
    return _describe(rows, threshold, method, parameters, costs)


@dataclass(frozen=True)
class _Rows:
    """Rows in descending order of probability."""

    label: FloatArray
    probability: FloatArray
    value: FloatArray | None
    fold: npt.NDArray[np.intp]
    folds: int
    weight: FloatArray | None

    @classmethod
    def of(
        cls,
        label: npt.ArrayLike,
        probability: npt.ArrayLike,
        value: npt.ArrayLike | None,
        groups: npt.ArrayLike | None,
        weight: npt.ArrayLike | None,
    ) -> _Rows:
        labels, scores = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
        values = None if value is None else np.nan_to_num(np.asarray(value, dtype=np.float64), nan=0.0)
        known, fold = np.unique(np.zeros(len(labels)) if groups is None else np.asarray(groups), return_inverse=True)
        _check(labels, scores, values, fold)
        order = np.argsort(-scores, kind="stable")
        return cls(
            label=labels[order],
            probability=scores[order],
            value=None if values is None else values[order] * labels[order],
            fold=fold[order],
            folds=len(known),
            weight=None if weight is None else np.asarray(weight, dtype=np.float64)[order],
        )

    @property
    def positives(self) -> float:
        return float(self.weighted(self.label).sum())

    @property
    def size(self) -> int:
        return len(self.label) if self.weight is None else round(self.weight.sum())

    def weighted(self, numbers: FloatArray) -> FloatArray:
        """Return numbers times the rows that each row stands for."""
        return numbers if self.weight is None else numbers * self.weight

    def candidates(self) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Return the distinct probabilities, highest first, and the position after the last row that each flags."""
        last = np.flatnonzero(np.append(self.probability[1:] != self.probability[:-1], True))
        return self.probability[last], last + 1

    def flagged(self, ends: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        """Return the number of rows before each of these positions."""
        return ends if self.weight is None else np.cumsum(self.weight)[ends - 1]

    def flagged_by_fold(self, flag: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the number of flagged rows of each fold."""
        weights = None if self.weight is None else self.weight[flag]
        counts = np.bincount(self.fold[flag], weights=weights, minlength=self.folds)
        return np.rint(counts).astype(np.int64)


def _check(label: FloatArray, probability: FloatArray, value: FloatArray | None, fold: npt.NDArray[np.intp]) -> None:
    lengths = {len(label), len(probability), len(fold)} | (set() if value is None else {len(value)})
    if lengths == {0}:
        raise FitError("There are no rows to choose a threshold on. Check that some fold's label window is complete.")
    if len(lengths) > 1:
        raise FitError(f"label, probability, value and groups must have the same length, got {sorted(lengths)}.")
    invalid = int(((label != 0) & (label != 1)).sum())
    if invalid:
        raise FitError(
            f"{invalid:,} of {counted(len(label), 'label')} {is_or_are(invalid)} neither 0 nor 1. Choose the threshold "
            "on rows with known labels only."
        )
    out_of_range = int((~((probability >= 0) & (probability <= 1))).sum())
    if out_of_range:
        raise FitError(
            f"{out_of_range:,} of {counted(len(probability), 'probability', 'probabilities')} "
            f"{is_or_are(out_of_range)} not in [0, 1]. Fix the model or the calibration."
        )


def _top_k(rows: _Rows, k: int | None) -> tuple[float, dict[str, float]]:
    if k is None or k < 1:
        raise FitError(f"Threshold method top_k needs k >= 1, the number of rows to flag per fold; got {k}.")
    thresholds, ends = rows.candidates()
    return float(thresholds[np.argmin(np.abs(rows.flagged(ends) - k * rows.folds))]), {"k": k}


def _f_beta(rows: _Rows, beta: float) -> tuple[float, dict[str, float]]:
    if not beta > 0:
        raise FitError(f"Threshold method f_beta needs beta > 0, the weight of recall; got {beta}.")
    if not rows.positives:
        raise FitError(
            f"F-beta is undefined without positives, and there are none in {counted(len(rows.label), 'row')}. Use "
            "method top_k, or more folds."
        )
    thresholds, ends = rows.candidates()
    hits = np.cumsum(rows.weighted(rows.label))[ends - 1]
    score = (1 + beta**2) * hits / (beta**2 * rows.positives + rows.flagged(ends))
    best = int(np.argmax(score))
    return float(thresholds[best]), {"beta": beta, "f_beta": float(score[best])}


def _cheapest(rows: _Rows, costs: Mapping[str, float] | None) -> tuple[float, dict[str, float]]:
    if costs is None:
        raise FitError(f"Threshold method cost needs the cost of at least one of {joined(OUTCOMES)}.")
    thresholds, ends = rows.candidates()
    saved = np.append(0.0, np.cumsum(rows.weighted(_saved_by_flagging(rows, costs)))[ends - 1])
    best = int(np.argmax(saved))
    nobody = float(np.nextafter(thresholds[0], np.inf))
    return float(thresholds[best - 1]) if best else nobody, {**costs, "elkan": _elkan(rows, costs)}


def _costs(cost: Mapping[str, float]) -> dict[str, float]:
    """Return the costs of all four outcomes."""
    unknown = [name for name in cost if name not in OUTCOMES]
    if unknown:
        suggestion = closest(unknown[0], OUTCOMES)
        raise FitError(
            f"Unknown outcomes in the costs: {', '.join(unknown)}; expected {joined(OUTCOMES, 'or')}"
            f"{f' (closest: {suggestion})' if suggestion else ''}."
        )
    return {name: float(cost.get(name, 0.0)) for name in OUTCOMES}


def _saved_by_flagging(rows: _Rows, costs: Mapping[str, float]) -> FloatArray:
    """Return how much cheaper each row is if it is flagged."""
    positive = costs["false_negative"] - costs["true_positive"] + (0.0 if rows.value is None else rows.value)
    return np.where(rows.label == 1, positive, costs["true_negative"] - costs["false_positive"])


def _elkan(rows: _Rows, costs: Mapping[str, float]) -> float:
    """Return the optimal threshold for perfect probabilities (Elkan 2001, equation 2)."""
    value = 0.0 if rows.value is None or not rows.positives else float(rows.weighted(rows.value).sum()) / rows.positives
    loss = costs["false_positive"] - costs["true_negative"]
    gain = costs["false_negative"] - costs["true_positive"] + value
    if not (loss > 0 and gain > 0):
        raise FitError(
            "With these costs the same decision is best for every row. A false positive must cost more than a true "
            f"negative (difference: {loss:+g}), and a false negative more than a true positive, including the mean "
            f"value (difference: {gain:+g}). Costs are positive, gains negative."
        )
    return loss / (loss + gain)


def _describe(
    rows: _Rows, threshold: float, method: str, parameters: dict[str, float], costs: Mapping[str, float] | None
) -> Threshold:
    flag = rows.probability >= threshold
    hits, flagged = float(rows.weighted(rows.label)[flag].sum()), rows.flagged_by_fold(flag)
    total = float(flag.sum()) if rows.weight is None else float(rows.weight[flag].sum())
    gain = None
    if costs is not None or rows.value is not None:
        all_costs = costs or dict.fromkeys(OUTCOMES, 0.0)
        unflagged = np.where(rows.label == 1, all_costs["false_negative"], all_costs["true_negative"])
        saved = rows.weighted(_saved_by_flagging(rows, all_costs))[flag].sum()
        gain = float(saved - rows.weighted(unflagged).sum()) / rows.folds
    return Threshold(
        threshold=threshold,
        method=method,
        parameters=parameters,
        rows=rows.size,
        positives=int(rows.positives),
        folds=rows.folds,
        flagged=tuple(int(count) for count in flagged),
        flagged_mean=float(flagged.mean()),
        precision=hits / total if flag.any() else None,
        recall=hits / rows.positives if rows.positives else None,
        expected_gain=gain,
    )
