"""Fit one pipeline on training rows: encode, resample, choose the number of iterations, fit, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.errors import EstimatorError, FitError, MlsysError, OneClassError, RowsError
from mlsys.pipeline.calibration import CalibrationData, Calibrator
from mlsys.pipeline.class_weights import class_weights_in_library_form
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.composites import Composite, MemberRows, PartialRows, composite_of
from mlsys.pipeline.copies import is_estimator, unfitted
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.library_errors import plain_reason
from mlsys.pipeline.requirements import learned_prior, requirements_of
from mlsys.pipeline.sampling import resample
from mlsys.pipeline.stopping import EarlyStopper, IterationCallback, ValidationSet, validation_weights
from mlsys.pipeline.traits import traits_of
from mlsys.runs.calibration import Calibration
from mlsys.text import counted

logger = logging.getLogger(__name__)

Labels: TypeAlias = NDArray[np.int8]
DAYS_KNOWN = "days_known"  # the detail of composites that use rows younger than the horizon
ScoresAndLabels: TypeAlias = tuple[NDArray[np.float64], Labels]


@dataclass(frozen=True)
class PipelineSpec:
    """Everything that determines a fit, except the rows.

    Attributes
    ----------
    encoder, sampler, estimator, calibrator
        Unfitted components of the config groups; the sampler may be None.
    numbers, categories : sequence of str
        Number and category columns of the panel.
    raw_names : mapping of str to str
        Names of the raw table by which the estimator's parameters may also refer to columns; see `Columns`.
    stop_after : int or None
        Number of iterations without a better log loss after which boosting stops; None disables early stopping.
    validation_fraction : float
        Fraction of the training rows, the latest by time, that form the validation set.
    threads : int
        Number of threads per fit.
    callback : IterationCallback or None
        Called after each iteration of the fit that determines the number of iterations.
    added : sequence of str
        Number columns that a composite adds to those of the panel; no parameter can refer to them.
    """

    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    numbers: Sequence[str]
    categories: Sequence[str]
    raw_names: Mapping[str, str] = field(default_factory=dict)
    stop_after: int | None = 50
    validation_fraction: float = 0.2
    threads: int = 1
    callback: IterationCallback | None = None
    added: Sequence[str] = ()

    @property
    def stops_early(self) -> bool:
        """Whether early stopping determines the number of iterations."""
        return self.stop_after is not None and traits_of(self.estimator).early_stopping is not None

    @property
    def details(self) -> tuple[str, ...]:
        """Columns of the panel beyond the features that a fit needs; see `Training`."""
        composite = composite_of(self.estimator)
        return () if composite is None else composite.details

    @property
    def uses_partial_rows(self) -> bool:
        """Whether a fit also uses rows younger than the horizon; see `Training.partial`."""
        return DAYS_KNOWN in self.details

    @property
    def needs_validation(self) -> bool:
        """Whether a first fit holds out some training rows for validation."""
        return self.stops_early or self.calibrator.needs_scores


@dataclass(frozen=True)
class Training:
    """Training rows.

    Attributes
    ----------
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns.
    labels : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    validation : ndarray of bool, shape (n_rows,), or None
        Mask of the validation set: the latest rows, which the first fit holds out.
    early : ndarray of bool, shape (n_rows,), or None
        Mask of the rows for the first fit: those whose labels were known when the validation set begins.
    details : DataFrame of shape (n_rows, n_details), or None
        The other columns of the panel that `PipelineSpec.details` names; None if there are none.
    partial : PartialRows or None
        Rows younger than the horizon, which only the fit on all rows uses.
    """

    inputs: pd.DataFrame
    labels: NDArray[np.int8]
    validation: NDArray[np.bool_] | None = None
    early: NDArray[np.bool_] | None = None
    details: pd.DataFrame | None = None
    partial: PartialRows | None = None

    def rows(self, mask: NDArray[np.bool_] | None = None) -> MemberRows:
        """Return the rows that a mask of shape (n_rows,) selects, by default all."""
        details = pd.DataFrame(index=self.inputs.index) if self.details is None else self.details
        rows = MemberRows(self.inputs, self.labels, details, self.partial)
        return rows if mask is None else rows.take(mask)


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline with its calibration.

    Attributes
    ----------
    pipeline : sklearn Pipeline
        Encoder and estimator, without the sampler.
    calibration : Calibration
        Map from scores to probabilities.
    iterations : int or None
        Number of iterations that early stopping chose; None without early stopping.
    """

    pipeline: Pipeline
    calibration: Calibration
    iterations: int | None = None

    def scores(self, inputs: pd.DataFrame) -> NDArray[np.float64]:
        """Return the raw scores of rows, shape (n_rows,).

        Parameters
        ----------
        inputs : DataFrame of shape (n_rows, n_features)
            Panel columns.

        Raises
        ------
        EstimatorError
            If they are no probabilities, as those of a model with an infinite learning rate.
        """
        scores = np.asarray(self.pipeline.predict_proba(inputs)[:, 1], dtype=np.float64)
        wrong = scores[~((scores >= 0) & (scores <= 1))]
        if len(wrong):
            raise EstimatorError(
                f"{type(self.pipeline[-1]).__name__} gives {len(wrong):,} of {counted(len(scores), 'row')} a score "
                f"that is no probability from 0 to 1, such as {wrong[0]:g}."
            )
        return scores


def fit(spec: PipelineSpec, rows: Training) -> Fitted:
    """Fit a pipeline on training rows.

    Raises
    ------
    FitError
        If there are fewer than two classes, or the sampler or the estimator cannot be fitted on these rows.
    """
    _check_classes(rows.labels)
    iterations, scored = _fit_for_validation(spec, rows) if spec.needs_validation else (None, (None, None))
    pipeline, prior = _fit(spec, rows.rows(), iterations=iterations)
    calibration = spec.calibrator.fit(CalibrationData(prior, float(rows.labels.mean()), *scored))
    return Fitted(pipeline, calibration, iterations)


def _fit_for_validation(spec: PipelineSpec, rows: Training) -> tuple[int | None, ScoresAndLabels | tuple[None, None]]:
    """Fit on the earlier rows; return the best number of iterations, and scores and labels of the validation set."""
    try:
        early, latest = _split_rows(rows)
        pipeline, _ = _fit(spec, early, held_out=latest)
    except RowsError as error:
        if spec.calibrator.needs_scores:
            raise RowsError(
                f"{error} This calibration is fitted on the latest training rows, scored by a model of the earlier "
                "ones. Use calibration=auto or prior, which need no such scores."
            ) from error
        logger.warning("No early stopping; fitting all configured iterations: %s", error)
        return None, (None, None)
    stopper = traits_of(spec.estimator).early_stopping if spec.stops_early else None
    iterations = None if stopper is None else stopper.best_iterations(pipeline[-1])
    if not spec.calibrator.needs_scores:
        return iterations, (None, None)
    return iterations, (Fitted(pipeline, Calibration.none()).scores(latest.inputs), latest.labels)


def _split_rows(rows: Training) -> tuple[MemberRows, MemberRows]:
    """Return the earlier and the latest training rows."""
    parts = []
    for name, mask in (("earlier", rows.early), ("latest", rows.validation)):
        if mask is None or len(np.unique(rows.labels[mask])) < 2:
            raise RowsError(f"The {name} training rows do not contain both classes.")
        parts.append(rows.rows(mask))
    return parts[0], parts[1]


def _fit(
    spec: PipelineSpec,
    rows: MemberRows,
    *,
    iterations: int | None = None,
    held_out: MemberRows | None = None,
    target: NDArray[np.float64] | None = None,
) -> tuple[Pipeline, float]:
    """Return the fitted pipeline and the prior that its estimator learned."""
    if (composite := composite_of(spec.estimator)) is not None:
        return _fit_composite(spec, composite, rows)
    inputs, labels = rows.inputs, rows.labels
    estimator = _configured(spec, iterations)
    try:
        if traits_of(estimator).reads_panel:
            if spec.sampler is not None:
                logger.info("%s does not depend on resampling: the sampler is skipped", type(estimator).__name__)
            return Pipeline([("model", estimator.fit(inputs, labels))]), learned_prior(estimator, labels)
        if target is not None:
            return _fit_regression(spec, estimator, rows, target), float(labels.mean())
        return _fit_encoded(spec, estimator, rows, held_out)
    except MlsysError:
        raise
    except Exception as error:
        raise EstimatorError(
            f"{type(estimator).__name__} could not be fitted on {_described(inputs, labels)}: {plain_reason(error)}"
        ) from error


def _fit_composite(spec: PipelineSpec, composite: Composite, rows: MemberRows) -> tuple[Pipeline, float]:
    def fit_member(
        member: Any,  # noqa: ANN401
        rows: MemberRows,
        target: NDArray[np.float64] | None = None,
    ) -> tuple[Pipeline, float]:
        present = set(rows.inputs.columns)
        numbers, categories = ([name for name in names if name in present] for names in (spec.numbers, spec.categories))
        panel = {*spec.numbers, *spec.categories}
        added = [name for name in rows.inputs.columns if name not in panel]
        part = replace(spec, estimator=member, numbers=numbers, categories=categories, added=added)
        return _fit(part, rows, target=target)

    estimator, prior = composite.fit_members(fit_member, rows)
    return Pipeline([("model", estimator)]), prior


def _fit_encoded(
    spec: PipelineSpec,
    estimator: Any,  # noqa: ANN401
    rows: MemberRows,
    held_out: MemberRows | None,
) -> tuple[Pipeline, float]:
    traits = traits_of(estimator)
    encoder = spec.encoder.build(
        [*spec.numbers, *spec.added], spec.categories, requirements_of(estimator, spec.sampler)
    )
    encoded, labels = _encoded(encoder, spec.encoder, rows), rows.labels
    names = [name for name in rows.inputs.columns if name not in spec.added]
    estimator.set_params(**_column_arguments(spec, names, encoder))
    if spec.sampler is not None:
        encoded, labels = resample(spec.sampler, encoded, labels, outputs_of(encoder))
    categories = list(encoded.columns[encoded.dtypes == "category"]) if isinstance(encoded, pd.DataFrame) else []
    options: dict[str, Any] = {traits.categories_argument: categories} if traits.categories_argument else {}
    if held_out is not None and spec.stop_after is not None and traits.early_stopping is not None:
        stopper = traits.early_stopping
        weights = _validation_weights(stopper, estimator, held_out.labels, before=rows.labels, after=labels)
        validation = ValidationSet(encoder.transform(held_out.inputs), held_out.labels, weights)
        options |= stopper.fit_arguments(estimator, spec.stop_after, validation, categories, spec.callback)
    estimator.fit(encoded, labels, **options)
    if not hasattr(estimator, "predict_proba"):
        raise FitError(
            f"{type(estimator).__name__} does not predict probabilities as configured (it has no predict_proba). Set "
            "the parameter that enables them, or use another model."
        )
    classes = np.asarray(getattr(estimator, "classes_", (0, 1))).tolist()
    if classes != [0, 1]:
        raise FitError(
            f"{type(estimator).__name__} has the classes {classes} instead of [0, 1], so its second probability is not "
            "that of the positive class. Leave out the parameter that sets the classes, such as class_names."
        )
    if spec.callback is not None and held_out is not None:
        spec.callback.raise_if_stopped()
    _score_with_one_thread(estimator)
    return Pipeline([("encoder", encoder), ("model", estimator)]), learned_prior(estimator, labels)


def _fit_regression(
    spec: PipelineSpec,
    estimator: Any,  # noqa: ANN401
    rows: MemberRows,
    target: NDArray[np.float64],
) -> Pipeline:
    """Return a fitted regression of a target on the rows, without resampling; the labels only fit the encoder."""
    traits = traits_of(estimator)
    encoder = spec.encoder.build([*spec.numbers, *spec.added], spec.categories, requirements_of(estimator, None))
    encoded = _encoded(encoder, spec.encoder, rows)
    categories = list(encoded.columns[encoded.dtypes == "category"]) if isinstance(encoded, pd.DataFrame) else []
    estimator.fit(encoded, target, **({traits.categories_argument: categories} if traits.categories_argument else {}))
    _score_with_one_thread(estimator)
    return Pipeline([("encoder", encoder), ("model", estimator)])


def _encoded(transformer: Any, encoder: Encoder, rows: MemberRows) -> Any:  # noqa: ANN401
    try:
        return transformer.fit_transform(rows.inputs, rows.labels)
    except Exception as error:
        raise RowsError(
            f"The encoder {type(encoder).__name__} could not be fitted on {_described(rows.inputs, rows.labels)}: "
            f"{plain_reason(error)} Use another encoder (encoder=native always works), or add rows."
        ) from error


def _described(inputs: pd.DataFrame, labels: Labels) -> str:
    rows, features = counted(len(labels), "row"), counted(inputs.shape[1], "feature")
    return f"{rows} ({int(labels.sum()):,} positive) with {features}"


def _validation_weights(
    stopper: EarlyStopper,
    estimator: Any,  # noqa: ANN401
    labels: Labels,
    *,
    before: Labels,
    after: Labels,
) -> NDArray[np.float64] | None:
    """Return validation weights that match the effect of resampling and class weights on the training rows."""
    learned = float(after.mean()) if stopper.applies_class_weights else learned_prior(estimator, after)
    return validation_weights(labels, prior=float(before.mean()), learned_prior=learned)


def _configured(spec: PipelineSpec, iterations: int | None) -> Any:  # noqa: ANN401
    """Return an unfitted copy of the estimator with its class weights, threads and number of iterations set.

    Parameters that refer to columns are left out until the encoded columns are known.
    """
    traits = traits_of(spec.estimator)
    estimator, parameters = unfitted(spec.estimator, without=traits.column_parameters), dict(traits.fit_parameters)
    for each in (estimator, *estimator.get_params(deep=True).values()):
        if is_estimator(each):
            each.set_params(**class_weights_in_library_form(each))
    if traits.threads is not None:
        parameters[traits.threads] = spec.threads
    if traits.iterations is not None and iterations is not None:
        parameters[traits.iterations] = iterations
    return estimator.set_params(**parameters)


def _column_arguments(spec: PipelineSpec, names: list[str], encoder: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the parameters that refer to columns, translated to the encoded columns."""
    known, given = traits_of(spec.estimator).column_parameters, spec.estimator.get_params(deep=False)
    used = {name: parameter for name, parameter in known.items() if given.get(name) is not None}
    if not used:
        return {}
    columns, outputs = Columns(names, spec.categories, spec.raw_names), outputs_of(encoder)
    arguments = {
        name: parameter.translated(given[name], columns, outputs, given.get(parameter.default_parameter or ""))
        for name, parameter in used.items()
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _score_with_one_thread(estimator: Any) -> None:  # noqa: ANN401
    """Set a fitted estimator to one thread: for single rows, more threads are slower."""
    traits = traits_of(estimator)
    if traits.threads is not None and not traits.threads_fixed_by_fit:
        estimator.set_params(**traits.fit_parameters, **{traits.threads: 1})


def _check_classes(labels: NDArray[np.int8]) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        kind = "negative" if positives == 0 else "positive"
        raise OneClassError(f"All {counted(len(labels), 'training row')} are {kind}, but a model needs both classes.")
