"""Fits one pipeline on training rows: encode, resample, find the number of trees, fit, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from mlsys.errors import FitError
from mlsys.pipeline.calibration import Calibrator, Evidence
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.needs import learned_prior, library, members_of, needs_of
from mlsys.pipeline.sampling import resample
from mlsys.runs.calibration import Calibration

log = logging.getLogger(__name__)

TREES = {"xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a fit, besides the rows.

    Attributes
    ----------
    encoder, sampler, estimator, calibrator
        Unfitted components of their groups; the sampler may be None.
    numbers, categories : sequence of str
        The panel's columns.
    stop_after : int or None
        Trees without a better log loss until boosting stops; None for no early stopping.
    validation_share : float
        Share of the training rows, the latest by time, that decide it.
    threads : int
        Of each fit.
    """

    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    numbers: Sequence[str]
    categories: Sequence[str]
    stop_after: int | None = 50
    validation_share: float = 0.2
    threads: int = 1

    @property
    def stops_early(self) -> bool:
        """Whether the estimator grows trees until they stop helping."""
        return self.stop_after is not None and library(self.estimator) in TREES

    @property
    def needs_validation(self) -> bool:
        """Whether some training rows are held out first."""
        return self.stops_early or self.calibrator.needs_scores


@dataclass(frozen=True)
class Training:
    """Training rows.

    Attributes
    ----------
    inputs : DataFrame of shape (n_rows, n_features)
    labels : ndarray of int8, shape (n_rows,)
    validation : ndarray of bool, shape (n_rows,), or None
        The rows that are held out first; None where they cannot be told.
    early : ndarray of bool, shape (n_rows,), or None
        The rows whose labels were known when the validation rows begin.
    """

    inputs: pd.DataFrame
    labels: NDArray[np.int8]
    validation: NDArray[np.bool_] | None = None
    early: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline with its calibration.

    Attributes
    ----------
    pipeline : sklearn Pipeline
        Encoder and estimator; the sampler has done its work.
    calibration : Calibration
        From scores to probabilities.
    trees : int or None
        How many were fitted, where early stopping decided it.
    """

    pipeline: Pipeline
    calibration: Calibration
    trees: int | None = None

    def scores(self, inputs: pd.DataFrame) -> NDArray[np.float64]:
        """Return raw scores of panel columns.

        Parameters
        ----------
        inputs : DataFrame of shape (n_rows, n_features)
        """
        return np.asarray(self.pipeline.predict_proba(inputs)[:, 1], dtype=np.float64)


def fit(recipe: Recipe, rows: Training) -> Fitted:
    """Fit a pipeline on training rows.

    Raises
    ------
    FitError
        With fewer than two classes, or where the estimator refuses the rows.
    """
    _check_classes(rows.labels)
    trees, evidence = None, (None, None)
    if recipe.needs_validation and _usable(rows):
        trees, evidence = _look_ahead(recipe, rows)
    elif recipe.calibrator.needs_scores:
        raise FitError(
            "The training rows cannot be parted into earlier and latest ones that both hold converters, which this calibration "
            "needs. Use calibration=auto or prior."
        )
    pipeline, prior = _fit(recipe, rows.inputs, rows.labels, trees=trees)
    calibration = recipe.calibrator.fit(Evidence(prior, float(rows.labels.mean()), *evidence))
    return Fitted(pipeline, calibration, trees)


def _look_ahead(recipe: Recipe, rows: Training) -> tuple[int | None, tuple[NDArray[np.float64], NDArray[np.int8]]]:
    """Fit on the earlier rows, to learn from the latest how many trees help and what scores mean."""
    assert rows.early is not None
    assert rows.validation is not None
    held_out = (rows.inputs[rows.validation], rows.labels[rows.validation])
    pipeline, _ = _fit(recipe, rows.inputs[rows.early], rows.labels[rows.early], held_out=held_out)
    scores = np.asarray(pipeline.predict_proba(held_out[0])[:, 1], dtype=np.float64)
    return _best_trees(pipeline[-1]) if recipe.stops_early else None, (scores, held_out[1])


def _fit(
    recipe: Recipe,
    inputs: pd.DataFrame,
    labels: NDArray[np.int8],
    *,
    trees: int | None = None,
    held_out: tuple[pd.DataFrame, NDArray[np.int8]] | None = None,
) -> tuple[Pipeline, float]:
    estimator = _prepared(recipe, trees)
    needs = needs_of(estimator, recipe.sampler)
    reads_panel = getattr(estimator, "reads_panel", False)
    encoder = recipe.encoder.build(recipe.numbers, recipe.categories, needs)
    encoded = inputs if reads_panel else encoder.fit_transform(inputs, labels)
    resampled = labels
    if recipe.sampler is not None and not reads_panel:
        encoded, resampled = resample(recipe.sampler, encoded, labels, category_mask(encoder))
    options: dict[str, Any] = {}
    if library(estimator) == "catboost":
        options["cat_features"] = [
            column for column in getattr(encoded, "columns", []) if encoded[column].dtype == "category"
        ]
    if held_out is not None and recipe.stops_early:
        valid = (encoder.transform(held_out[0]), held_out[1])
        estimator, extra = _with_stopping(estimator, recipe.stop_after or 0, valid)
        options |= extra
    try:
        estimator.fit(encoded, resampled, **options)
    except FitError:
        raise
    except Exception as error:
        raise FitError(
            f"{type(estimator).__name__} could not be fitted on {len(labels)} rows with {int(labels.sum())} positive ones and "
            f"{inputs.shape[1]} features: {error}"
        ) from error
    _one_thread(estimator)
    steps = [("model", estimator)] if reads_panel else [("encoder", encoder), ("model", estimator)]
    return Pipeline(steps), learned_prior(estimator, resampled)


def _prepared(recipe: Recipe, trees: int | None) -> Any:  # noqa: ANN401
    estimator = clone(recipe.estimator)
    kind = library(estimator)
    parameters: dict[str, Any] = {}
    if kind == "catboost":
        parameters["thread_count"] = recipe.threads
    elif ("n_jobs" in estimator.get_params() and kind in ("xgboost", "lightgbm")) or _is_forest(estimator):
        parameters["n_jobs"] = recipe.threads
    if kind == "xgboost":
        parameters["enable_categorical"] = True
    if trees is not None:
        parameters[TREES[kind]] = trees
    return estimator.set_params(**parameters)


def _is_forest(estimator: object) -> bool:
    return type(estimator).__name__ in ("RandomForestClassifier", "ExtraTreesClassifier")


def _with_stopping(estimator: Any, rounds: int, valid: tuple[Any, NDArray[np.int8]]) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
    """Return the estimator and fit options that make it stop; each library spells it its own way."""
    kind = library(estimator)
    if kind == "xgboost":
        return estimator.set_params(early_stopping_rounds=rounds, eval_metric="logloss"), {
            "eval_set": [valid],
            "verbose": False,
        }
    if kind == "catboost":
        return estimator, {"eval_set": [valid], "early_stopping_rounds": rounds, "use_best_model": True}
    from lightgbm import early_stopping

    return estimator, {
        "eval_set": [valid],
        "eval_metric": "binary_logloss",
        "callbacks": [early_stopping(rounds, first_metric_only=True, verbose=False)],
    }


def _best_trees(estimator: Any) -> int:  # noqa: ANN401
    kind = library(estimator)
    if kind == "xgboost":
        return int(estimator.best_iteration) + 1
    if kind == "catboost":
        return max(int(estimator.tree_count_), 1)
    return max(int(estimator.best_iteration_), 1)


def _one_thread(estimator: Any) -> None:  # noqa: ANN401
    # Scoring single rows with several threads is slower, and the saved model must not depend on this machine.
    if library(estimator) in ("xgboost", "lightgbm") or _is_forest(estimator):
        estimator.set_params(n_jobs=1)


def _usable(rows: Training) -> bool:
    if rows.validation is None or rows.early is None:
        return False
    return all(len(np.unique(rows.labels[part])) == 2 for part in (rows.validation, rows.early))


def _check_classes(labels: NDArray[np.int8]) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        kind = "negative" if positives == 0 else "positive"
        raise FitError(
            f"All {len(labels)} training rows are {kind}: there is nothing to tell apart. "
            "Widen data.horizon_days, add earlier as-ofs (data.spine.start), test later ones (split.folds), or check the outcome."
        )
