"""Calibration maps from a pipeline's scores to probabilities, saved next to the model."""

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
from mlsys.text import counted

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

    Create one with `none`, `prior`, `sigmoid` or `isotonic`.

    Attributes
    ----------
    kind : {"none", "prior", "sigmoid", "isotonic"}
    train_prior, target_prior : float or None
        Fraction of positives in the rows that the model was fitted on and in the rows to score; each in (0, 1).
    slope, intercept : float or None
        Slope (not negative) and intercept of the line on the logit scale.
    x, y : tuple of float or None
        Knots: increasing scores, and their nondecreasing probabilities in [0, 1].

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
        """Return the identity map."""
        return cls("none")

    @classmethod
    def prior(cls, train_prior: float, target_prior: float) -> Calibration:
        """Return the correction for rows whose fraction of positives differs from that of the training rows.

        Notes
        -----
        With a = target_prior / train_prior and b = (1 - target_prior) / (1 - train_prior), the probability is
        p a / (p a + (1 - p) b): Saerens, Latinne & Decaestecker 2002, "Adjusting the outputs of a classifier to new a
        priori probabilities", Neural Computation 14(1), equation 4; Elkan 2001, "The foundations of cost-sensitive
        learning", IJCAI, theorem 2. It assumes that the distribution within each class is the same, which holds for
        random resampling and class weights.
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
        """Return the piecewise linear map through the knots ``(x, y)``, constant outside them.

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
            Probabilities. Ranking and ties are those of the scores; for every kind but "none" they lie strictly between
            0 and 1, so that the log loss is finite.

        Raises
        ------
        RunError
            If a score is missing or outside [0, 1].
        """
        score = np.asarray(scores, dtype=np.float64)
        if not np.all((score >= 0) & (score <= 1)):
            raise RunError("Scores to calibrate must lie in [0, 1]: check the model's predict_proba.")
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
        """Return the calibration that `to_dict` wrote.

        Raises
        ------
        RunError
            If a parameter is missing, unknown or out of range.
        """
        kind: Any = str(data.get("kind"))
        if kind not in PARAMETERS:
            raise RunError(f"Unknown calibration kind {kind!r}; expected one of {', '.join(PARAMETERS)}. Train again.")
        got, expected = sorted(data.keys() - {"kind"}), sorted(PARAMETERS[kind])
        if got != expected:
            raise RunError(f"A calibration of kind {kind!r} needs the parameters {expected}, got {got}. Train again.")
        try:
            values: dict[str, Any] = {
                name: _floats(data[name]) if name in ("x", "y") else float(data[name]) for name in expected
            }
        except (TypeError, ValueError) as error:
            raise RunError(
                f"A calibration of kind {kind!r} has a parameter that is not a number ({error}). Train again."
            ) from error
        return cls(kind, **values)

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PARAMETERS[self.kind]}


# Each step is monotone in floating point too, so rounding never swaps two rows.


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
    values = {name: getattr(calibration, name) for names in PARAMETERS.values() for name in names}
    required = PARAMETERS.get(calibration.kind)
    if required is None:
        return f"the kind must be one of {', '.join(PARAMETERS)}"
    if {name for name, value in values.items() if value is not None} != set(required):
        return f"it needs the parameters {list(required)}"
    for name in ("train_prior", "target_prior"):
        if name in required and not 0 < values[name] < 1:
            return f"{name} is {values[name]!r}, which is not between 0 and 1"
    if calibration.kind == "sigmoid" and not (0 <= values["slope"] < float("inf") and isfinite(values["intercept"])):
        return f"slope {values['slope']!r} must be finite and not negative, intercept {values['intercept']!r} finite"
    return _knots_problem(values["x"], values["y"]) if calibration.kind == "isotonic" else None


def _knots_problem(x: tuple[float, ...], y: tuple[float, ...]) -> str | None:
    if not 0 < len(x) == len(y):
        return f"x has {counted(len(x), 'value')} and y {len(y)}; both need the same number, at least 1"
    if not all(map(isfinite, x)) or any(right <= left for left, right in pairwise(x)):
        return "x must be finite and increasing"
    if not all(0 <= value <= 1 for value in y) or any(right < left for left, right in pairwise(y)):
        return "y must be nondecreasing and within [0, 1]"
    return None
