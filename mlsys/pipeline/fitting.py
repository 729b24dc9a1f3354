"""Fits one pipeline on training rows: encode, resample, find the number of trees, fit, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from mlsys.errors import FitError, MlsysError
from mlsys.pipeline.calibration import CalibrationData, Calibrator
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.requirements import learned_prior, requirements_of
from mlsys.pipeline.sampling import resample
from mlsys.pipeline.stopping import EarlyStopper, IterationCallback, ValidationSet, validation_weights
from mlsys.pipeline.traits import traits_of
from mlsys.runs.calibration import Calibration

logger = logging.getLogger(__name__)

Labels: TypeAlias = NDArray[np.int8]
Labelled: TypeAlias = tuple[pd.DataFrame, Labels]
Scored: TypeAlias = tuple[NDArray[np.float64], Labels]


@dataclass(frozen=True)
class PipelineSpec:
    """Everything that decides a fit, besides the rows.

    Attributes
    ----------
    encoder, sampler, estimator, calibrator
        Unfitted components of their groups; the sampler may be None.
    numbers, categories : sequence of str
        The panel's columns.
    stop_after : int or None
        Trees without a better log loss until boosting stops; None for no early stopping.
    validation_fraction : float
        Share of the training rows, the latest by time, that decide it.
    threads : int
        Of each fit.
    watch : IterationCallback or None
        Follows the fit that decides the number of trees.
    """

    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    numbers: Sequence[str]
    categories: Sequence[str]
    stop_after: int | None = 50
    validation_fraction: float = 0.2
    threads: int = 1
    watch: IterationCallback | None = None

    @property
    def stops_early(self) -> bool:
        """Whether the estimator grows trees until they stop helping."""
        return self.stop_after is not None and traits_of(self.estimator).early_stopping is not None

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


def fit(recipe: PipelineSpec, rows: Training) -> Fitted:
    """Fit a pipeline on training rows.

    Raises
    ------
    FitError
        With fewer than two classes, or where a sampler or the estimator refuses the rows.
    """
    _check_classes(rows.labels)
    trees, evidence = _fit_for_validation(recipe, rows) if recipe.needs_validation else (None, (None, None))
    pipeline, prior = _fit(recipe, rows.inputs, rows.labels, trees=trees)
    calibration = recipe.calibrator.fit(CalibrationData(prior, float(rows.labels.mean()), *evidence))
    return Fitted(pipeline, calibration, trees)


def _fit_for_validation(recipe: PipelineSpec, rows: Training) -> tuple[int | None, Scored | tuple[None, None]]:
    """Fit on the earlier rows, to learn from the latest how many trees help and what scores mean."""
    try:
        early, latest = _split_rows(rows)
        pipeline, _ = _fit(recipe, *early, held_out=latest)
    except FitError as error:
        if recipe.calibrator.needs_scores:
            raise FitError(
                f"{error} This calibration learns from the latest training rows, scored by a model of the earlier "
                "ones: use calibration=auto or prior, which do not."
            ) from error
        logger.warning("No early stopping, all configured trees are fitted: %s", error)
        return None, (None, None)
    stopper = traits_of(recipe.estimator).early_stopping if recipe.stops_early else None
    trees = None if stopper is None else stopper.best_iterations(pipeline[-1])
    if not recipe.calibrator.needs_scores:
        return trees, (None, None)
    return trees, (Fitted(pipeline, Calibration.none()).scores(latest[0]), latest[1])


def _split_rows(rows: Training) -> tuple[Labelled, Labelled]:
    """Return the earlier and the latest training rows."""
    parts = []
    for name, mask in (("earlier", rows.early), ("latest", rows.validation)):
        if mask is None or len(np.unique(rows.labels[mask])) < 2:
            raise FitError(f"The {name} training rows hold no converters, or nothing else.")
        parts.append((rows.inputs[mask], rows.labels[mask]))
    return parts[0], parts[1]


def _fit(
    recipe: PipelineSpec,
    inputs: pd.DataFrame,
    labels: Labels,
    *,
    trees: int | None = None,
    held_out: Labelled | None = None,
) -> tuple[Pipeline, float]:
    """Return the fitted pipeline and the prior that its estimator learned."""
    if isinstance(recipe.estimator, VotingClassifier):
        return _fit_vote(recipe, inputs, labels)
    estimator = _prepared(recipe, trees)
    try:
        if traits_of(estimator).reads_panel:
            if recipe.sampler is not None:
                logger.info("%s learns nothing that resampling could change: no sampler", type(estimator).__name__)
            return Pipeline([("model", estimator.fit(inputs, labels))]), learned_prior(estimator, labels)
        return _fit_encoded(recipe, estimator, (inputs, labels), held_out)
    except MlsysError:
        raise
    except Exception as error:
        raise FitError(
            f"{type(estimator).__name__} could not be fitted on {len(labels)} rows with {int(labels.sum())} positive "
            f"ones and {inputs.shape[1]} features: {error}"
        ) from error


def _fit_vote(recipe: PipelineSpec, inputs: pd.DataFrame, labels: Labels) -> tuple[Pipeline, float]:
    """Fit each member with the encoding that suits it: one for all would have to be the poorest, without gaps.

    The vote believes in the mean of what its members believe in, which is exact where all have the same class weights.
    """
    vote = recipe.estimator
    fits = [_fit(replace(recipe, estimator=member), inputs, labels) for _, member in vote.estimators]
    members = [
        (name, FrozenEstimator(pipeline)) for (name, _), (pipeline, _) in zip(vote.estimators, fits, strict=True)
    ]
    averaging = VotingClassifier(members, voting="soft", weights=vote.weights).fit(inputs, labels)
    return Pipeline([("model", averaging)]), float(np.average([prior for _, prior in fits], weights=vote.weights))


def _fit_encoded(
    recipe: PipelineSpec,
    estimator: Any,  # noqa: ANN401
    rows: Labelled,
    held_out: Labelled | None,
) -> tuple[Pipeline, float]:
    traits = traits_of(estimator)
    encoder = recipe.encoder.build(recipe.numbers, recipe.categories, requirements_of(estimator, recipe.sampler))
    encoded, labels = encoder.fit_transform(*rows), rows[1]
    if recipe.sampler is not None:
        encoded, labels = resample(recipe.sampler, encoded, labels, outputs_of(encoder))
    categories = list(encoded.columns[encoded.dtypes == "category"]) if isinstance(encoded, pd.DataFrame) else []
    options: dict[str, Any] = {traits.categories_argument: categories} if traits.categories_argument else {}
    if held_out is not None and recipe.stop_after is not None and traits.early_stopping is not None:
        weights = _validation_weights(traits.early_stopping, estimator, held_out[1], before=rows[1], after=labels)
        validation = ValidationSet(encoder.transform(held_out[0]), held_out[1], weights)
        stopper = traits.early_stopping
        options |= stopper.fit_arguments(estimator, recipe.stop_after, validation, categories, recipe.watch)
    estimator.fit(encoded, labels, **options)
    if not hasattr(estimator, "predict_proba"):
        raise FitError(
            f"{type(estimator).__name__} gives no probabilities as it is configured (it has no predict_proba): set the "
            "parameter that makes it give them, or use another model."
        )
    if recipe.watch is not None and held_out is not None:
        recipe.watch.raise_if_stopped()
    _score_with_one_thread(estimator)
    return Pipeline([("encoder", encoder), ("model", estimator)]), learned_prior(estimator, labels)


def _validation_weights(
    stopper: EarlyStopper,
    estimator: Any,  # noqa: ANN401
    labels: Labels,
    *,
    before: Labels,
    after: Labels,
) -> NDArray[np.float64] | None:
    """Weigh held-out labels as the training labels before and after resampling, and class weights, ask for."""
    learned = float(after.mean()) if stopper.applies_class_weights else learned_prior(estimator, after)
    return validation_weights(labels, prior=float(before.mean()), learned_prior=learned)


def _prepared(recipe: PipelineSpec, trees: int | None) -> Any:  # noqa: ANN401
    estimator, traits = clone(recipe.estimator), traits_of(recipe.estimator)
    parameters = dict(traits.fit_parameters)
    if traits.threads is not None:
        parameters[traits.threads] = recipe.threads
    if traits.iterations is not None and trees is not None:
        parameters[traits.iterations] = trees
    return estimator.set_params(**parameters)


def _score_with_one_thread(estimator: Any) -> None:  # noqa: ANN401
    """Let a fitted estimator score with one thread: for single rows several are slower."""
    traits = traits_of(estimator)
    if traits.threads is not None and not traits.threads_fixed_by_fit:
        estimator.set_params(**{traits.threads: 1})


def _check_classes(labels: NDArray[np.int8]) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        kind = "negative" if positives == 0 else "positive"
        raise FitError(
            f"All {len(labels)} training rows are {kind}: there is nothing to tell apart. "
            "Widen data.horizon_days, add earlier as-ofs (data.spine.start), test later ones (split.folds), or check "
            "the outcome."
        )
