"""The plots of a run, as small PNG files with reproducible bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import DataError
from mlsys.evaluation.curves import Floats, Ranking
from mlsys.evaluation.effects import Effect
from mlsys.evaluation.fold_names import fold_name, fold_times
from mlsys.evaluation.report import drawing
from mlsys.evaluation.report.canvas import Words, house_style, render_png
from mlsys.evaluation.report.drawing import PlotData, PlotFold
from mlsys.evaluation.report.effect_plot import draw_effects
from mlsys.evaluation.report.uplift import draw_uplift

COLUMNS = ("as_of", "fold", "label", "label_complete", "score", "probability")
PLOTS: Mapping[str, Callable[[Figure, PlotData], Words]] = {
    "gain": drawing.draw_gain,
    "pr": drawing.draw_precision_recall,
    "roc": drawing.draw_roc,
    "calibration": drawing.draw_calibration,
    "scores": drawing.draw_scores,
    "folds": drawing.draw_folds,
    "importances": drawing.draw_importances,
}


def write_plots(
    folder: Path,
    predictions: pd.DataFrame,
    importances: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    threshold: float | None = None,
    entities: str,
    positives: str,
    effects: Sequence[Effect] = (),
) -> dict[str, Path]:
    """Write a run's plots.

    Parameters
    ----------
    folder : Path
        Folder for the PNG files; created if missing.
    predictions : DataFrame, shape (n_rows, ...)
        Out-of-fold rows with as_of (NaT where the split is not by time), fold, label (0/1), label_complete, score
        (raw), probability (calibrated) and, optionally, activity (the baseline's score; all NaN if there is none) and
        sampling_weight (the rows that a row stands for).
    importances : DataFrame, shape (n_features, 2)
        Columns feature and importance, in any order and unit; may be empty.
    metrics : mapping
        Content of ``metrics.json``; missing metrics are left out of the plots.
    threshold : float, optional
        The operating threshold, marked in the score distribution.
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    effects : sequence of Effect
        What single columns add to the log odds; without any, that plot is left out.

    Returns
    -------
    dict of str to Path
        The files by plot name, in reading order.

    Raises
    ------
    DataError
        If ``predictions`` lacks a column.

    Examples
    --------
    >>> import tempfile
    >>> rows = pd.DataFrame({"as_of": pd.NaT, "fold": 0, "label": [0, 1, 0], "label_complete": True,
    ...                      "score": [0.1, 0.8, 0.3], "probability": [0.1, 0.8, 0.3]})
    >>> with tempfile.TemporaryDirectory() as name:
    ...     list(write_plots(Path(name), rows, pd.DataFrame({"feature": ["x"], "importance": [1.0]}), {},
    ...                      entities="rows", positives="positives"))
    ['gain', 'pr', 'roc', 'calibration', 'scores', 'folds', 'importances']
    """
    missing = [name for name in COLUMNS if name not in predictions]
    if missing:
        raise DataError(
            f"Columns missing from the predictions: {', '.join(missing)}; found {', '.join(map(str, predictions))}. "
            "Pass the content of predictions.parquet."
        )
    folds = [_fold(number, rows) for number, rows in predictions.groupby("fold", sort=True)]
    data = PlotData(
        folds=[fold for fold in folds if fold.model.drawable],
        skipped=[fold.name for fold in folds if not fold.model.drawable],
        score=_floats(predictions["score"]),
        probability=_floats(predictions["probability"]),
        label=_floats(predictions["label"]),
        weight=_weights(predictions),
        importances=importances,
        metrics=metrics,
        threshold=threshold,
        entities=entities,
        positives=positives,
    )
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"uplift": draw_uplift, **PLOTS} if metrics.get("uplift_curve") else PLOTS
    files = {name: folder / f"{name}.png" for name in plots}
    with house_style():
        for name, draw in plots.items():
            files[name].write_bytes(render_png(_bind(draw, data)))
        if effects:
            files["effects"] = folder / "effects.png"
            files["effects"].write_bytes(render_png(lambda figure: draw_effects(figure, effects)))
    return files


def _bind(draw: Callable[[Figure, PlotData], Words], data: PlotData) -> Callable[[Figure], Words]:
    return lambda figure: draw(figure, data)


def _fold(number: object, rows: pd.DataFrame) -> PlotFold:
    label, weight = _floats(rows["label"]), _weights(rows)
    activity = _floats(rows["activity"]) if "activity" in rows else np.full(len(rows), np.nan)
    return PlotFold(
        name=fold_name(fold_times(rows["as_of"].to_numpy(dtype="datetime64[us]")) | {"fold": number}),
        complete=bool(rows["label_complete"].all()),
        model=Ranking.of(_floats(rows["probability"]), label, weight),  # as in metrics.json, not the raw score
        activity=None if np.isnan(activity).all() else Ranking.of(activity, label, weight),
    )


def _weights(rows: pd.DataFrame) -> Floats | None:
    return _floats(rows[SAMPLING_WEIGHT]) if SAMPLING_WEIGHT in rows else None


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
