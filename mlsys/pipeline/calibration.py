"""Calibrators: map a model's scores to probabilities, fitted on training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import FitError
from mlsys.pipeline.weights import Weights
from mlsys.runs.calibration import Calibration
from mlsys.runs.logistic import logit

LOGIT_MARGIN = 1e-12  # clips scores in the fit: a single one near 0 or 1 must not determine the slope


@dataclass(frozen=True)
class CalibrationData:
    """The data that a calibrator is fitted on.

    Attributes
    ----------
    learned_prior : float
        Fraction of positives that the estimator saw, after resampling and class weights.
    prior : float
        Fraction of positives in the original training rows.
    scores, labels : ndarray of shape (n_rows,), or None
        Scores and labels of the latest training rows; the scores come from a model fitted on the earlier rows only.
    weights : ndarray of shape (n_rows,), or None
        Rows that each of them stands for; None if each stands for itself.
    """

    learned_prior: float
    prior: float
    scores: NDArray[np.float64] | None = None
    labels: NDArray[np.int8] | None = None
    weights: Weights = None


class Calibrator(Protocol):
    """Interface of the components in the ``calibration`` config group.

    Attributes
    ----------
    needs_scores : bool
        Whether ``fit`` needs the scores and labels of held-out training rows.
    """

    needs_scores: bool

    def fit(self, data: CalibrationData) -> Calibration:
        """Return the map from scores to probabilities."""
        ...


@dataclass(frozen=True)
class Identity:
    """Use the scores as probabilities, unchanged."""

    needs_scores = False

    def fit(self, data: CalibrationData) -> Calibration:  # noqa: ARG002
        """Return the identity map."""
        return Calibration.none()


@dataclass(frozen=True)
class Prior:
    """Correct the class prior from the one the estimator saw back to that of the original training rows.

    p' = p a / (p a + (1 - p) b) with a = prior / learned prior and b the same ratio for the negatives.

    References
    ----------
    Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new a priori probabilities,
    equation 4; Elkan (2001), The foundations of cost-sensitive learning, theorem 2.
    """

    needs_scores = False

    def fit(self, data: CalibrationData) -> Calibration:
        """Return the prior correction."""
        return Calibration.prior(data.learned_prior, data.prior)


@dataclass(frozen=True)
class Auto:
    """:class:`Prior` if resampling or class weights changed the prior by more than 0.1 %, else :class:`Identity`."""

    needs_scores = False

    def fit(self, data: CalibrationData) -> Calibration:
        """Return the prior correction, or the identity map."""
        changed = abs(data.learned_prior - data.prior) > 1e-3 * data.prior
        return Prior().fit(data) if changed else Calibration.none()


@dataclass(frozen=True)
class Sigmoid:
    """Platt scaling: logistic regression on the log odds of the score.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines.
    """

    needs_scores = True

    def fit(self, data: CalibrationData) -> Calibration:
        """Return the sigmoid map with the fitted slope and intercept."""
        from sklearn.linear_model import LogisticRegression

        scores, labels = _required(data)
        logits = logit(scores, margin=LOGIT_MARGIN)
        if np.ptp(logits) == 0:  # a constant model
            return Calibration.sigmoid(0.0, float(logit(labels.mean())))
        # A weak penalty, just enough to keep the slope finite if the scores separate the classes.
        model = LogisticRegression(C=1e3, max_iter=1000).fit(logits[:, None], labels, sample_weight=data.weights)
        slope = float(model.coef_[0, 0])
        if slope <= 0:
            raise FitError(
                "calibration=sigmoid: on the latest training rows, higher scores do not mean more positives (slope "
                f"{slope:.3g}), so calibration would flatten or reverse the ranking. Use calibration=auto or prior."
            )
        return Calibration.sigmoid(slope, float(model.intercept_[0]))


@dataclass(frozen=True)
class Isotonic:
    """Isotonic regression, interpolated linearly between its knots, so that scores inside a step stay distinct.

    References
    ----------
    Zadrozny and Elkan (2002), Transforming classifier scores into accurate multiclass probability estimates.
    """

    needs_scores = True

    def fit(self, data: CalibrationData) -> Calibration:
        """Return the piecewise linear map with the fitted knots."""
        from sklearn.isotonic import IsotonicRegression

        scores, labels = _required(data)
        # Bounds by Laplace's rule of succession: no finite sample proves a probability of 0 or 1.
        rows = len(labels) if data.weights is None else data.weights.sum()
        model = IsotonicRegression(y_min=1 / (rows + 2), y_max=(rows + 1) / (rows + 2), out_of_bounds="clip")
        model.fit(scores, labels, sample_weight=data.weights)
        return Calibration.isotonic(model.X_thresholds_, model.y_thresholds_)


def _required(data: CalibrationData) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    if data.scores is None or data.labels is None or len(np.unique(data.labels)) < 2:
        raise FitError(
            "Calibration needs both classes among the latest training rows. Use calibration=auto or prior, which need "
            "no held-out rows, or increase fit.early_stopping.validation_fraction."
        )
    return data.scores, data.labels
