"""Time travel: rows rebuilt with another future must have the same features."""

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

# Sums of the same fractions in another order differ in their last bits; a leak moves a feature by more than that.
RELATIVE_TOLERANCE = 1e-9


def time_travel(subject: AuditSubject, *, sample: int) -> AuditCheck:
    """Rebuild a sample of panel rows with all that happened after the as-of altered, and fail where a feature moves.

    Entity blocks have no events to alter: they fail where their expression reads the outcome.

    Parameters
    ----------
    subject : AuditSubject
    sample : int
        How many rows. Converters and entities with later activity come first: they have most to give away.
    """
    rebuild = subject.rebuild
    if rebuild is None:
        return AuditCheck.not_applicable(
            NAME, "the rows come with their features, so there is no later event to alter."
        )
    rows = _sample(subject, sample, np.arange(len(subject.labels)))
    moved = _moved(*rebuild.pairs(rows)) or _moved_by_others(subject, rebuild, rows, sample)
    moved = list(dict.fromkeys([*moved, *rebuild.outcome_readers]))
    if moved:
        message = (
            f"{len(moved)} of {counted(len(subject.panel.names), 'feature')} moved when all that lies after the "
            f"as-of was altered, or read the outcome: {listed(moved)}. What sees the future makes every number of "
            "this run too good. Compute it from visible events only (an EventBlock sees no others), or leave the "
            "block out."
        )
        return AuditCheck(NAME, "fail", len(moved), 0, message)
    undated = rebuild.snapshot_features
    message = (
        f"No feature moved when {counted(len(rows), 'panel row')} were rebuilt with all later events and outcomes "
        "altered. Nothing to do."
    )
    if undated:
        message += (
            " Attributes carry no time, so whether they were known at the as-of could not be checked: "
            f"{listed(undated)}."
        )
    return AuditCheck(NAME, "pass", 0, 0, message)


def _moved_by_others(subject: AuditSubject, rebuild: Rebuild, rows: pd.DataFrame, sample: int) -> list[str]:
    """Name the table blocks' columns that move with what other entities do later: not seen entity by entity."""
    if not rebuild.table_blocks:
        return []
    as_of = rows["as_of"].mode().iloc[0]
    same = np.flatnonzero((subject.panel.frame["as_of"] == as_of).to_numpy())
    return _moved(*rebuild.isolated_pairs(_sample(subject, sample, same)))


def _sample(subject: AuditSubject, size: int, among: Rows) -> pd.DataFrame:
    """Draw rows: up to a quarter positive, up to a half with later activity, the rest anyhow."""
    rng = np.random.default_rng([subject.seed, len(among)])
    positive, goes_on = subject.labels[among], _goes_on(subject.panel.frame)[among]
    pools = [(positive, size // 4), (goes_on & ~positive, size // 2), (np.ones(len(among), dtype=bool), size)]
    chosen: Rows = np.empty(0, dtype=np.int64)
    for pool, quota in pools:
        left = np.setdiff1d(among[pool], chosen)
        chosen = np.append(chosen, rng.permutation(left)[: min(quota, size - len(chosen))])
    return subject.panel.frame[["id", "as_of"]].iloc[np.sort(chosen)]


def _goes_on(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell the rows whose entity is active at a later as-of."""
    entity, times = pd.factorize(frame["id"])[0], frame["as_of"].to_numpy().astype(np.int64)
    active = frame["activity"].to_numpy() > 0
    last = np.full(len(frame), np.iinfo(np.int64).min)
    np.maximum.at(last, entity[active], times[active])
    return np.asarray(times < last[entity])


def _moved(kept: pd.DataFrame, altered: pd.DataFrame) -> list[str]:
    """Name the columns that differ, those that differ in most rows first."""
    shares = {str(name): _share(kept[name], altered[name]) for name in kept.columns}
    return sorted((name for name, share in shares.items() if share > 0), key=lambda name: -shares[name])


def _share(kept: pd.Series, altered: pd.Series) -> float:
    """Return the share of rows in which a column differs; missing equals missing."""
    there = kept.notna().to_numpy() & altered.notna().to_numpy()
    apart = kept.isna().to_numpy() != altered.isna().to_numpy()
    before, after = kept[there].to_numpy(), altered[there].to_numpy()
    differs = before != after
    if pd.api.types.is_numeric_dtype(kept):
        scale = np.abs(before[np.isfinite(before)]).max(initial=0.0)
        differs &= ~np.isclose(before, after, rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE * scale)
    apart[there] = differs
    return float(apart.mean())
