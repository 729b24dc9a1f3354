"""Forbidden columns: ids, times and outcomes must not be among the features, under whatever name."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.features.base import FeatureInfo
from mlsys.text import counted

NAME = "forbidden_columns"
# With fewer positive rows any flag may happen to equal the label.
ENOUGH_POSITIVES = 5
DISTINCT_VALUES = 3


def forbidden_columns(subject: AuditSubject) -> AuditCheck:
    """Fail where a feature is named like an id, time or outcome column, or has the values of the id or outcome."""
    named = {column.casefold(): why for column, why in subject.forbidden.items()}
    values = _Values(subject)
    reasons = {}
    for feature in subject.panel.features:
        why = named.get(feature.name.casefold()) or values.reason(feature)
        if why:
            reasons[feature.name] = why
    if not reasons:
        message = "No feature is named like an id, time or outcome column or has its values. Nothing to do."
        return AuditCheck(NAME, "pass", 0, 0, message)
    listing = listed([f"{name} ({why})" for name, why in reasons.items()])
    message = (
        f"{counted(len(reasons), 'feature')} that no model may see: {listing}. An id lets the model recognise rows, an "
        "outcome column tells it the answer. Leave them out of the features (data.drop, or the block that makes them)."
    )
    return AuditCheck(NAME, "fail", len(reasons), 0, message)


class _Values:
    """Compares features with the id, the label and the outcome's value."""

    def __init__(self, subject: AuditSubject) -> None:
        self._frame = subject.panel.frame
        self._rows = np.flatnonzero(subject.complete)
        self._labels = subject.labels[self._rows]
        self._value = self._frame["value"].to_numpy(dtype=np.float64)
        self._worth = np.flatnonzero(subject.labels & (self._value > 0))
        self._is_number = pd.api.types.is_numeric_dtype(self._frame["id"])

    def reason(self, feature: FeatureInfo) -> str | None:
        """Return what the feature is, if it is one of them."""
        column = self._frame[feature.name]
        if self._is_id(column):
            return "it equals the id"
        if feature.kind == "number":
            numbers = column.to_numpy(dtype=np.float64)
            if self._is_worth(numbers):
                return "it is the outcome's value, or a multiple of it"
        else:
            codes = pd.factorize(column)[0].astype(np.float64)
            numbers = np.where(codes < 0, np.nan, codes)
        return self._told(numbers[self._rows])

    def _is_id(self, column: pd.Series) -> bool:
        head = slice(0, 100)  # settles it for nearly every column
        return all(self._same_as_id(column.iloc[rows], self._frame["id"].iloc[rows]) for rows in (head, slice(None)))

    def _same_as_id(self, column: pd.Series, ids: pd.Series) -> bool:
        if self._is_number or pd.api.types.is_numeric_dtype(column):
            column, ids = pd.to_numeric(column, errors="coerce"), pd.to_numeric(ids, errors="coerce")
        return bool((column.to_numpy() == ids.to_numpy()).all())

    def _is_worth(self, numbers: NDArray[np.float64]) -> bool:
        value = self._value[self._worth]
        if len(value) < ENOUGH_POSITIVES or len(np.unique(value)) < DISTINCT_VALUES:
            return False
        ratio = numbers[self._worth] / value
        return bool(ratio[0] != 0 and np.allclose(ratio, ratio[0], rtol=1e-9, atol=0))

    def _told(self, numbers: NDArray[np.float64]) -> str | None:
        hits = numbers[self._labels]
        if min(len(hits), len(numbers) - len(hits)) < ENOUGH_POSITIVES:
            return None
        missing = np.isnan(hits)
        if not (missing.all() or not missing.any()):
            return None
        others = numbers[~self._labels]
        if (np.isnan(others) != missing[0]).all():
            return "it is missing exactly where the label is " + ("1" if missing[0] else "0")
        one_each = hits.min() == hits.max() and others.min() == others.max() and hits[0] != others[0]
        return "it equals the label" if one_each else None
