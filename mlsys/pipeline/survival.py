"""A discrete-time hazard model: when the outcome comes, not only whether."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from mlsys.errors import OneClassError
from mlsys.pipeline.composites import MemberFit, MemberRows, Part
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.frames import frame_of
from mlsys.pipeline.parameter_rules import ValueRule, is_a
from mlsys.pipeline.requirements import learned_prior
from mlsys.pipeline.traits import Traits
from mlsys.pipeline.weights import taken
from mlsys.runs.calibration import Calibration
from mlsys.runs.hazards import (
    INTERVAL_INPUTS,
    by_day_name,
    calibrated_by_day,
    cumulative_hazard,
    intervals_of,
    probability_by,
)
from mlsys.runs.model_outputs import ModelOutput
from mlsys.runs.prior_correction import correct_prior
from mlsys.text import counted

Floats = NDArray[np.float64]


def _are_days(ends: object) -> bool:
    if not isinstance(ends, list | tuple) or not ends or not all(type(end) is int for end in ends):
        return False
    return ends[0] > 0 and all(start < end for start, end in pairwise(ends))


class DiscreteTimeHazard(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Probability of the outcome by the end of each interval, from one classifier of the intervals.

    Each row becomes one row per interval in which it is at risk: its label is whether the outcome falls in that
    interval, and the interval's start and length are two further inputs. A classifier of these rows estimates the
    hazard h_k of interval k, and the probability by the end of the last one is 1 - (1 - h_1) (1 - h_2) … .

    A row whose last intervals are not over yet contributes those that are. So rows younger than the horizon, which no
    classifier of the whole horizon can use, are learned from as far as their outcomes are known.

    Parameters
    ----------
    hazard : scikit-learn classifier
        Model of the hazards.
    intervals : sequence of int
        Days after the as-of at which the intervals end, rising; the last one is the horizon.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Class labels, the positive one last.
    hazard_ : sklearn Pipeline
        Fitted encoder and model of the hazards.
    learned_prior_, prior_ : float
        Fraction of positive intervals that the model learned, after resampling and class weights, and that of the
        training rows. Hazards are corrected from the first to the second: else they would not multiply correctly.
    n_features_in_ : int
        Number of columns seen in the fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in the fit, if they have names.

    References
    ----------
    Singer and Willett (1993), It's about time: using discrete-time survival analysis to study duration and the timing
    of events, Journal of Educational Statistics 18(2); Tutz and Schmid (2016), Modeling discrete time-to-event data.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows, days = pd.DataFrame({"users": [0.0, 0.0, 4.0, 4.0]}), np.array([np.nan, 20, 3, 5])
    >>> model = DiscreteTimeHazard(LogisticRegression(), intervals=[7, 30])
    >>> model.fit(rows, ~np.isnan(days), days_to_outcome=days, days_known=np.full(4, 60))
    DiscreteTimeHazard(hazard=LogisticRegression(), intervals=[7, 30])
    >>> model.predict_by_day(rows)[[0, 2]].round(2)
    array([[0.13, 0.56],
           [0.88, 1.  ]])
    """

    mlsys_traits = Traits(
        takes_missing=True,
        needs_scaling=False,
        rules={
            "hazard": ValueRule(lambda hazard, _: is_a(is_classifier, hazard), "a classifier, by its _target_"),
            "intervals": ValueRule(
                lambda ends, _: _are_days(ends), "a list of whole days, from 1 and rising, such as [7,14,21,30]"
            ),
        },
    )
    details: ClassVar[tuple[str, ...]] = ("days_to_outcome", "days_known")
    learns_labels: ClassVar[bool] = False

    def __init__(self, hazard: Any, intervals: Sequence[int] = (7, 14, 21, 30)) -> None:  # noqa: ANN401
        self.hazard = hazard
        self.intervals = intervals

    def rows_per_row(self) -> int:
        """Return the number of intervals: each is a row of its own for the model of the hazards."""
        return len(self.intervals)

    def unfitted_members(self) -> Mapping[str, Any]:
        """Return the model of the hazards by config key."""
        return {"hazard": self.hazard}

    def with_members(self, members: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return an unfitted copy with another model of the hazards."""
        return unfitted(self, hazard=members["hazard"])

    def fit_members(self, fit: MemberFit, rows: MemberRows) -> tuple[Any, float]:
        """Return the fitted estimator, and the fraction of positive rows, which its probabilities reproduce."""
        return unfitted(self)._fitted(fit, rows), rows.prior

    def fitted_members(self) -> Sequence[Part]:
        """Return the fitted model of the hazards."""
        return [Part(self.hazard_, 1.0, takes_panel=False)]

    def fit(
        self, X: pd.DataFrame | ArrayLike, y: ArrayLike, *, days_to_outcome: ArrayLike, days_known: ArrayLike
    ) -> Self:
        """Fit on rows whose columns the model of the hazards accepts as they are.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Whether the outcome falls within the horizon.
        days_to_outcome : array-like of shape (n_rows,)
            Days from the as-of to the outcome, NaN without one.
        days_known : array-like of shape (n_rows,)
            Days after the as-of of which outcomes are known.
        """

        def fit_member(
            member: Any,  # noqa: ANN401
            rows: MemberRows,
            target: Floats | None = None,  # noqa: ARG001 - the protocol
        ) -> tuple[Pipeline, float]:
            pipeline = Pipeline([("model", unfitted(member))]).fit(rows.inputs, rows.labels)
            return pipeline, learned_prior(member, rows.labels)

        details = pd.DataFrame({"days_to_outcome": days_to_outcome, "days_known": days_known}, dtype=np.float64)
        return self._fitted(fit_member, MemberRows(frame_of(self, X, reset=True), np.asarray(y, np.int8), details))

    def predict_by_day(self, X: pd.DataFrame | ArrayLike) -> Floats:
        """Return the probability of the outcome by the end of each interval.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of float64, shape (n_rows, n_intervals)
        """
        check_is_fitted(self)
        frame = frame_of(self, X, reset=False)
        columns = [
            self.hazard_.predict_proba(_with_interval(frame, start, days))[:, 1]
            for start, days in intervals_of(self.intervals)
        ]
        hazards = np.column_stack(columns).astype(np.float64)
        hazards[~((hazards >= 0) & (hazards <= 1))] = np.nan  # no probabilities, so the score is none either
        corrected = correct_prior(hazards, self.learned_prior_, self.prior_)
        return probability_by(cumulative_hazard(corrected))

    @property
    def outputs(self) -> tuple[ModelOutput, ...]:
        """The probability by the end of each interval."""
        return tuple(
            ModelOutput(by_day_name(day), f"Probability of the outcome within {counted(int(day), 'day')}.", 0.0, 1.0)
            for day in self.intervals
        )

    def more_outputs(self, inputs: pd.DataFrame, calibration: Calibration) -> Floats:
        """Return the calibrated probability by the end of each interval, shape (n_rows, n_intervals).

        Parameters
        ----------
        inputs : DataFrame of shape (n_rows, n_features)
        calibration : Calibration
            Map from scores by the horizon to probabilities; the last output is the probability.
        """
        by_day = self.predict_by_day(inputs)
        return calibrated_by_day(by_day, calibration.apply(by_day[:, -1]))

    def predict_proba(self, X: pd.DataFrame | ArrayLike) -> Floats:
        """Return the class probabilities by the horizon.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, 2)
        """
        positive = self.predict_by_day(X)[:, -1]
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: pd.DataFrame | ArrayLike) -> NDArray[Any]:
        """Return the positive label if its probability is at least 0.5, else the negative label.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        return self.classes_[(self.predict_proba(X)[:, 1] >= 0.5).astype(np.intp)]

    def _fitted(self, fit: MemberFit, rows: MemberRows) -> Self:
        frame_of(self, rows.inputs, reset=True)
        periods = person_periods(rows, self.intervals)
        self.hazard_, self.learned_prior_ = fit(self.hazard, periods)
        self.prior_ = periods.prior
        self.classes_ = np.array([0, 1])
        return self


def person_periods(rows: MemberRows, ends: Sequence[int]) -> MemberRows:
    """Return one row per row and interval that is over and in which it is at risk, with the `INTERVAL_INPUTS`.

    A row is at risk in an interval unless its outcome came before. An interval that is not over yet does not count,
    even if the outcome has come in it: else the outcomes of young rows would be learned sooner than their absence.

    Parameters
    ----------
    rows : MemberRows
        With the details ``days_to_outcome`` and ``days_known``; partly known rows are used too.
    ends : sequence of int
        Days after the as-of at which the intervals end.

    Raises
    ------
    OneClassError
        If none of these rows, or every one, is positive.

    Examples
    --------
    >>> details = pd.DataFrame({"days_to_outcome": [9.0, np.nan], "days_known": [30.0, 10.0]})
    >>> rows = MemberRows(pd.DataFrame({"users": [1.0, 2.0]}), np.array([1, 0], dtype=np.int8), details)
    >>> periods = person_periods(rows, [7, 14, 30])
    >>> periods.inputs.assign(label=periods.labels)
       users  interval_start  interval_days  label
    0    1.0             0.0            7.0      0
    1    2.0             0.0            7.0      0
    2    1.0             7.0            7.0      1
    """
    inputs, details, weights = rows.inputs, rows.details, rows.weights
    if rows.partial is not None:
        if weights is not None and rows.partial.weights is not None:
            weights = np.concatenate([weights, rows.partial.weights])
        inputs = pd.concat([inputs, rows.partial.inputs], ignore_index=True)
        details = pd.concat([details, rows.partial.details], ignore_index=True)
    outcome = details["days_to_outcome"].to_numpy(dtype=np.float64)
    known = details["days_known"].to_numpy(dtype=np.float64)
    frames, labels, more, positions = [], [], [], []
    for start, days in intervals_of(ends):
        at_risk = np.flatnonzero((known >= start + days) & ~(outcome <= start))
        frames.append(_with_interval(inputs.iloc[at_risk], start, days))
        labels.append(outcome[at_risk] <= start + days)
        more.append(details.iloc[at_risk])
        positions.append(at_risk)
    label = np.concatenate(labels).astype(np.int8)
    if not 0 < label.sum() < len(label):
        kind = "negative" if label.sum() == 0 else "positive"
        raise OneClassError(f"All {counted(len(label), 'interval')} of the training rows are {kind}.")
    periods = MemberRows(pd.concat(frames, ignore_index=True), label, pd.concat(more, ignore_index=True))
    return periods._replace(weights=taken(weights, np.concatenate(positions)))


def _with_interval(frame: pd.DataFrame, start: float, days: float) -> pd.DataFrame:
    return frame.assign(**dict(zip(INTERVAL_INPUTS, (start, days), strict=True)))
