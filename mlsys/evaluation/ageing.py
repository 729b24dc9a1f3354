"""Performance by the age of a model: how much worse a model is that was trained some folds ago."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlsys.data.compact import take_rows
from mlsys.data.panel import Panel
from mlsys.evaluation.backtest import FoldResult
from mlsys.evaluation.paired import PairedBootstrap, compared_rows


def performance_by_age(results: Sequence[FoldResult], panel: Panel, bootstrap: PairedBootstrap) -> list[dict[str, Any]]:
    """Test the model of each fold on the test rows of later folds, beside the models of those folds.

    No further model is fitted. The rows are the same for both models, so that their difference is due to age alone:
    older training rows, and fewer of them.

    Parameters
    ----------
    results : sequence of FoldResult
        Results of a backtest, in the order of time.
    panel : Panel
        The rows that the folds are positions of.
    bootstrap : PairedBootstrap

    Returns
    -------
    list of dict
        For each age: ``days`` older than a model of the fold itself (mean), number of ``folds`` that were tested, and
        ``metrics``: the old models' headline metrics of the whole ranking, compared with those of the folds' own
        models; see `PairedBootstrap.compare`. Empty for a split that ignores time.

    Examples
    --------
    >>> performance_by_age([], Panel(None, ()), PairedBootstrap(0, 0, 0.95))
    []
    """
    tested: dict[int, list[tuple[float, pd.DataFrame]]] = defaultdict(list)
    for number, result in enumerate(results):
        inputs = take_rows(panel.inputs, result.fold.test)
        for age, trained in enumerate(reversed(results[:number]), start=1):
            if result.fold.as_of is None or trained.fold.as_of is None:
                return []
            old = trained.fitted.calibration.apply(trained.fitted.scores(inputs))
            days = (result.fold.as_of - trained.fold.as_of).total_seconds() / 86_400
            rows = compared_rows(result.predictions).assign(old=old)
            tested[age].append((days, rows))
    return [
        {
            "days": float(np.mean([days for days, _ in pairs])),
            "folds": len(pairs),
            "metrics": bootstrap.compare(pd.concat([rows for _, rows in pairs], ignore_index=True), "old"),
        }
        for _, pairs in sorted(tested.items())
    ]
