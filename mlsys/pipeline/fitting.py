"""Fit one pipeline on training rows: choose on the validation rows, fit on all rows, calibrate."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.errors import OneClassError, RowsError
from mlsys.pipeline.calibration import CalibrationData
from mlsys.pipeline.choosing import Cap, Choice, with_choice
from mlsys.pipeline.composites import MemberRows
from mlsys.pipeline.pipeline_spec import Labels, PipelineSpec, Training
from mlsys.pipeline.regularisation import AutoParameter, choose, converters, log_losses, tolerance
from mlsys.pipeline.scores import scores_of
from mlsys.pipeline.single_fit import encode, fit_rows
from mlsys.pipeline.stacking import combined_as
from mlsys.pipeline.stopping import (
    ITERATIONS_WITHOUT_VALIDATION,
)
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.weights import Weights
from mlsys.runs.calibration import Calibration
from mlsys.text import counted, joined

logger = logging.getLogger(__name__)

NEEDS_SCORES = (
    "This calibration is fitted on the latest training rows, scored by a model of the earlier ones. Use "
    "calibration=auto or prior, which need no such scores."
)

Scored: TypeAlias = tuple[NDArray[np.float64], Labels, Weights]


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
    everything = rows.rows()
    pipeline, learned = fit_rows(chosen, everything)
    # Scores are comparable only if members are combined alike, so a stack of the earlier rows takes the final weights.
    alike = replace(chosen, estimator=combined_as(chosen.estimator, pipeline[-1]))
    scored = _validation_scores(alike, rows) if spec.calibrator.needs_scores else (None, None, None)
    calibration = spec.calibrator.fit(CalibrationData(learned, everything.prior, *scored))
    return Fitted(pipeline, calibration, choice)


def _choice(spec: PipelineSpec, rows: Training) -> Choice:
    """Choose on the validation rows; for the members of a composite separately."""
    if spec.members() and not spec.members_choose:
        return by_rule(spec, rows)
    members = {key: _choice(member, rows) for key, member in spec.members().items()}
    if members or not spec.chooses:
        return Choice(members=members)
    choice = by_rule(spec, rows)
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


def by_rule(spec: PipelineSpec, rows: Training) -> Choice:
    """Return the regularisation that the numbers of converters and of rows alone decide."""
    count = converters(rows.labels, rows.rows().groups())
    values = {each.name: each.values[each.start(count, len(rows.labels))] for each in spec.auto}
    return Choice(values=values, members={key: by_rule(member, rows) for key, member in spec.members().items()})


def _regularisation(
    spec: PipelineSpec, by_rule: Choice, parameter: AutoParameter, early: MemberRows, latest: MemberRows
) -> Choice:
    """Choose how strongly to regularise: fit several values on the earlier rows, and compare them on the latest."""
    values = [Choice(values={**by_rule.values, parameter.name: value}) for value in parameter.values]
    encoded = encode(spec, spec.estimator, early)

    def losses(position: int) -> NDArray[np.float64]:
        estimator = with_choice(spec.estimator, values[position])
        pipeline, learned = fit_rows(replace(spec, estimator=estimator), early, encoded=encoded)
        corrected = Calibration.prior(learned, early.prior)
        probabilities = corrected.apply(Fitted(pipeline, corrected).scores(latest.inputs))
        return log_losses(probabilities, latest.labels, latest.weights)

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
    pipeline, _ = fit_rows(replace(spec, estimator=with_choice(spec.estimator, choice)), early, held_out=latest)
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


def _validation_scores(spec: PipelineSpec, rows: Training) -> Scored:
    """Return the scores of the latest rows by a model of the earlier ones, their labels and weights."""
    try:
        early, latest = _split_rows(rows)
        pipeline, _ = fit_rows(spec, early)
    except RowsError as error:
        raise RowsError(f"{error} {NEEDS_SCORES}") from error
    return Fitted(pipeline, Calibration.none()).scores(latest.inputs), latest.labels, latest.weights


def _split_rows(rows: Training) -> tuple[MemberRows, MemberRows]:
    """Return the earlier and the latest training rows."""
    parts = []
    for name, mask in (("earlier", rows.early), ("latest", rows.validation)):
        if mask is None or len(np.unique(rows.labels[mask])) < 2:
            raise RowsError(f"The {name} training rows do not contain both classes.")
        parts.append(rows.rows(mask))
    return parts[0], parts[1]


def _check_classes(labels: NDArray[np.int8]) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        kind = "negative" if positives == 0 else "positive"
        raise OneClassError(f"All {counted(len(labels), 'training row')} are {kind}, but a model needs both classes.")
