"""From a pipeline's scores to probabilities: the applied form of a calibration, saved next to the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlsys.errors import RunError
from mlsys.runs.logistic import SMALLEST, logit, sigmoid
from mlsys.runs.prior_correction import correct_prior

Kind = Literal["none", "prior", "sigmoid", "isotonic"]
Floats: TypeAlias = NDArray[np.float64]
PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "prior": ("train_prior", "target_prior"),
    "sigmoid": ("slope", "intercept"),
    "isotonic": ("x", "y"),
}


@dataclass(frozen=True)
class Calibration:
    """A monotone map from a pipeline's score in [0, 1] to a probability.

    Made by `none`, `prior`, `sigmoid` or `isotonic`, whose parameters these are.

    Attributes
    ----------
    kind : {"none", "prior", "sigmoid", "isotonic"}
        Which map it is.
    train_prior, target_prior : float or None
        Share of positives that the model was fitted on, and in the rows that it will score; each in (0, 1).
    slope, intercept : float or None
        Of the line on the logit scale; the slope is not negative.
    x, y : tuple of float or None
        Knots: scores, increasing, and their probabilities in [0, 1], not decreasing.

    Examples
    --------
    >>> Calibration.prior(train_prior=0.5, target_prior=0.1).apply([0.5]).round(3)
    array([0.1])
    """

    kind: Kind
    train_prior: float | None = None
    target_prior: float | None = None
    slope: float | None = None
    intercept: float | None = None
    x: tuple[float, ...] | None = None
    y: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise RunError(f"A calibration of kind {self.kind!r} cannot be applied: {problem}.")

    @classmethod
    def none(cls) -> Calibration:
        """Return the map that leaves scores as they are."""
        return cls("none")

    @classmethod
    def prior(cls, train_prior: float, target_prior: float) -> Calibration:
        """Return the correction for rows whose share of positives differs from that of the rows fitted on.

        Notes
        -----
        With a = target_prior / train_prior and b = (1 - target_prior) / (1 - train_prior), the probability is
        p a / (p a + (1 - p) b): Saerens, Latinne & Decaestecker 2002, "Adjusting the outputs of a classifier to new a
        priori probabilities", Neural Computation 14(1), equation 4; Elkan 2001, "The foundations of cost-sensitive
        learning", IJCAI, theorem 2. It assumes that each class looks the same in both, which holds for resampling at
        random and for class weights.
        """
        return cls("prior", train_prior=train_prior, target_prior=target_prior)

    @classmethod
    def sigmoid(cls, slope: float, intercept: float) -> Calibration:
        """Return the logistic curve 1 / (1 + exp(-(slope * logit(score) + intercept))).

        Notes
        -----
        Platt 1999, "Probabilistic outputs for support vector machines", on the logit scale, so that slope 1 and
        intercept 0 change nothing.
        """
        return cls("sigmoid", slope=slope, intercept=intercept)

    @classmethod
    def isotonic(cls, x: ArrayLike, y: ArrayLike) -> Calibration:
        """Return the line through the knots ``(x, y)``, level outside them.

        Notes
        -----
        Zadrozny & Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates", KDD.
        """
        return cls("isotonic", x=_floats(x), y=_floats(y))

    def apply(self, scores: ArrayLike) -> Floats:
        """Return the probability of each score.

        Parameters
        ----------
        scores : array_like of float, shape (n,)
            Scores in [0, 1].

        Returns
        -------
        ndarray of float64, shape (n,)
            Probabilities in the same order as the scores, ties kept; for every kind but "none" strictly between 0 and
            1, so that their log loss is finite.

        Raises
        ------
        RunError
            If a score is missing or outside [0, 1].
        """
        score = np.asarray(scores, dtype=np.float64)
        if not np.all((score >= 0) & (score <= 1)):
            raise RunError("Scores to calibrate must lie in [0, 1]; the model gave others: check its predict_proba.")
        if self.kind == "none":
            return score.copy()
        probability = MAPS[self.kind](score, **self._parameters())
        return np.clip(probability, SMALLEST, 1 - SMALLEST)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of calibration.json: the kind and its parameters."""
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in self._parameters().items()}
        return {"kind": self.kind, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` described.

        Raises
        ------
        RunError
            If a parameter is missing, unknown or out of range.
        """
        kind: Any = str(data.get("kind"))
        if kind not in PARAMETERS:
            raise RunError(f"A calibration's kind is one of {', '.join(PARAMETERS)}, not {kind!r}: train again.")
        got, expected = sorted(data.keys() - {"kind"}), sorted(PARAMETERS[kind])
        if got != expected:
            raise RunError(f"A calibration of kind {kind!r} has the parameters {expected}, not {got}: train again.")
        try:
            values: dict[str, Any] = {
                name: _floats(data[name]) if name in ("x", "y") else float(data[name]) for name in expected
            }
        except (TypeError, ValueError) as error:
            raise RunError(
                f"A calibration of kind {kind!r} has a parameter that is no number ({error}): train again."
            ) from error
        return cls(kind, **values)

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PARAMETERS[self.kind]}


# Each step of these is monotone in floating point too, so rounding never swaps two rows.


def _sigmoid(score: Floats, slope: float, intercept: float) -> Floats:
    return sigmoid(slope * logit(score) + intercept)


def _isotonic(score: Floats, x: tuple[float, ...], y: tuple[float, ...]) -> Floats:
    upper = np.asarray((*y, y[-1]))[np.searchsorted(x, score, side="right")]
    return np.asarray(np.minimum(np.interp(score, x, y), upper))  # where knots nearly touch, interp overflows


MAPS: dict[str, Callable[..., Floats]] = {"prior": correct_prior, "sigmoid": _sigmoid, "isotonic": _isotonic}


def _floats(values: ArrayLike) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=np.float64).ravel().tolist())


def _problem(calibration: Calibration) -> str | None:
    """Return what is wrong with the parameters, if anything."""
    given = {name: getattr(calibration, name) for names in PARAMETERS.values() for name in names}
    wanted = PARAMETERS.get(calibration.kind)
    if wanted is None:
        return f"its kind is none of {', '.join(PARAMETERS)}"
    if {name for name, value in given.items() if value is not None} != set(wanted):
        return f"it takes the parameters {list(wanted)}"
    for name in ("train_prior", "target_prior"):
        if name in wanted and not 0 < given[name] < 1:
            return f"{name} is {given[name]!r}, which is not between 0 and 1"
    if calibration.kind == "sigmoid" and not (0 <= given["slope"] < float("inf") and isfinite(given["intercept"])):
        return f"slope {given['slope']!r} and intercept {given['intercept']!r} are not a finite, rising line"
    return _knots_problem(given["x"], given["y"]) if calibration.kind == "isotonic" else None


def _knots_problem(x: tuple[float, ...], y: tuple[float, ...]) -> str | None:
    if not 0 < len(x) == len(y):
        return f"it has {len(x)} x and {len(y)} y; as many of each, and at least one, are needed"
    if not all(map(isfinite, x)) or any(right <= left for left, right in pairwise(x)):
        return "x does not increase"
    if not all(0 <= value <= 1 for value in y) or any(right < left for left, right in pairwise(y)):
        return "y decreases, or leaves [0, 1]"
    return None
