"""Fit one pipeline on training rows: encode, resample, choose the number of iterations, fit, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.errors import EstimatorError, FitError, MlsysError, OneClassError, RowsError
from mlsys.pipeline.calibration import CalibrationData, Calibrator
from mlsys.pipeline.choosing import Cap, Choice, with_choice
from mlsys.pipeline.class_weights import class_weights_in_library_form
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.composites import Composite, MemberRows, PartialRows, composite_of, details_of
from mlsys.pipeline.copies import is_estimator, unfitted
from mlsys.pipeline.encoders import Encoder, outputs_of
from mlsys.pipeline.library_errors import plain_reason
from mlsys.pipeline.regularisation import AutoParameter, choose, converters, log_losses, tolerance
from mlsys.pipeline.requirements import learned_prior, requirements_of
from mlsys.pipeline.sampling import resample
from mlsys.pipeline.scores import scores_of
from mlsys.pipeline.stopping import (
    ITERATIONS_WITHOUT_VALIDATION,
    EarlyStopper,
    EncodedRows,
    IterationCallback,
    ValidationSet,
    validation_weights,
)
from mlsys.pipeline.traits import traits_of
from mlsys.runs.calibration import Calibration
from mlsys.text import counted, joined

logger = logging.getLogger(__name__)

NEEDS_SCORES = (
    "This calibration is fitted on the latest training rows, scored by a model of the earlier ones. Use "
    "calibration=auto or prior, which need no such scores."
)

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
    def auto(self) -> list[AutoParameter]:
        """The parameters for regularisation that are ``auto``."""
        return [each for each in traits_of(self.estimator).regularisation if each.is_auto(self.estimator)]

    @property
    def chooses(self) -> bool:
        """Whether the validation rows determine a parameter of the model or of a member."""
        members = self.members() if self.members_choose else {}
        return self.stops_early or bool(self.auto) or any(each.chooses for each in members.values())

    @property
    def members_choose(self) -> bool:
        """Whether the validation rows can choose for the members of a composite; see `Composite.learns_labels`."""
        composite = composite_of(self.estimator)
        return composite is not None and composite.learns_labels

    @property
    def details(self) -> tuple[str, ...]:
        """Columns of the panel beyond the features that a fit needs; see `Training`."""
        own = details_of(self.estimator)
        return (*own, "group") if self.chooses and "group" not in own else own

    @property
    def uses_partial_rows(self) -> bool:
        """Whether a fit also uses rows younger than the horizon; see `Training.partial`."""
        return DAYS_KNOWN in self.details

    @property
    def needs_validation(self) -> bool:
        """Whether some training rows are held out for validation first."""
        return self.chooses or self.calibrator.needs_scores

    def members(self) -> dict[str, PipelineSpec]:
        """Return how to fit each member of a composite, by config key below ``model``; empty for a single model."""
        composite = composite_of(self.estimator)
        members = {} if composite is None else composite.unfitted_members()
        return {key: replace(self, estimator=member, callback=None) for key, member in members.items()}


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
        The other columns of the panel that `PipelineSpec.details` names; None if the rows have no times, and are each a
        group of its own.
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
        if self.details is None:
            rows = MemberRows.without_times(self.inputs, self.labels)._replace(partial=self.partial)
        else:
            rows = MemberRows(self.inputs, self.labels, self.details, self.partial)
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
    choice : Choice
        Parameters that the validation rows decided.
    """

    pipeline: Pipeline
    calibration: Calibration
    choice: Choice = field(default_factory=Choice)

    @property
    def iterations(self) -> int | None:
        """Number of iterations that early stopping chose; None without early stopping."""
        return self.choice.iterations

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
        return scores_of(self.pipeline, inputs)


def fit(spec: PipelineSpec, rows: Training) -> Fitted:
    """Fit a pipeline on training rows.

    Raises
    ------
    FitError
        If there are fewer than two classes, or the sampler or the estimator cannot be fitted on these rows.
    """
    _check_classes(rows.labels)
    choice = _choice(spec, rows)
    chosen = replace(spec, estimator=with_choice(spec.estimator, choice))
    scored = _validation_scores(chosen, rows) if spec.calibrator.needs_scores else (None, None)
    pipeline, prior = _fit(chosen, rows.rows())
    calibration = spec.calibrator.fit(CalibrationData(prior, float(rows.labels.mean()), *scored))
    return Fitted(pipeline, calibration, choice)


def _choice(spec: PipelineSpec, rows: Training) -> Choice:
    """Choose on the validation rows; for the members of a composite separately."""
    if spec.members() and not spec.members_choose:
        return _by_rule(spec, rows)
    members = {key: _choice(member, rows) for key, member in spec.members().items()}
    if members or not spec.chooses:
        return Choice(members=members)
    choice = _by_rule(spec, rows)
    compared = next((each for each in spec.auto if each.compared), None)
    if compared is None and not spec.stops_early:
        return choice
    try:
        early, latest = _split_rows(rows)
        if compared is not None:
            choice = _regularisation(spec, choice, compared, early, latest)
        return _with_iterations(spec, choice, early, latest) if spec.stops_early else choice
    except RowsError as error:
        return _without_validation(spec, choice, error)


def _by_rule(spec: PipelineSpec, rows: Training) -> Choice:
    """Return the regularisation that the number of converters alone decides."""
    count = converters(rows.labels, rows.rows().groups())
    values = {each.name: each.values[each.start(count)] for each in spec.auto}
    return Choice(values=values, members={key: _by_rule(member, rows) for key, member in spec.members().items()})


def _regularisation(
    spec: PipelineSpec, by_rule: Choice, parameter: AutoParameter, early: MemberRows, latest: MemberRows
) -> Choice:
    """Choose how strongly to regularise: fit several values on the earlier rows, and compare them on the latest."""
    values = [Choice(values={**by_rule.values, parameter.name: value}) for value in parameter.values]
    encoded = _encode(spec, spec.estimator, early)

    def losses(position: int) -> NDArray[np.float64]:
        estimator = with_choice(spec.estimator, values[position])
        pipeline, learned = _fit(replace(spec, estimator=estimator), early, encoded=encoded)
        corrected = Calibration.prior(learned, float(early.labels.mean()))
        return log_losses(corrected.apply(Fitted(pipeline, corrected).scores(latest.inputs)), latest.labels)

    groups = latest.groups()
    errors = tolerance(converters(latest.labels, groups))
    start = parameter.values.index(by_rule.values[parameter.name])
    return values[choose(start, len(values), losses, groups, errors)]


def _with_iterations(spec: PipelineSpec, choice: Choice, early: MemberRows, latest: MemberRows) -> Choice:
    """Add the best number of iterations, by early stopping on the latest rows."""
    traits, rounds = traits_of(spec.estimator), spec.stop_after
    assert traits.early_stopping is not None
    assert traits.iterations is not None
    assert rounds is not None
    pipeline, _ = _fit(replace(spec, estimator=with_choice(spec.estimator, choice)), early, held_out=latest)
    best, limit = traits.early_stopping.best_iterations(pipeline[-1]), _configured_iterations(spec.estimator)
    cap = Cap(traits.iterations, limit) if limit is not None and best > limit - rounds else None
    return replace(choice, iterations=best, values={**choice.values, traits.iterations: best}, cap=cap)


def _configured_iterations(estimator: Any) -> int | None:  # noqa: ANN401 - one whose library stops early
    count: int | None = estimator.get_params(deep=False).get(traits_of(estimator).iterations)
    return count


def _without_validation(spec: PipelineSpec, choice: Choice, error: RowsError) -> Choice:
    """Return what to use where the validation rows cannot choose, with a warning."""
    if spec.calibrator.needs_scores:
        raise RowsError(f"{error} {NEEDS_SCORES}") from error
    used = [f"{name}={value:g}" for name, value in choice.values.items()]
    traits = traits_of(spec.estimator)
    if spec.stops_early and traits.iterations is not None:
        limit = _configured_iterations(spec.estimator) or ITERATIONS_WITHOUT_VALIDATION
        count = min(limit, ITERATIONS_WITHOUT_VALIDATION)
        choice = replace(choice, values={**choice.values, traits.iterations: count})
        logger.warning("No early stopping; fitting %s: %s", joined([counted(count, "iteration"), *used]), error)
    else:
        logger.warning("Nothing to choose %s by; using %s: %s", joined(list(choice.values)), joined(used), error)
    return choice


def _validation_scores(spec: PipelineSpec, rows: Training) -> ScoresAndLabels:
    """Return the scores of the latest rows by a model of the earlier ones, and their labels."""
    try:
        early, latest = _split_rows(rows)
        pipeline, _ = _fit(spec, early)
    except RowsError as error:
        raise RowsError(f"{error} {NEEDS_SCORES}") from error
    return Fitted(pipeline, Calibration.none()).scores(latest.inputs), latest.labels


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
            return Pipeline([("model", estimator.fit(inputs, labels))]), learned_prior(estimator, labels)
        if target is not None:
            return _fit_regression(spec, estimator, rows, target), float(labels.mean())
        return _fit_encoded(spec, estimator, rows, held_out, encoded or _encode(spec, estimator, rows))
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


class Encoded(NamedTuple):
    """Rows as an estimator gets them: the fitted encoder, and encoded and resampled rows with their labels."""

    encoder: Any
    X: Any
    labels: Labels


def _encode(spec: PipelineSpec, estimator: Any, rows: MemberRows) -> Encoded:  # noqa: ANN401
    numbers = [*spec.numbers, *spec.added]
    encoder = spec.encoder.build(numbers, spec.categories, requirements_of(estimator, spec.sampler))
    X, labels = _encoded(encoder, spec.encoder, rows), rows.labels
    if spec.sampler is not None:
        X, labels = resample(spec.sampler, X, labels, outputs_of(encoder))
    return Encoded(encoder, X, labels)


def _fit_encoded(
    spec: PipelineSpec,
    estimator: Any,  # noqa: ANN401
    rows: MemberRows,
    held_out: MemberRows | None,
    encoded: Encoded,
) -> tuple[Pipeline, float]:
    traits, (encoder, X, labels) = traits_of(estimator), encoded
    names = [name for name in rows.inputs.columns if name not in spec.added]
    estimator.set_params(**_column_arguments(spec, names, encoder))
    categories = list(X.columns[X.dtypes == "category"]) if isinstance(X, pd.DataFrame) else []
    options: dict[str, Any] = {traits.categories_argument: categories} if traits.categories_argument else {}
    if held_out is not None and spec.stop_after is not None and traits.early_stopping is not None:
        weights = _validation_weights(
            traits.early_stopping, estimator, held_out.labels, before=rows.labels, after=labels
        )
        validation = ValidationSet(encoder.transform(held_out.inputs), held_out.labels, weights)
        stopper, training = traits.early_stopping, EncodedRows(X, labels)
        options |= stopper.fit_arguments(estimator, spec.stop_after, training, validation, categories, spec.callback)
    with parallel_config("threading"):  # each process would import every library and copy the rows
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
