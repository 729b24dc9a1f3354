"""Performance by the age of a model: how much worse a model is that was trained some folds ago."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlsys.data.panel import Panel
from mlsys.evaluation.backtest import FoldResult
from mlsys.evaluation.metric_table import headline_columns
from mlsys.evaluation.metrics import fold_metrics


def performance_by_age(results: Sequence[FoldResult], panel: Panel) -> list[dict[str, Any]]:
    """Test the model of each fold on the test rows of later folds, beside the models of those folds.

    No further model is fitted. The rows are the same for both models, so that their difference is due to age alone:
    older training rows, and fewer of them.

    Parameters
    ----------
    results : sequence of FoldResult
        Results of a backtest, in the order of time.
    panel : Panel
        The rows that the folds are positions of.

    Returns
    -------
    list of dict
        For each age: ``days`` older than a model of the fold itself (mean), number of ``folds`` that were tested, and
        ``metrics``: for each headline metric of the whole ranking, the ``old`` models' mean and that of the ``new``
        ones on the same folds. Empty for a split that ignores time.

    Examples
    --------
    >>> performance_by_age([], Panel(None, ()))
    []
    """
    names = headline_columns()
    pairs: dict[int, list[tuple[float, dict[str, float], dict[str, float]]]] = defaultdict(list)
    for number, tested in enumerate(results):
        new = _defined(tested.metrics([1]), names)
        inputs = panel.frame.iloc[tested.fold.test][panel.names]  # of the test rows only, not a copy of the panel
        for age, trained in enumerate(reversed(results[:number]), start=1):
            if tested.fold.as_of is None or trained.fold.as_of is None:
                return []
            old = _defined(_measured(trained, tested, inputs), names)
            days = (tested.fold.as_of - trained.fold.as_of).total_seconds() / 86_400
            pairs[age].append((days, old, new))
    return [_entry(pairs[age]) for age in sorted(pairs)]


def _measured(trained: FoldResult, tested: FoldResult, inputs: pd.DataFrame) -> dict[str, float | None]:
    rows = tested.predictions
    scores = trained.fitted.scores(inputs)
    return fold_metrics(rows["label"], trained.fitted.calibration.apply(scores), None, top_k=[1])


def _defined(metrics: dict[str, float | None], names: Sequence[str]) -> dict[str, float]:
    return {name: value for name in names if (value := metrics[name]) is not None}


def _entry(pairs: Sequence[tuple[float, dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    metrics = {
        name: {
            "old": float(np.mean([old[name] for _, old, _ in pairs if name in old])),
            "new": float(np.mean([new[name] for _, _, new in pairs if name in new])),
        }
        for name in headline_columns()
        if any(name in old for _, old, _ in pairs)
    }
    return {"days": float(np.mean([days for days, _, _ in pairs])), "folds": len(pairs), "metrics": metrics}
