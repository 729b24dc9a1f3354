"""A discrete-time hazard model: the probability by each day, from one model of all intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import Calibration
from mlsys.runs.hazards import (
    INTERVAL_INPUTS,
    MARGIN,
    calibrated_by_day,
    cumulative_hazard,
    intervals_of,
    probability_by,
)
from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import scalar_sigmoid
from mlsys.runs.prior_correction import correct_prior, scalar_prior_correction
from serve.scoring.fields import Categories, Inputs, Numbers, RecordBlock
from serve.scoring.predictor import Predictor
from serve.scoring.reasons import Explained

Floats = NDArray[np.float64]


class SurvivalPath:
    """`mlsys.pipeline.survival.DiscreteTimeHazard` on checked values.

    Parameters
    ----------
    hazard : Predictor
        Model of the hazards; its last number inputs are the interval's start and length.
    days : sequence of int
        Days at which intervals end.
    learned_prior, prior : float
        Fraction of positive intervals that the model learned, and that of the training rows.
    """

    def __init__(self, hazard: Predictor, days: Sequence[int], learned_prior: float, prior: float) -> None:
        self._hazard = hazard
        self._intervals = intervals_of(days)
        self._priors = learned_prior, prior
        self._correct = scalar_prior_correction(learned_prior, prior)

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return self._one_by_day(numbers, categories)[-1]

    def many(self, block: RecordBlock) -> Floats:
        """Return the score of each row."""
        return np.ascontiguousarray(self._many_by_day(block)[:, -1])

    def one_with_outputs(
        self, numbers: Numbers, categories: Categories, to_probability: Callable[[float], float]
    ) -> tuple[float, tuple[float, ...]]:
        """Return the score of one record, and its probability by each day."""
        by_day = self._one_by_day(numbers, categories)
        score = by_day[-1]
        probability = to_probability(score)
        return score, tuple(each / score * probability for each in by_day)

    def many_with_outputs(self, block: RecordBlock, calibration: Calibration) -> tuple[Floats, Floats]:
        """Return the score of each row, and its probability by each day."""
        by_day = self._many_by_day(block)
        scores = np.ascontiguousarray(by_day[:, -1])
        return scores, calibrated_by_day(by_day, calibration.apply(scores))

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the probability.

        The contributions to the hazards of all intervals are added up on the scale of the cumulative hazard, on which
        intervals add up. What the interval itself adds is part of the base.
        """
        base, parts = 0.0, dict[str, float]()
        for interval in self._intervals:
            explained = self._hazard.explain((*numbers, *interval), categories)
            scaled = explained.on_scale(_through(explained, self._cumulative_hazard), log_odds=False)
            base += scaled.base
            for name, part in scaled.parts.items():
                if name in INTERVAL_INPUTS:
                    base += part
                else:
                    parts[name] = parts.get(name, 0.0) + part
        return Explained(base, parts, log_odds=False).on_scale(_to_probability, log_odds=False)

    def _one_by_day(self, numbers: Numbers, categories: Categories) -> list[float]:
        """Return one record's score by each day."""
        cumulative, by_day = 0.0, []
        for interval in self._intervals:
            cumulative += self._cumulative_hazard(self._hazard.one((*numbers, *interval), categories))
            by_day.append(-math.expm1(-cumulative))
        return by_day

    def _many_by_day(self, block: RecordBlock) -> Floats:
        """Return the score of each row by each day, shape (n_rows, n_days)."""
        hazards = [self._hazard.many(_with_interval(block, interval)) for interval in self._intervals]
        return probability_by(cumulative_hazard(correct_prior(np.column_stack(hazards), *self._priors)))

    def _cumulative_hazard(self, learned: float) -> float:
        """Return what an interval adds to the cumulative hazard, from the probability that the model returns for it."""
        return -math.log1p(-min(max(self._correct(learned), MARGIN), 1 - MARGIN))


def with_interval_inputs(inputs: Inputs) -> Inputs:
    """Return the inputs of the model of the hazards: those of schema.json, and those of an interval."""
    return Inputs([*inputs.fields, *(InputColumn(name, number=True, nullable=False) for name in INTERVAL_INPUTS)])


def _with_interval(block: RecordBlock, interval: tuple[float, float]) -> RecordBlock:
    added = np.broadcast_to(interval, (len(block), len(interval)))
    return RecordBlock(np.hstack([block.numbers, added]), block.categories)


def _through(explained: Explained, transform: Callable[[float], float]) -> Callable[[float], float]:
    """Return a transform of probabilities as one of the scale of an explanation."""
    return (lambda value: transform(scalar_sigmoid(value))) if explained.log_odds else transform


def _to_probability(cumulative: float) -> float:
    return -math.expm1(-max(cumulative, 0.0))
