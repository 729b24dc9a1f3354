"""A candidate and the champion on the test rows that both scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.rows import Alignment
from mlsys.evaluation.formats import bounds, count, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.evaluation.metrics import ScoreComparison, compare_scores
from mlsys.registry.settings import GateSettings


@dataclass(frozen=True)
class Challenge:
    """How a candidate compares with the champion.

    Attributes
    ----------
    same_label : bool
        Whether the rows that both scored have the same outcomes, so that they can be compared at all.
    label : str
        What was found about that.
    passed : bool
        Whether the candidate is not worse.
    message : str
        By how much it is better or worse, and how sure that is.
    """

    same_label: bool
    label: str
    passed: bool = False
    message: str = ""


def compare_with_champion(champion: Candidate, other: Candidate, settings: GateSettings) -> Challenge:
    """Compare a candidate with the champion.

    Rows are the same entity at the same as-of with its whole label window over; they may come from data of two days.
    The interval of the difference is that of `mlsys compare`: a bootstrap clustered on entity, both models on the same
    draws. The candidate passes if its worse end is no worse than the margin.

    Parameters
    ----------
    champion, other : Candidate
        Both with predictions.
    settings : GateSettings
    """
    ours, theirs = _settled(champion), _settled(other)
    alignment = Alignment([ours, theirs])
    shared = alignment.shared(0, 1)
    if not len(shared):
        return Challenge(
            False, f"No test row is shared with the champion ({_tested(theirs)}; the champion {_tested(ours)})."
        )
    if not alignment.is_certain(0, 1):
        return Challenge(False, "Ids are repeated and the rows differ, so it cannot be told which rows are the same.")
    first, second = ours.iloc[shared.first], theirs.iloc[shared.second]
    unequal = int((first["label"].to_numpy() != second["label"].to_numpy()).sum())
    if unequal:
        return Challenge(False, f"{count(unequal)} of {count(len(shared))} shared test rows have another outcome.")
    rows = first[[name for name in ("id", "fold", "label", "value") if name in first]].reset_index(drop=True)
    rows = rows.assign(champion=first["probability"].to_numpy(), candidate=second["probability"].to_numpy())
    together = _tested_together(first, second)
    found = compare_scores(
        rows if together else rows.assign(fold=0),
        ["champion", "candidate"],
        top_k=settings.top_k,
        bootstrap_resamples=settings.bootstrap_resamples,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    label = f"The same, on {count(len(shared))} shared test rows{'' if together else ', whose folds differ'}."
    return Challenge(True, label, *_verdict(found, settings))


def _settled(candidate: Candidate) -> pd.DataFrame:
    """Return the test rows whose outcome can no longer change."""
    rows = candidate.predictions
    assert rows is not None
    return rows[rows["label_complete"].to_numpy(dtype=bool)].reset_index(drop=True)


def _tested_together(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether rows of one fold are in one fold of the other; else all rows are ranked as one."""
    folds = np.column_stack([first["fold"].to_numpy(), second["fold"].to_numpy()])
    return len(np.unique(folds, axis=0)) == len(np.unique(folds[:, 0])) == len(np.unique(folds[:, 1]))


def _verdict(found: dict[str, ScoreComparison], settings: GateSettings) -> tuple[bool, str]:
    name, text = settings.metric, find_metric(settings.metric)
    difference = found["candidate"].difference.get(name)
    value, ends = point(difference), bounds(difference)
    if value is None or ends is None:
        return False, f"{name} is not defined on the shared test rows, so it cannot be told whether it is worse."
    worst = max(0.0, -ends[0] if text.higher_is_better else ends[1])
    passed = worst <= settings.margin
    own, champions = (text.write(point(found[which].overall.get(name))) for which in ("candidate", "champion"))
    return passed, (
        f"{own}, the champion {champions}: {value:+.3g} ({settings.confidence:.0%} interval {ends[0]:+.3g} to "
        f"{ends[1]:+.3g}), so it may be worse by {worst:.3g}; allowed is {settings.margin:g}."
    )


def _tested(rows: pd.DataFrame) -> str:
    days = rows["as_of"].dropna()
    if days.empty:
        return f"tested on {count(len(rows))} rows without a time"
    return f"tested on as-ofs {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}"
