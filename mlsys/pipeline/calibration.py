"""Calibrators: from a model's scores to probabilities, learned from training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import FitError
from mlsys.runs.calibration import Calibration
from mlsys.runs.logistic import logit

LOGIT_MARGIN = 1e-12  # in the fit: one score that is nearly 0 or 1 must not decide the slope alone


@dataclass(frozen=True)
class CalibrationData:
    """What a calibrator may learn from.

    Attributes
    ----------
    learned_prior : float
        Share of positives that the estimator was shown, after resampling and class weights.
    prior : float
        Share of positives among the training rows as they were.
    scores, labels : ndarray of shape (n_rows,), or None
        Latest training rows, scored by a model that was fitted on the earlier ones only.
    """

    learned_prior: float
    prior: float
    scores: NDArray[np.float64] | None = None
    labels: NDArray[np.int8] | None = None


class Calibrator(Protocol):
    """What the ``calibration`` group gives."""

    needs_scores: bool

    def fit(self, evidence: CalibrationData) -> Calibration:
        """Return the map from scores to probabilities."""
        ...


@dataclass(frozen=True)
class Identity:
    """Scores are the probabilities."""

    needs_scores = False

    def fit(self, evidence: CalibrationData) -> Calibration:  # noqa: ARG002
        """Return the identity."""
        return Calibration.none()


@dataclass(frozen=True)
class Prior:
    """Shift the class prior from what the estimator was shown to what it was.

    p' = p a / (p a + (1 - p) b) with a = prior / learned prior and b the same of the negatives.

    References
    ----------
    Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new a priori probabilities,
    equation 4; Elkan (2001), The foundations of cost-sensitive learning, theorem 2.
    """

    needs_scores = False

    def fit(self, evidence: CalibrationData) -> Calibration:
        """Return the shift."""
        return Calibration.prior(evidence.learned_prior, evidence.prior)


@dataclass(frozen=True)
class Auto:
    """:class:`Prior` where resampling or class weights moved the prior by over a thousandth of it, else nothing."""

    needs_scores = False

    def fit(self, evidence: CalibrationData) -> Calibration:
        """Return the shift or the identity."""
        changed = abs(evidence.learned_prior - evidence.prior) > 1e-3 * evidence.prior
        return Prior().fit(evidence) if changed else Calibration.none()


@dataclass(frozen=True)
class Sigmoid:
    """Platt scaling: a logistic regression on the score's log odds.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines.
    """

    needs_scores = True

    def fit(self, evidence: CalibrationData) -> Calibration:
        """Return slope and intercept."""
        from sklearn.linear_model import LogisticRegression

        scores, labels = _required(evidence)
        logits = logit(scores, margin=LOGIT_MARGIN)
        if np.ptp(logits) == 0:  # a model that knows nothing but the level
            return Calibration.sigmoid(0.0, float(logit(labels.mean())))
        # Nearly no penalty, but enough to stay finite where the classes can be told apart.
        model = LogisticRegression(C=1e3, max_iter=1000).fit(logits[:, None], labels)
        slope = float(model.coef_[0, 0])
        if slope <= 0:
            raise FitError(
                "calibration=sigmoid: on the latest training rows the score does not rise with the outcome (slope "
                f"{slope:.3g}), so calibrating would lose or turn the ranking. Use calibration=auto or prior."
            )
        return Calibration.sigmoid(slope, float(model.intercept_[0]))


@dataclass(frozen=True)
class Isotonic:
    """The best monotone step function, joined by lines, so that no two scores become one by accident of a step's edge.

    References
    ----------
    Zadrozny and Elkan (2002), Transforming classifier scores into accurate multiclass probability estimates.
    """

    needs_scores = True

    def fit(self, evidence: CalibrationData) -> Calibration:
        """Return the function's corners."""
        from sklearn.isotonic import IsotonicRegression

        scores, labels = _required(evidence)
        # Laplace's rule of succession bounds the ends: no finite number of rows shows that something never happens.
        rows = len(labels)
        model = IsotonicRegression(y_min=1 / (rows + 2), y_max=(rows + 1) / (rows + 2), out_of_bounds="clip")
        model.fit(scores, labels)
        return Calibration.isotonic(model.X_thresholds_, model.y_thresholds_)


def _required(evidence: CalibrationData) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    if evidence.scores is None or evidence.labels is None or len(np.unique(evidence.labels)) < 2:
        raise FitError(
            "The latest training rows hold no converters to calibrate on. Use calibration=auto or prior, which need "
            "none, or raise fit.early_stopping.validation_fraction."
        )
    return evidence.scores, evidence.labels
