"""Compare a candidate with the champion on the test rows that both scored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.rows import Alignment, joint_weights, with_weights
from mlsys.evaluation.formats import bounds, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.evaluation.metrics import ScoreComparison, compare_scores
from mlsys.registry.settings import GateSettings
from mlsys.text import counted


@dataclass(frozen=True)
class Challenge:
    """How a candidate compares with the champion.

    Attributes
    ----------
    same_label : bool
        Whether the shared test rows have the same outcomes; otherwise the models cannot be compared.
    label_message : str
        Which rows were compared, or why none could be.
    passed : bool
        Whether the candidate is worse by no more than the margin.
    message : str
        The difference in the metric, with its interval.
    """

    same_label: bool
    label_message: str
    passed: bool = False
    message: str = ""


def compare_with_champion(champion: Candidate, challenger: Candidate, settings: GateSettings) -> Challenge:
    """Compare a candidate with the champion.

    Rows match if they are the same entity at the same as-of and the label window has ended; the two data sets may be
    of different dates. The interval of the difference is that of `mlsys compare`: a paired bootstrap clustered on
    entity. The candidate passes if even the worse end of the interval is within the margin.

    Parameters
    ----------
    champion, challenger : Candidate
        Both must have predictions.
    settings : GateSettings
    """
    champion_rows, challenger_rows = _complete_rows(champion), _complete_rows(challenger)
    alignment = Alignment([champion_rows, challenger_rows])
    shared = alignment.shared(0, 1)
    if not len(shared):
        return Challenge(
            False,
            f"No test rows in common with the champion ({_test_dates(challenger_rows)}; the champion "
            f"{_test_dates(champion_rows)}).",
        )
    if not alignment.is_certain(0, 1):
        return Challenge(False, "Ids repeat and the rows differ, so the test rows cannot be matched.")
    first, second = champion_rows.iloc[shared.first], challenger_rows.iloc[shared.second]
    unequal = int((first["label"].to_numpy() != second["label"].to_numpy()).sum())
    if unequal:
        has = "has" if unequal == 1 else "have"
        shared_rows = counted(len(shared), "shared test row")
        return Challenge(False, f"{unequal:,} of {shared_rows} {has} a different outcome.")
    rows = first[[name for name in ("id", "fold", "label", "value") if name in first]].reset_index(drop=True)
    seeds = [champion.sample_seed, challenger.sample_seed]
    rows = with_weights(rows, joint_weights([first, second], seeds))
    rows = rows.assign(champion=first["probability"].to_numpy(), candidate=second["probability"].to_numpy())
    same_folds = _in_same_folds(first, second)
    comparisons = compare_scores(
        rows if same_folds else rows.assign(fold=0),
        ["champion", "candidate"],
        top_k=settings.top_k,
        bootstrap_resamples=settings.bootstrap_resamples,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    folds = "" if same_folds else ", ranked together because the folds differ"
    message = f"Same as the champion's on {counted(len(shared), 'shared test row')}{folds}."
    return Challenge(True, message, *_metric_check(comparisons, settings))


def _complete_rows(candidate: Candidate) -> pd.DataFrame:
    """Return the test rows whose outcome can no longer change."""
    rows = candidate.predictions
    assert rows is not None
    return rows[rows["label_complete"].to_numpy(dtype=bool)].reset_index(drop=True)


def _in_same_folds(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether both runs group the rows into the same folds; if not, all rows are ranked together."""
    folds = np.column_stack([first["fold"].to_numpy(), second["fold"].to_numpy()])
    return len(np.unique(folds, axis=0)) == len(np.unique(folds[:, 0])) == len(np.unique(folds[:, 1]))


def _metric_check(comparisons: dict[str, ScoreComparison], settings: GateSettings) -> tuple[bool, str]:
    name, metric = settings.metric, find_metric(settings.metric)
    difference = comparisons["candidate"].difference.get(name)
    value, interval = point(difference), bounds(difference)
    if value is None or interval is None:
        return False, f"{name} is undefined on the shared test rows, so the models cannot be compared."
    worst = max(0.0, -interval[0] if metric.higher_is_better else interval[1])
    passed = worst <= settings.margin or math.isclose(worst, settings.margin)  # 0.72 - 0.70 exceeds 0.02 in floats
    candidate, champion = (
        metric.write(point(comparisons[which].overall.get(name))) for which in ("candidate", "champion")
    )
    return passed, (
        f"{candidate}, the champion's {champion}: {value:+.3g} ({settings.confidence:.0%} interval {interval[0]:+.3g} "
        f"to {interval[1]:+.3g}). It may be up to {worst:.3g} worse; the margin is {settings.margin:g}."
    )


def _test_dates(rows: pd.DataFrame) -> str:
    days = rows["as_of"].dropna()
    if days.empty:
        return f"tested on {counted(len(rows), 'row')} without an as-of"
    return f"tested on as-ofs {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}"
