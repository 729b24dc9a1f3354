"""Fit a configured pipeline on rows: encode, resample and fit, or fit the members of a composite."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from mlsys.data.disk_frame import DiskFrame
from mlsys.errors import EstimatorError, FitError, MlsysError, RowsError
from mlsys.pipeline.class_weights import class_weights_in_library_form, class_weights_of_totals
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.composites import Composite, MemberRows, composite_of
from mlsys.pipeline.copies import is_estimator, unfitted
from mlsys.pipeline.encoded_batches import EncodedBatches, transformed
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.library_errors import plain_reason
from mlsys.pipeline.parameter_rules import broken_rules
from mlsys.pipeline.pipeline_spec import Labels, PipelineSpec
from mlsys.pipeline.requirements import learned_prior, requirements_of
from mlsys.pipeline.sampling import resample, resample_weighted
from mlsys.pipeline.stopping import (
    EncodedRows,
    ValidationSet,
    validation_weights,
)
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.weights import Weights, class_totals, mean
from mlsys.text import counted

logger = logging.getLogger(__name__)


def fit_rows(
    spec: PipelineSpec,
    rows: MemberRows,
    *,
    held_out: MemberRows | None = None,
    encoded: Encoded | None = None,
    target: NDArray[np.float64] | None = None,
) -> tuple[Pipeline, float]:
    """Return the fitted pipeline and the prior that its estimator learned."""
    if (composite := composite_of(spec.estimator)) is not None:
        return _fit_composite(spec, composite, rows)
    inputs, labels = rows.inputs, rows.labels
    estimator = _configured(spec)
    try:
        if traits_of(estimator).reads_panel:
            if spec.sampler is not None:
                logger.info("%s does not depend on resampling: the sampler is skipped", type(estimator).__name__)
            fitted = estimator.fit(inputs, labels, **_weighting(estimator, rows.weights))
            return Pipeline([("model", fitted)]), learned_prior(estimator, labels, rows.weights)
        if target is not None:
            return _fit_regression(spec, estimator, rows, target), rows.prior
        return _fit_encoded(spec, estimator, rows, held_out, encoded or encode(spec, estimator, rows))
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
        return fit_rows(part, rows, target=target)

    if problems := broken_rules(spec.estimator, traits_of(spec.estimator).rules, "model"):
        raise FitError("; ".join(problem.brief for problem in problems))
    estimator, prior = composite.fit_members(fit_member, rows)
    return Pipeline([("model", estimator)]), prior


class Encoded(NamedTuple):
    """Rows as an estimator gets them: the fitted encoder, encoded and resampled rows, their labels and weights."""

    encoder: Any
    X: Any
    labels: Labels
    weights: Weights = None


def encode(spec: PipelineSpec, estimator: Any, rows: MemberRows) -> Encoded:  # noqa: ANN401
    """Fit the encoder on rows; return it with the encoded and resampled rows."""
    numbers = [*spec.numbers, *spec.added]
    encoder = spec.encoder.build(numbers, spec.categories, requirements_of(estimator, spec.sampler))
    X, labels, weights = _encoded(encoder, spec.encoder, rows), rows.labels, rows.weights
    if spec.sampler is None:
        return Encoded(encoder, X, labels, weights)
    selects_batches = isinstance(X, EncodedBatches)  # the sampler only selects rows: it needs to know no values
    values = np.arange(len(labels))[:, np.newaxis] if selects_batches else X
    outputs = outputs_of(encoder)
    if weights is None:
        values, labels = resample(spec.sampler, values, labels, outputs)
    else:
        values, labels, weights = resample_weighted(spec.sampler, values, labels, outputs, weights)
    return Encoded(encoder, X.take(values[:, 0]) if selects_batches else values, labels, weights)


def _fit_encoded(
    spec: PipelineSpec,
    estimator: Any,  # noqa: ANN401
    rows: MemberRows,
    held_out: MemberRows | None,
    encoded: Encoded,
) -> tuple[Pipeline, float]:
    traits, (encoder, X, labels, sample_weights) = traits_of(estimator), encoded
    names = [name for name in rows.inputs.columns if name not in spec.added]
    estimator.set_params(**_column_arguments(spec, names, encoder))
    categories = list(X.columns[X.dtypes == "category"]) if isinstance(X, pd.DataFrame) else []
    options: dict[str, Any] = {traits.categories_argument: categories} if traits.categories_argument else {}
    options |= _weighting(estimator, sample_weights)
    if sample_weights is not None:
        estimator.set_params(**class_weights_of_totals(estimator, *class_totals(labels, sample_weights)))
    if held_out is not None and spec.stop_after is not None and traits.early_stopping is not None:
        learned = (
            mean(labels, sample_weights)
            if traits.early_stopping.applies_class_weights
            else learned_prior(estimator, labels, sample_weights)
        )
        weights = validation_weights(held_out.labels, prior=rows.prior, learned_prior=learned, weights=held_out.weights)
        validation = ValidationSet(transformed(encoder, held_out.inputs), held_out.labels, weights)
        stopper, training = traits.early_stopping, EncodedRows(X, labels, sample_weights)
        options |= stopper.fit_arguments(estimator, spec.stop_after, training, validation, categories, spec.callback)
    with parallel_config("threading"):  # each process would import every library and copy the rows
        if isinstance(X, EncodedBatches):
            assert traits.fit_batches is not None  # as is checked in the config
            traits.fit_batches(estimator, X, labels, **options)
        else:
            estimator.fit(**{"X": X, "y": labels, **options})
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
    _prepare_scoring(estimator)
    return Pipeline([("encoder", encoder), ("model", estimator)]), learned_prior(estimator, labels, sample_weights)


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
    options: dict[str, Any] = {traits.categories_argument: categories} if traits.categories_argument else {}
    estimator.fit(encoded, target, **options, **_weighting(estimator, rows.weights))
    _prepare_scoring(estimator)
    return Pipeline([("encoder", encoder), ("model", estimator)])


def _encoded(transformer: Any, encoder: Encoder, rows: MemberRows) -> Any:  # noqa: ANN401
    try:
        if isinstance(rows.inputs, DiskFrame):
            return transformed(transformer.fit(rows.inputs, rows.labels), rows.inputs)
        return transformer.fit_transform(rows.inputs, rows.labels)
    except Exception as error:
        raise RowsError(
            f"The encoder {type(encoder).__name__} could not be fitted on {_described(rows.inputs, rows.labels)}: "
            f"{plain_reason(error)} Use another encoder (encoder=native always works), or add rows."
        ) from error


def _described(inputs: pd.DataFrame, labels: Labels) -> str:
    rows, features = counted(len(labels), "row"), counted(inputs.shape[1], "feature")
    return f"{rows} ({int(labels.sum()):,} positive) with {features}"


def _weighting(estimator: Any, weights: Weights) -> dict[str, Any]:  # noqa: ANN401
    """Return the argument of ``fit`` with the rows' weights, if they have any."""
    if weights is None:
        return {}
    if not has_fit_parameter(estimator, "sample_weight"):
        raise FitError(
            f"{type(estimator).__name__} learns from rows without weights (its fit has no sample_weight), which a "
            "sample of the negatives needs. Set data.negatives=1, or use another model."
        )
    return {"sample_weight": weights}


def _configured(spec: PipelineSpec) -> Any:  # noqa: ANN401
    """Return an unfitted copy of the estimator with its class weights and threads set.

    Parameters that refer to columns are left out until the encoded columns are known.
    """
    traits = traits_of(spec.estimator)
    estimator, parameters = unfitted(spec.estimator, without=traits.column_parameters), dict(traits.fit_parameters)
    for each in (estimator, *estimator.get_params(deep=True).values()):
        if is_estimator(each):
            each.set_params(**class_weights_in_library_form(each))
    if traits.threads is not None:
        parameters[traits.threads] = spec.threads
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


def _prepare_scoring(estimator: Any) -> None:  # noqa: ANN401
    """Set a fitted estimator to the CPU, and to one thread: for single rows, more threads are slower."""
    traits = traits_of(estimator)
    device = {} if traits.device is None or not traits.device.is_gpu(estimator) else traits.device.for_scoring()
    if traits.threads is not None and not traits.threads_fixed_by_fit:
        estimator.set_params(**traits.fit_parameters, **device, **{traits.threads: 1})
