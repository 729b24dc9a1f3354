"""What a model's inputs look like: schema.json for whoever sends rows, reference.json for whoever watches drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlsys.data.panel import Panel
from mlsys.runs.input_column import MAX_LISTED, NUMBER, TEXT

QUANTILES = np.linspace(0, 1, 11)


def input_schema(panel: Panel, rows: pd.DataFrame, *, names: dict[str, str | None]) -> dict[str, Any]:
    """Describe the model's inputs from the rows that it was fitted on.

    Parameters
    ----------
    panel : Panel
        Names, units and descriptions.
    rows : DataFrame
        Training rows of the final model.
    names : dict
        ``id``, ``as_of``, ``target`` and ``positive`` as people know them.

    Returns
    -------
    dict
        The content of schema.json.
    """
    inputs: list[dict[str, Any]] = []
    for feature in panel.features:
        column = rows[feature.name]
        present = column.dropna()
        entry: dict[str, Any] = {
            "name": feature.name,
            "dtype": TEXT if feature.kind == "category" else NUMBER,
            # A column without a gap in training may have one later, but the model never learned what that means.
            "nullable": bool(column.isna().any()),
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
        entry["description"] = feature.description
        inputs.append(entry)
    return {"inputs": inputs, **names}


def reference(panel: Panel, rows: pd.DataFrame, probability: pd.Series[Any]) -> dict[str, Any]:
    """Describe how inputs and probabilities were distributed, to tell drift from.

    Parameters
    ----------
    panel : Panel
        Names and kinds of the columns.
    rows : DataFrame
        Training rows of the final model.
    probability : Series of float64
        Out-of-fold probabilities.

    Returns
    -------
    dict
        For each number its missing share, mean, standard deviation and deciles; for each category its levels' shares.
    """
    features = {
        feature.name: _category(rows[feature.name]) if feature.kind == "category" else _number(rows[feature.name])
        for feature in panel.features
    }
    return {"rows": len(rows), "features": features, "probability": _number(probability)}


def _number(column: pd.Series[Any]) -> dict[str, Any]:
    present = column.dropna().to_numpy(dtype=np.float64)
    summary: dict[str, Any] = {"kind": "number", "missing": float(column.isna().mean()) if len(column) else 0.0}
    if len(present):
        summary |= {
            "mean": float(present.mean()),
            "std": float(present.std()),
            "quantiles": [float(value) for value in np.quantile(present, QUANTILES)],
        }
    return summary


def _category(column: pd.Series[Any]) -> dict[str, Any]:
    shares = column.value_counts(normalize=True).head(MAX_LISTED)
    return {
        "kind": "category",
        "missing": float(column.isna().mean()) if len(column) else 0.0,
        "levels": {str(level): float(share) for level, share in sorted(shares.items())},
    }
