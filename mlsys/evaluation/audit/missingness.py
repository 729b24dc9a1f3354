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
# Chance that any column of a table raises the alarm although all are missing at random.
FALSE_ALARMS = 0.01

Mask = NDArray[np.bool_]


def missingness(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Warn where a column is missing in clearly more of the positive rows than of the others, or in clearly fewer.

    Of event data, the attributes of the entity are compared, not the features made of them: a site without a web rank
    has no log rank, but its attribute was filled in. Event features are left out: one is missing where nothing
    happened before the as-of, which is an honest signal.

    Two shares differ clearly if they are more than ``limit`` apart and Fisher's exact test rejects that they are equal,
    at a level of 1 % divided by the number of columns (Bonferroni), so that at most one in a hundred tables whose
    columns are missing at random raises a warning. Rows of one group are repetitions, not independent evidence.

    Parameters
    ----------
    subject : AuditSubject
    limit : float
        Difference of two shares, 0 to 1.
    """
    columns = _columns(subject)
    events = len(subject.panel.names) - sum(len(features) for features in columns.values())
    aside = f" Not compared: {counted(events, 'event feature')}, missing where nothing happened." if events else ""
    positive, other = subject.complete & subject.labels, subject.complete & ~subject.labels
    if not columns:
        return AuditCheck.not_applicable(NAME, "no feature comes from a column that somebody fills in." + aside)
    if not positive.any() or not other.any():
        return AuditCheck.not_applicable(NAME, "one class only.")
    shares = {name: _missing_shares(subject, features, positive, other) for name, features in columns.items()}
    gaps = {name: round(abs(in_positive - in_other), 6) for name, (in_positive, in_other) in shares.items()}
    sizes = (_independent_rows(subject.groups[positive]), _independent_rows(subject.groups[other]))
    level = FALSE_ALARMS / len(columns)
    ranked = sorted(columns, key=lambda name: -gaps[name])
    found = [name for name in ranked if gaps[name] > limit and _p_value(shares[name], sizes) < level]
    rates = listed([f"{name} ({shares[name][0]:.1%} against {shares[name][1]:.1%})" for name in found or ranked[:1]])
    if not found:
        message = f"No column's missing rate differs clearly between positive and other rows; the largest gap: {rates}."
        return AuditCheck(NAME, "pass", gaps[ranked[0]], limit, f"{message} Nothing to do.{aside}")
    message = (
        f"Missing rates differ between positive and other rows in {counted(len(found), 'column')}: {rates}. A field "
        "that is filled in after the outcome leaks it. Find out when it is filled in; if after the as-of, leave it "
        "out or use its values as they were then."
    )
    return AuditCheck(NAME, "warn", gaps[found[0]], limit, message + aside)


def _columns(subject: AuditSubject) -> Mapping[str, Sequence[str]]:
    """Return the columns that somebody fills in, each with the features made of it."""
    if subject.rebuild is None:  # a flat table, whose columns are the features
        return {name: [name] for name in subject.panel.names}
    return subject.rebuild.features_by_attribute


def _missing_shares(subject: AuditSubject, features: Sequence[str], positive: Mask, other: Mask) -> tuple[float, float]:
    """Return in which shares of the positive and of the other rows all features of a column are missing."""
    missing: Mask = np.all(subject.panel.frame[list(features)].isna().to_numpy(), axis=1)
    return float(missing[positive].mean()), float(missing[other].mean())


def _independent_rows(groups: NDArray[np.int64]) -> int:
    """Return how many independent rows tell as much about a share as these, of which those of a group are alike.

    Kish (1965), Survey Sampling: the squared sum of the groups' sizes over the sum of their squares.
    """
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return round(float(sizes.sum() ** 2 / (sizes**2).sum()))


def _p_value(shares: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Return the two-sided p-value of Fisher's exact test that two shares are equal.

    It keeps its level for a few positive rows and for shares near 0 and 1, where intervals from the normal
    distribution raise ten times too many alarms.
    """
    missing = [round(share * size) for share, size in zip(shares, sizes, strict=True)]
    present = [size - count for size, count in zip(sizes, missing, strict=True)]
    return float(fisher_exact([missing, present]).pvalue)
