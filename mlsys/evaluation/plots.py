"""The plots of a run, as small PNG files that repeat byte for byte.

Matplotlib's `Figure` is drawn straight to the Agg canvas: no pyplot, no display. Each file carries its own description
as PNG text, from which the report takes the words for those who cannot see it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mlsys.errors import DataError
from mlsys.evaluation import drawing
from mlsys.evaluation.curves import Floats, Ranking
from mlsys.evaluation.drawing import DPI, HEIGHT, STYLE, WIDTH, Evidence, Fold, Words

COLUMNS = ("as_of", "fold", "label", "label_complete", "score", "probability")
PLOTS: Mapping[str, Callable[[Figure, Evidence], Words]] = {
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
    entities: str = "accounts",
    positives: str = "converters",
) -> dict[str, Path]:
    """Draw a run's plots.

    Parameters
    ----------
    folder : Path
        Where the PNG files go; made if it is missing.
    predictions : DataFrame, shape (n_rows, ...)
        Out-of-fold rows with as_of (NaT where the split is not by time), fold, label (0/1), label_complete, score
        (raw), probability (calibrated) and, optionally, activity (the baseline's score; all NaN means none).
    importances : DataFrame, shape (n_features, 2)
        Columns feature and importance, in any order and unit; may be empty.
    metrics : mapping
        The shape of ``metrics.json``; what is missing there is left out of the plots.
    threshold : float, optional
        The operating threshold, marked among the score distributions.
    entities, positives : str
        What all rows and the positive rows are called, in the plural.

    Returns
    -------
    dict of str to Path
        The files by the name of the plot, in the order in which a reader wants them.

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
    ...     list(write_plots(Path(name), rows, pd.DataFrame({"feature": ["x"], "importance": [1.0]}), {}))
    ['gain', 'pr', 'roc', 'calibration', 'scores', 'folds', 'importances']
    """
    missing = [name for name in COLUMNS if name not in predictions]
    if missing:
        raise DataError(
            f"The plots need the prediction columns {', '.join(missing)}; found {', '.join(map(str, predictions))}. "
            "Pass the out-of-fold predictions as predictions.parquet holds them."
        )
    folds = [_fold(number, rows) for number, rows in predictions.groupby("fold", sort=True)]
    evidence = Evidence(
        folds=[fold for fold in folds if fold.model.drawable],
        skipped=[fold.name for fold in folds if not fold.model.drawable],
        score=_floats(predictions["score"]),
        probability=_floats(predictions["probability"]),
        label=_floats(predictions["label"]),
        importances=importances,
        metrics=metrics,
        threshold=threshold,
        entities=entities,
        positives=positives,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(cast(Any, _house_style())), warnings.catch_warnings():
        # A feature may be named in a script that the bundled font lacks: boxes in a plot are no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return {name: _write(folder / f"{name}.png", draw, evidence) for name, draw in PLOTS.items()}


def _fold(number: object, rows: pd.DataFrame) -> Fold:
    dates = rows["as_of"].dropna().unique()
    label = _floats(rows["label"])
    activity = _floats(rows["activity"]) if "activity" in rows else np.full(len(rows), np.nan)
    return Fold(
        name=f"{pd.Timestamp(dates[0]):%Y-%m-%d}" if len(dates) == 1 else f"fold {number}",
        complete=bool(rows["label_complete"].all()),
        model=Ranking.of(_floats(rows["probability"]), label),  # not the raw score: metrics.json ranks by it too
        activity=None if np.isnan(activity).all() else Ranking.of(activity, label),
    )


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _house_style() -> dict[str, Any]:
    """Return matplotlib's own defaults with our style on top, so that no matplotlibrc changes the bytes."""
    defaults = cast(Mapping[str, Any], mpl.rcParamsDefault)
    # The backend belongs to whoever embeds us, a notebook say; Agg is chosen by its canvas alone.
    return {key: value for key, value in defaults.items() if "backend" not in key} | dict(STYLE)


def _write(path: Path, draw: Callable[[Figure, Evidence], Words], evidence: Evidence) -> Path:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its canvases untyped
    words = draw(figure, evidence)
    size = 9.5 * min(1.0, 54 / len(words.title))  # a longer title would leave the picture
    figure.text(0.03, 1 - 0.08 / figure.get_figheight(), words.title, fontsize=size, fontweight="bold", va="top")
    canvas.draw()
    # Not savefig: a palette makes the file a third of the size, and nothing signs it with matplotlib's version.
    colours = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    indexed = colours.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree rounds white to 254, which would show as a faint box on a white page.
    indexed.putpalette([255 if part >= 252 else part for part in indexed.getpalette() or []])
    described = PngInfo()
    described.add_itxt("Description", words.description)
    indexed.save(path, format="PNG", pnginfo=described, dpi=(DPI, DPI))
    return path
