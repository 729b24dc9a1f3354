"""Forbidden columns: ids, times and outcomes must not be features, under any name."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.features.base import FeatureInfo
from mlsys.text import counted

NAME = "forbidden_columns"
# With fewer positive rows, a binary column may equal the label by chance.
MIN_POSITIVES = 5
MIN_DISTINCT_VALUES = 3


def forbidden_columns(subject: AuditSubject) -> AuditCheck:
    """Fail if a feature has the name of an id, time or outcome column, or the values of the id or the outcome."""
    names = {column.casefold(): reason for column, reason in subject.forbidden.items()}
    values = _Values(subject)
    reasons = {}
    for feature in subject.panel.features:
        reason = names.get(feature.name.casefold()) or values.reason(feature)
        if reason:
            reasons[feature.name] = reason
    if not reasons:
        message = "No feature has the name or the values of an id, time or outcome column."
        return AuditCheck(NAME, "pass", 0, 0, message)
    listing = listed([f"{name} ({reason})" for name, reason in reasons.items()])
    message = (
        f"Found {counted(len(reasons), 'forbidden feature')}: {listing}. An id lets the model recognise rows, and an "
        "outcome column contains the answer. Drop such columns (data.drop), or the feature block that creates them."
    )
    return AuditCheck(NAME, "fail", len(reasons), 0, message)


class _Values:
    """Compare the values of features with the id, the label, and the outcome's value and day."""

    def __init__(self, subject: AuditSubject) -> None:
        self._frame = subject.panel.frame
        self._rows = np.flatnonzero(subject.complete)
        self._labels = subject.labels[self._rows]
        self._value = self._frame["value"].to_numpy(dtype=np.float64)
        self._valued = np.flatnonzero(subject.labels & (self._value > 0))
        self._days = self._frame["days_to_outcome"].to_numpy(dtype=np.float64)
        self._id_is_number = pd.api.types.is_numeric_dtype(self._frame["id"])

    def reason(self, feature: FeatureInfo) -> str | None:
        """Return why the feature is forbidden; None if it is not."""
        column = self._frame[feature.name]
        if self._is_id(column):
            return "it equals the id"
        if feature.kind == "number":
            numbers = column.to_numpy(dtype=np.float64)
            if self._is_days_to_outcome(numbers):
                return "it is the number of days to the outcome, or a multiple of it"
            if self._is_value(numbers):
                return "it is the outcome's value, or a multiple of it"
        else:
            codes = pd.factorize(column)[0].astype(np.float64)
            numbers = np.where(codes < 0, np.nan, codes)
        return self._reveals_label(numbers[self._rows])

    def _is_id(self, column: pd.Series) -> bool:
        head = slice(0, 100)  # already rules out nearly every column
        return all(self._same_as_id(column.iloc[rows], self._frame["id"].iloc[rows]) for rows in (head, slice(None)))

    def _same_as_id(self, column: pd.Series, ids: pd.Series) -> bool:
        if self._id_is_number or pd.api.types.is_numeric_dtype(column):
            column, ids = pd.to_numeric(column, errors="coerce"), pd.to_numeric(ids, errors="coerce")
        return bool((column.to_numpy() == ids.to_numpy()).all())

    def _is_value(self, numbers: NDArray[np.float64]) -> bool:
        return _is_multiple(numbers[self._valued], self._value[self._valued])

    def _is_days_to_outcome(self, numbers: NDArray[np.float64]) -> bool:
        positive = np.flatnonzero(self._days > 0)
        return _is_multiple(numbers[positive], self._days[positive])

    def _reveals_label(self, numbers: NDArray[np.float64]) -> str | None:
        positive = numbers[self._labels]
        if min(len(positive), len(numbers) - len(positive)) < MIN_POSITIVES:
            return None
        missing = np.isnan(positive)
        if not (missing.all() or not missing.any()):
            return None
        negative = numbers[~self._labels]
        if (np.isnan(negative) != missing[0]).all():
            return "it is missing exactly where the label is " + ("1" if missing[0] else "0")
        constant = positive.min() == positive.max() and negative.min() == negative.max()
        return "it equals the label" if constant and positive[0] != negative[0] else None


def _is_multiple(numbers: NDArray[np.float64], of: NDArray[np.float64]) -> bool:
    """Return whether all numbers have one ratio to others, of which there are enough to tell."""
    if len(of) < MIN_POSITIVES or len(np.unique(of)) < MIN_DISTINCT_VALUES:
        return False
    ratio = numbers / of
    return bool(ratio[0] != 0 and np.allclose(ratio, ratio[0], rtol=1e-9, atol=0))
