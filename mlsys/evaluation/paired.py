"""Headline metrics of another model on the same rows, with the interval of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.metric_table import headline_columns
from mlsys.evaluation.metrics import compare_scores


def compared_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of out-of-fold rows that a comparison with another probability needs."""
    columns = ("id", "fold", "label", "probability", SAMPLING_WEIGHT)
    return predictions[[name for name in columns if name in predictions]]


@dataclass(frozen=True)
class PairedBootstrap:
    """Settings of a paired bootstrap clustered on entity.

    Attributes
    ----------
    resamples : int
        0 leaves the intervals empty.
    seed : int
    confidence : float
        In (0, 1).
    """

    resamples: int
    seed: int
    confidence: float

    def compare(self, rows: pd.DataFrame, other: str) -> dict[str, dict[str, Any]]:
        """Compare another probability with the model's, in the headline metrics of the whole ranking.

        Parameters
        ----------
        rows : DataFrame
            Out-of-fold rows with the columns ``id``, ``fold``, ``label``, ``probability`` and `other`, and optionally
            ``sampling_weight``.
        other : str
            Column of the other probability.

        Returns
        -------
        dict of str to dict
            By metric: ``value`` of `other`, ``reference`` (that of ``probability``), and ``difference`` (value minus
            reference) as ``{value, low, high}``. Means over the folds; a metric that is undefined in every fold is left
            out.

        Examples
        --------
        >>> rows = pd.DataFrame({"id": range(12), "fold": 0, "label": [0, 1] * 6, "probability": [0.1, 0.7] * 6})
        >>> PairedBootstrap(50, 0, 0.95).compare(rows.assign(constant=0.5), "constant")["roc_auc"]
        {'value': 0.5, 'reference': 1.0, 'difference': {'value': -0.5, 'low': -0.5, 'high': -0.5}}
        """
        scores = ["probability", other]
        compared = compare_scores(
            rows, scores, top_k=[1], bootstrap_resamples=self.resamples, seed=self.seed, confidence=self.confidence
        )
        ours, theirs = (compared[name].overall for name in scores)
        differences = compared[other].difference
        return {
            name: {
                "value": theirs[name]["value"],
                "reference": ours[name]["value"],
                "difference": differences[name],
            }
            for name in headline_columns()
            if differences[name]["value"] is not None
        }
