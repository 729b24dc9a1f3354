"""Time travel: rows that are rebuilt with an altered future must have the same features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.rebuild import Rebuild
from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.splits import Rows
from mlsys.text import counted

NAME = "time_travel"

# Floating-point sums in another order differ in their last bits; a leak changes a feature by more than that.
RELATIVE_TOLERANCE = 1e-9


def time_travel(subject: AuditSubject, *, sample: int) -> AuditCheck:
    """Rebuild a sample of rows with everything after the as-of altered, and fail if a feature changes.

    Entity blocks have no events to alter: they fail if their expression reads the outcome.

    Parameters
    ----------
    subject : AuditSubject
        The run to check.
    sample : int
        Number of rows. Converters and entities with later activity are preferred: leaks show most in them.
    """
    rebuild = subject.rebuild
    if rebuild is None:
        return AuditCheck.not_applicable(NAME, "a flat table contains its features, so there are no events to alter.")
    rows = _sample(subject, sample, np.arange(len(subject.labels)))
    leaking = _changed(*rebuild.pairs(rows)) or _changed_by_others(subject, rebuild, rows, sample)
    leaking = list(dict.fromkeys([*leaking, *rebuild.outcome_readers]))
    if leaking:
        message = (
            f"{len(leaking):,} of {counted(len(subject.panel.names), 'feature')} "
            f"{'depends' if len(leaking) == 1 else 'depend'} on the future or the outcome: {listed(leaking)}. All "
            "numbers of this run are therefore too good. Compute features from visible events only (an EventBlock sees "
            "no others), or leave the block out."
        )
        return AuditCheck(NAME, "fail", len(leaking), 0, message)
    undated = rebuild.snapshot_features
    message = (
        f"No feature changed in {counted(len(rows), 'panel row')} rebuilt with all later events and outcomes altered."
    )
    if undated:
        message += f" Attributes without a time, which may not have been known at the as-of: {listed(undated)}."
    return AuditCheck(NAME, "pass", 0, 0, message)


def _changed_by_others(subject: AuditSubject, rebuild: Rebuild, rows: pd.DataFrame, sample: int) -> list[str]:
    """Return the columns of table blocks that depend on later events of other entities."""
    if not rebuild.table_blocks:
        return []
    as_of = rows["as_of"].mode().iloc[0]
    same = np.flatnonzero((subject.panel.frame["as_of"] == as_of).to_numpy())
    return _changed(*rebuild.isolated_pairs(_sample(subject, sample, same)))


def _sample(subject: AuditSubject, size: int, among: Rows) -> pd.DataFrame:
    """Draw rows at random: up to a quarter positive, up to a half with later activity, and any others."""
    rng = np.random.default_rng([subject.seed, len(among)])
    positive, active_later = subject.labels[among], _active_later(subject.panel.frame)[among]
    pools = [(positive, size // 4), (active_later & ~positive, size // 2), (np.ones(len(among), dtype=bool), size)]
    chosen: Rows = np.empty(0, dtype=np.int64)
    for pool, quota in pools:
        left = np.setdiff1d(among[pool], chosen)
        chosen = np.append(chosen, rng.permutation(left)[: min(quota, size - len(chosen))])
    return subject.panel.frame[["id", "as_of"]].iloc[np.sort(chosen)]


def _active_later(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return the mask of rows whose entity is active at a later as-of."""
    entity, times = pd.factorize(frame["id"])[0], frame["as_of"].to_numpy().astype(np.int64)
    active = frame["activity"].to_numpy() > 0
    last = np.full(len(frame), np.iinfo(np.int64).min)
    np.maximum.at(last, entity[active], times[active])
    return np.asarray(times < last[entity])


def _changed(original: pd.DataFrame, altered: pd.DataFrame) -> list[str]:
    """Return the names of the columns that differ, in descending order of the number of rows."""
    fractions = {str(name): _changed_fraction(original[name], altered[name]) for name in original.columns}
    return sorted((name for name, fraction in fractions.items() if fraction > 0), key=lambda name: -fractions[name])


def _changed_fraction(original: pd.Series, altered: pd.Series) -> float:
    """Return the fraction of rows in which a column differs; missing values equal each other."""
    present = original.notna().to_numpy() & altered.notna().to_numpy()
    changed = original.isna().to_numpy() != altered.isna().to_numpy()
    before, after = original[present].to_numpy(), altered[present].to_numpy()
    differs = before != after
    if pd.api.types.is_numeric_dtype(original):
        scale = np.abs(before[np.isfinite(before)]).max(initial=0.0)
        differs &= ~np.isclose(before, after, rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE * scale)
    changed[present] = differs
    return float(changed.mean())
