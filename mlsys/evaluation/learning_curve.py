"""Learning curve: performance with fewer entities to learn from, for the question whether more data would help."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlsys.data.panel import Panel
from mlsys.errors import FitError
from mlsys.evaluation.backtest import BacktestPlan, FoldResult, refit_folds
from mlsys.evaluation.paired import PairedBootstrap, compared_rows
from mlsys.evaluation.splits import Fold, Rows
from mlsys.pipeline.inner_folds import shuffled_groups
from mlsys.text import counted

logger = logging.getLogger(__name__)

MIN_POSITIVES = 10  # positive training rows in every fold; with fewer, a point says nothing about the curve
STEP = 0.6180339887498949  # fractional part of the golden ratio: its multiples fill [0, 1) evenly at any length


def learning_curve(
    plan: BacktestPlan,
    panel: Panel,
    results: Sequence[FoldResult],
    fractions: Sequence[float],
    bootstrap: PairedBootstrap,
) -> list[dict[str, Any]]:
    """Fit every fold again on fractions of its entities, and test it on the same rows.

    A smaller fraction of the entities is part of each larger one. Entities with an outcome are as frequent in each.

    Parameters
    ----------
    plan : BacktestPlan
    panel : Panel
    results : sequence of FoldResult
        Results on all training rows.
    fractions : sequence of float
        In (0, 1).
    bootstrap : PairedBootstrap

    Returns
    -------
    list of dict
        For each fraction, in ascending order: ``fraction``, mean number of training ``rows`` and ``positives`` per
        fold, and ``metrics``, compared with those of all training rows; see `PairedBootstrap.compare`. The last entry
        has all rows and no ``metrics``. Fractions with fewer than 10 positive rows in a fold, or on which a fold cannot
        be fitted, are left out; without any other, the list is empty.
    """
    labels = panel.frame["label"].to_numpy()
    points = []
    for fraction in sorted(fractions):
        folds = [part_of_entities(panel, result.fold, fraction, plan.seed) for result in results]
        trained = [fold.train for fold in folds]
        if (fewest := min(int(labels[rows].sum()) for rows in trained)) < MIN_POSITIVES:
            logger.info(
                "The learning curve has no point at %g%% of the entities: a fold would have %s, fewer than %d",
                100 * fraction,
                counted(fewest, "positive training row"),
                MIN_POSITIVES,
            )
            continue
        logger.info("Learning curve: every fold again on %g%% of the entities", 100 * fraction)
        try:
            rows = compared_rows(refit_folds(plan, panel, folds))
        except FitError as error:  # for example, calibration=sigmoid needs converters among its validation rows
            logger.warning("The learning curve has no point at %g%% of the entities: %s", 100 * fraction, error)
            continue
        rows = rows.rename(columns={"probability": "part"})
        rows["probability"] = np.concatenate([result.predictions["probability"] for result in results])
        points.append(_point(trained, labels, fraction) | {"metrics": bootstrap.compare(rows, "part")})
    return [*points, _point([result.fold.train for result in results], labels, 1.0)] if points else []


def _point(trained: Sequence[Rows], labels: Any, fraction: float) -> dict[str, Any]:  # noqa: ANN401 - an ndarray of labels
    return {
        "fraction": fraction,
        "rows": float(np.mean([len(rows) for rows in trained])),
        "positives": float(np.mean([labels[rows].sum() for rows in trained])),
    }


def part_of_entities(panel: Panel, fold: Fold, fraction: float, seed: int) -> Fold:
    """Return a fold with the training rows of a fraction of its entities."""
    group, label = (panel.frame[name].to_numpy()[fold.train] for name in ("group", "label"))
    ranks, codes = shuffled_groups(group, label, seed)
    chosen = ranks * STEP % 1 < fraction
    left_out = np.unique(group)[~chosen]
    partial = fold.partial[~np.isin(panel.frame["group"].to_numpy()[fold.partial], left_out)]
    return replace(fold, train=fold.train[chosen[codes]], partial=partial)
