"""Small tables and curves of a finished run, for trackers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.curves import Ranking, reliability
from mlsys.evaluation.leads import top_leads
from mlsys.runs import Run

POINTS = 101  # points per curve
MAX_LEADS = 50
MAX_FEATURES = 50


def tables(run: Run) -> dict[str, pd.DataFrame]:
    """Return the feature importances, the top leads of the latest fold, and the candidates of a choice of the model."""
    frames = {}
    if "selection.json" in run.manifest.files:
        columns = ["name", "status", "folds", "value", "seconds", "reason"]
        frames["selection"] = pd.DataFrame(run.read_json("selection.json")["candidates"])[columns]
    if "importances.json" in run.manifest.files:
        frames["importances"] = pd.DataFrame(run.read_json("importances.json")).head(MAX_FEATURES)
    if "predictions.parquet" in run.manifest.files:
        frames["top_leads"] = top_leads(run.predictions, MAX_LEADS)
    return frames


def curves(run: Run) -> dict[str, pd.DataFrame]:
    """Return ROC, precision-recall and gain curves, averaged over folds, and calibration, from complete labels only."""
    if "predictions.parquet" not in run.manifest.files:
        return {}
    rows = run.predictions[run.predictions["label_complete"]]
    rankings = [
        Ranking.of(fold["probability"], fold["label"], fold.get(SAMPLING_WEIGHT)) for _, fold in rows.groupby("fold")
    ]
    drawable = [ranking for ranking in rankings if ranking.drawable]
    if not drawable:
        return {}
    x = np.linspace(0, 1, POINTS)
    bins = reliability(rows["probability"], rows["label"], weight=rows.get(SAMPLING_WEIGHT))

    def mean(axes: tuple[str, str], name: str) -> pd.DataFrame:
        return pd.DataFrame({axes[0]: x, axes[1]: np.mean([getattr(each, name)(x) for each in drawable], axis=0)})

    return {
        "pr": mean(("recall", "precision"), "precision_at"),
        "roc": mean(("false_positive_rate", "true_positive_rate"), "sensitivity_at"),
        "gain": mean(("fraction_of_rows", "fraction_of_positives"), "gain_at"),
        "calibration": pd.DataFrame({"predicted": bins.predicted, "observed": bins.observed}),
    }
