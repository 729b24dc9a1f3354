"""Missingness: what is filled in for converters only was often filled in because they converted."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import Check, listed, many
from mlsys.evaluation.audit.subject import AuditSubject

NAME = "missingness"
# Of the normal distribution: intervals of 99 %, as dozens of columns are compared.
DEVIATIONS = 2.576


def missingness(subject: AuditSubject, *, limit: float) -> Check:
    """Warn where a feature is missing in clearly more of the positive rows than of the others, or in fewer.

    Only columns that somebody filled in are compared. A usage feature is missing where there was no usage before the
    as-of, which is an honest signal. Rows of one group count as one when the chance of such a difference is judged.
    """
    rebuild = subject.rebuild
    names = subject.panel.names if rebuild is None else rebuild.snapshot_features
    usage = len(subject.panel.names) - len(names)
    aside = (
        f" Not compared: {many(usage, 'feature')} of events, missing where nothing happened, which is an honest signal."
        if usage
        else ""
    )
    positive, other = subject.complete & subject.labels, subject.complete & ~subject.labels
    sizes = (len(np.unique(subject.groups[positive])), len(np.unique(subject.groups[other])))
    if not names or not min(sizes):
        reason = "one class only." if names else "no feature comes from attributes that somebody fills in." + aside
        return Check.not_applicable(NAME, reason)
    shares, gaps = {}, {}
    for name in names:
        missing = subject.panel.frame[name].isna().to_numpy()
        shares[name] = (float(missing[positive].mean()), float(missing[other].mean()))
        gaps[name] = round(abs(shares[name][0] - shares[name][1]), 6)
    ranked = sorted(names, key=lambda name: -gaps[name])
    found = [name for name in ranked if gaps[name] > limit and _is_no_chance(shares[name], sizes)]
    worst = listed([f"{name} ({shares[name][0]:.1%} against {shares[name][1]:.1%})" for name in found or ranked[:1]])
    if not found:
        message = f"No feature is missing clearly more often by label; most differs {worst}. Nothing to do."
        return Check(NAME, "pass", gaps[ranked[0]], limit, message + aside)
    message = (
        f"{many(len(found), 'feature')} not equally often missing in positive rows and in others: {worst}. What is "
        "filled in after the outcome gives it away by being filled in. Find out when that is done; if after the as-of, "
        "leave the column out or use its values as they were then."
    )
    return Check(NAME, "warn", gaps[found[0]], limit, message + aside)


def _is_no_chance(shares: tuple[float, float], sizes: tuple[int, int]) -> bool:
    """Tell whether the interval of the difference of two shares leaves out 0.

    Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in Medicine 17,
    method 10: from the Wilson intervals of both.
    """
    low, high = sorted(zip(shares, sizes, strict=True))
    apart = low[0] - high[0]
    return float(np.hypot(_wilson(*low)[1] - low[0], high[0] - _wilson(*high)[0])) < -apart


def _wilson(share: float, size: int) -> tuple[float, float]:
    square = DEVIATIONS**2 / size
    centre = share + square / 2
    spread = float(np.sqrt(square * (share * (1 - share) + square / 4)))
    return (centre - spread) / (1 + square), (centre + spread) / (1 + square)
