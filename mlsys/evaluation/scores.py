"""Write the metrics and predictions of a run; trials use this module alone, because it does not import matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlsys.runs.writer import RunWriter

PREDICTION_COLUMNS = ["id", "as_of", "fold", "label", "label_complete", "score", "probability", "value", "activity"]


def write_scores(writer: RunWriter, metrics: Mapping[str, Any], predictions: pd.DataFrame) -> None:
    """Write metrics.json, folds.parquet and predictions.parquet."""
    writer.write_json("metrics.json", metrics)
    writer.write_parquet("folds.parquet", pd.DataFrame(metrics["folds"]))
    more = [name for name in predictions if name not in (*PREDICTION_COLUMNS, "prevalence")]
    writer.write_parquet("predictions.parquet", predictions[[*PREDICTION_COLUMNS, *more]])
