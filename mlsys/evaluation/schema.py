"""Describe a model's inputs: schema.json for clients that send rows, reference.json for drift monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlsys.data.panel import Panel, Treatment
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.pipeline.weights import Weights, mean, taken
from mlsys.runs.input_column import MAX_LISTED, NUMBER, TEXT
from mlsys.runs.model_outputs import ModelOutput

QUANTILES = np.linspace(0, 1, 11)


def input_schema(
    panel: Panel,
    rows: pd.DataFrame,
    *,
    names: dict[str, str | None],
    outputs: Sequence[ModelOutput] = (),
) -> dict[str, Any]:
    """Describe the model's inputs, based on its training rows, and its outputs.

    Parameters
    ----------
    panel : Panel
        Panel with names, units and descriptions of the features.
    rows : DataFrame
        Training rows of the final model.
    names : dict
        Names of ``id``, ``as_of``, ``target`` and ``positive`` in the raw data.
    outputs : sequence of ModelOutput
        What the model gives beside its probability.

    Returns
    -------
    dict
        The content of schema.json.
    """
    inputs: list[dict[str, Any]] = []
    arms = panel.treatment if outputs else None  # other models read the treatment as any column
    for feature in panel.features:
        column = rows[feature.name]
        present = column.dropna()
        entry: dict[str, Any] = {
            "name": feature.name,
            "dtype": TEXT if feature.kind == "category" else NUMBER,
            # A column without missing values in training is not nullable: the model never learned to handle them. The
            # treatment may be missing where the model gives the effect of it: that of a new lead is not known yet.
            "nullable": bool(column.isna().any()) or (arms is not None and feature.name == arms.column),
        }
        if feature.kind == "category":
            entry["categories"] = sorted(str(level) for level in present.value_counts().index[:MAX_LISTED])
            entry["example"] = str(present.mode().iloc[0]) if len(present) else None
        elif len(present):
            entry |= {
                "min": float(present.min()),
                "max": float(present.max()),
                "example": float(present.iloc[len(present) // 2]),
            }
        else:
            entry["example"] = None
        if feature.unit:
            entry["unit"] = feature.unit
        if arms is not None and feature.name == arms.column:
            entry["allowed"] = _allowed(arms)
        entry["description"] = feature.description
        inputs.append(entry)
    described = [output._asdict() for output in outputs]
    return {"inputs": inputs, **names} | ({"outputs": described} if described else {})


def _allowed(treatment: Treatment) -> list[dict[str, Any]]:
    """Return the values of the two arms: in any other, the model has no probability."""
    values = sorted(zip((treatment.treated, treatment.control), treatment.names, strict=True))
    return [{"cell": cell, "value": value} for value, cell in values]


def reference(
    panel: Panel, rows: pd.DataFrame, probability: pd.Series[Any], weights: pd.Series[float] | None = None
) -> dict[str, Any]:
    """Describe the distributions of inputs and probabilities, as a reference for drift monitoring.

    If rows stand for others that were left out, the distributions are those of all rows.

    Parameters
    ----------
    panel : Panel
        Panel with names and kinds of the features.
    rows : DataFrame
        Training rows of the final model.
    probability : Series of float64
        Out-of-fold probabilities.
    weights : Series of float64, optional
        Rows that each row with a probability stands for.

    Returns
    -------
    dict
        For each number its missing rate, mean, standard deviation and deciles; for each category its missing rate and
        the relative frequency of each level.
    """
    of_rows = rows[SAMPLING_WEIGHT].to_numpy(dtype=np.float64) if SAMPLING_WEIGHT in rows else None
    features = {
        feature.name: (_category if feature.kind == "category" else _number)(rows[feature.name], of_rows)
        for feature in panel.features
    }
    of_probability = None if weights is None else np.asarray(weights, dtype=np.float64)
    return {"rows": len(rows), "features": features, "probability": _number(probability, of_probability)}


def _number(column: pd.Series[Any], weights: Weights) -> dict[str, Any]:
    present, known = column.dropna().to_numpy(dtype=np.float64), taken(weights, column.notna().to_numpy())
    summary: dict[str, Any] = {"kind": "number", "missing": _missing(column, weights)}
    if len(present):
        centre = mean(present, known)
        how: Any = {} if known is None else {"weights": known, "method": "inverted_cdf"}
        summary |= {
            "mean": centre,
            "std": float(present.std() if known is None else np.sqrt(mean((present - centre) ** 2, known))),
            "quantiles": [float(value) for value in np.quantile(present, QUANTILES, **how)],
        }
    return summary


def _missing(column: pd.Series[Any], weights: Weights) -> float:
    return mean(column.isna().to_numpy(), weights) if len(column) else 0.0


def _category(column: pd.Series[Any], weights: Weights) -> dict[str, Any]:
    if weights is None:
        frequencies = column.value_counts(normalize=True).head(MAX_LISTED)
    else:
        totals = pd.Series(weights, index=column.index).groupby(column).sum()
        frequencies = (totals / totals.sum()).sort_values(ascending=False, kind="stable").head(MAX_LISTED)
    return {
        "kind": "category",
        "missing": _missing(column, weights),
        "levels": {str(level): float(frequency) for level, frequency in sorted(frequencies.items())},
    }
