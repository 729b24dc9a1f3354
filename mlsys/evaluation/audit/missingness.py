"""Missingness: a field that is filled in after the outcome leaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.text import counted

NAME = "missingness"
# Probability that a table raises an alarm although all its columns are missing at random.
FALSE_ALARM_RATE = 0.01

Mask = NDArray[np.bool_]


def missingness(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Warn if the missing rates of a column differ clearly between positive and negative rows.

    With event data, the attributes of the entity are compared, not the features derived from them: a site without a web
    rank has no log rank, although its attribute was filled in. Event features are not compared: they are missing if
    nothing happened before the as-of, which is a legitimate signal.

    Missing rates differ clearly if the difference exceeds ``limit``, and Fisher's exact test rejects equal rates at a
    level of 1 % divided by the number of columns (Bonferroni), so that at most one in a hundred tables whose columns
    are missing at random raises a warning. Rows of one group are repetitions, not independent evidence.

    Parameters
    ----------
    subject : AuditSubject
        The run to check.
    limit : float
        Difference between the two missing rates, 0 to 1.
    """
    columns = _columns(subject)
    events = len(subject.panel.names) - sum(len(features) for features in columns.values())
    excluded = (
        f" Not compared: {counted(events, 'event feature')}, which can be missing because nothing happened."
        if events
        else ""
    )
    positive, negative = subject.complete & subject.labels, subject.complete & ~subject.labels
    if not columns:
        return AuditCheck.not_applicable(NAME, "no feature comes from a column that somebody fills in." + excluded)
    if not positive.any() or not negative.any():
        return AuditCheck.not_applicable(NAME, "the rows have only one class.")
    rates = {name: _missing_rates(subject, features, positive, negative) for name, features in columns.items()}
    gaps = {name: round(abs(in_positive - in_negative), 6) for name, (in_positive, in_negative) in rates.items()}
    sizes = (_effective_sample_size(subject.groups[positive]), _effective_sample_size(subject.groups[negative]))
    level = FALSE_ALARM_RATE / len(columns)
    ranked = sorted(columns, key=lambda name: -gaps[name])
    suspicious = [name for name in ranked if gaps[name] > limit and _p_value(rates[name], sizes) < level]
    listing = listed(
        [f"{name} ({rates[name][0]:.1%} versus {rates[name][1]:.1%})" for name in suspicious or ranked[:1]]
    )
    if not suspicious:
        message = f"Missing rates do not differ clearly between positive and negative rows; largest gap: {listing}."
        return AuditCheck(NAME, "pass", gaps[ranked[0]], limit, f"{message}{excluded}")
    message = (
        f"Missing rates differ between positive and negative rows in {counted(len(suspicious), 'column')}: {listing}. "
        "A field that is filled in after the outcome leaks it. Find out when the field is filled in; if that is after "
        "the as-of, drop it or use its values as of then."
    )
    return AuditCheck(NAME, "warn", gaps[suspicious[0]], limit, message + excluded)


def _columns(subject: AuditSubject) -> Mapping[str, Sequence[str]]:
    """Return the columns that somebody fills in, each with the features derived from it."""
    if subject.rebuild is None:  # a flat table, whose columns are the features
        return {name: [name] for name in subject.panel.names}
    return subject.rebuild.features_by_attribute


def _missing_rates(
    subject: AuditSubject, features: Sequence[str], positive: Mask, negative: Mask
) -> tuple[float, float]:
    """Return the fractions of positive and of negative rows in which all features of a column are missing."""
    missing: Mask = np.all(subject.panel.frame[list(features)].isna().to_numpy(), axis=1)
    return float(missing[positive].mean()), float(missing[negative].mean())


def _effective_sample_size(groups: NDArray[np.int64]) -> int:
    """Return the number of independent rows with the same information about a rate as clustered rows.

    Kish (1965), Survey Sampling: the squared sum of the group sizes over the sum of their squares.
    """
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return round(float(sizes.sum() ** 2 / (sizes**2).sum()))


def _p_value(rates: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Return the two-sided p-value of Fisher's exact test for equal rates.

    The test keeps its level with few positive rows and with rates near 0 and 1, where the normal approximation raises
    ten times too many alarms.
    """
    missing = [round(rate * size) for rate, size in zip(rates, sizes, strict=True)]
    present = [size - count for size, count in zip(sizes, missing, strict=True)]
    return float(fisher_exact([missing, present]).pvalue)
