"""A calibration for one score at a time: `mlsys.runs.calibration` without arrays."""

from __future__ import annotations

from collections.abc import Callable

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.logistic import clip_probability, scalar_logit, scalar_sigmoid


def calibrated(calibration: Calibration) -> Callable[[float], float]:
    """Return a function from a score to its probability, equal to ``calibration.apply``.

    Examples
    --------
    >>> round(calibrated(Calibration.prior(0.5, 0.1))(0.5), 3)
    0.1
    """
    inner = _maps(calibration)

    def probability(score: float) -> float:
        if not 0.0 <= score <= 1.0:
            raise RunError(f"The model gave the score {score}, which is outside of [0, 1]: check its predict_proba.")
        return score if inner is None else clip_probability(inner(score))

    return probability


def _maps(calibration: Calibration) -> Callable[[float], float] | None:
    """Return the map of a calibration's kind, not yet kept off 0 and 1; None for the identity."""
    if calibration.kind == "none":
        return None
    if calibration.kind == "prior" and calibration.train_prior is not None and calibration.target_prior is not None:
        a = calibration.target_prior / calibration.train_prior
        b = (1 - calibration.target_prior) / (1 - calibration.train_prior)
        return lambda score: 1 / (1 + (1 - score) / score * (b / a)) if score > 0 else 0.0
    if calibration.kind == "sigmoid" and calibration.slope is not None and calibration.intercept is not None:
        slope, intercept = calibration.slope, calibration.intercept
        return lambda score: scalar_sigmoid(slope * scalar_logit(score) + intercept)
    return lambda score: float(calibration.apply([score])[0])
