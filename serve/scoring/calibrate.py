"""Calibration of one score at a time: `mlsys.runs.calibration` without arrays."""

from __future__ import annotations

from collections.abc import Callable

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.logistic import clip_probability, scalar_logit, scalar_sigmoid
from mlsys.runs.prior_correction import scalar_prior_correction


def probability_function(calibration: Calibration) -> Callable[[float], float]:
    """Return a function that maps one score to its probability, as ``calibration.apply`` maps an array.

    Examples
    --------
    >>> round(probability_function(Calibration.prior(0.5, 0.1))(0.5), 3)
    0.1
    """
    inner = _scalar_map(calibration)

    def probability(score: float) -> float:
        if not 0.0 <= score <= 1.0:
            raise RunError(f"The model returned a score of {score}, which is outside [0, 1]: check its predict_proba.")
        return score if inner is None else clip_probability(inner(score))

    return probability


def _scalar_map(calibration: Calibration) -> Callable[[float], float] | None:
    """Return the map from score to probability, before clipping; None for the identity."""
    if calibration.kind == "none":
        return None
    if calibration.kind == "prior" and calibration.train_prior is not None and calibration.target_prior is not None:
        return scalar_prior_correction(calibration.train_prior, calibration.target_prior)
    if calibration.kind == "sigmoid" and calibration.slope is not None and calibration.intercept is not None:
        slope, intercept = calibration.slope, calibration.intercept
        return lambda score: scalar_sigmoid(slope * scalar_logit(score) + intercept)
    return lambda score: float(calibration.apply([score])[0])
