"""Write the metrics and predictions of a run; trials use this module alone, because it does not import matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlsys.evaluation.timing import DAYS_TO_OUTCOME
from mlsys.runs.hazards import by_day_name, days_of
from mlsys.runs.writer import RunWriter

PREDICTION_COLUMNS = ["id", "as_of", "fold", "label", "label_complete", "score", "probability", "value", "activity"]


def write_scores(writer: RunWriter, metrics: Mapping[str, Any], predictions: pd.DataFrame) -> None:
    """Write metrics.json, folds.parquet and predictions.parquet."""
    timing = [by_day_name(day) for day in days_of(predictions.columns)]
    columns = [*PREDICTION_COLUMNS, *timing, *([DAYS_TO_OUTCOME] if timing else [])]
    writer.write_json("metrics.json", metrics)
    writer.write_parquet("folds.parquet", pd.DataFrame(metrics["folds"]))
    writer.write_parquet("predictions.parquet", predictions[columns])
