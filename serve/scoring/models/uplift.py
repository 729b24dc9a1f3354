"""Uplift models: the probability in a record's own arm, and the effect of the treatment on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import Calibration
from mlsys.runs.prior_correction import correct_prior, scalar_prior_correction
from serve.scoring.encoding import Encoding
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.predictor import Predictor
from serve.scoring.reasons import Explained

Floats = NDArray[np.float64]
TREATED, CONTROL = 0, 1  # positions of the arms


class EffectPath(Protocol):
    """A regression of the effect of the treatment."""

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the effect on one record."""
        ...

    def many(self, block: RecordBlock) -> Floats:
        """Return the effect on each row."""
        ...


class LinearEffect:
    """A linear regression on encoded values.

    Parameters
    ----------
    encoding : Encoding
    coefficients : ndarray of float64, shape (width,)
    intercept : float
    """

    def __init__(self, encoding: Encoding, coefficients: Floats, intercept: float) -> None:
        self._encoding, self._coefficients, self._intercept = encoding, coefficients, intercept

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the effect on one record."""
        row = np.array(self._encoding.row(numbers, categories), dtype=np.float64)
        return float(self._coefficients.dot(row)) + self._intercept

    def many(self, block: RecordBlock) -> Floats:
        """Return the effect on each row."""
        effects: Floats = self._encoding.rows(block, np.float64) @ self._coefficients + self._intercept
        return effects


class CorrectedPath:
    """A classifier's score, corrected for rows that were resampled or weighted in training.

    Parameters
    ----------
    predictor : Predictor
    learned, actual : float
        Fraction of positives that it learned, and that of its training rows.
    """

    def __init__(self, predictor: Predictor, learned: float, actual: float) -> None:
        self._predictor, self._priors = predictor, (learned, actual)
        self._scalar = None if learned == actual else scalar_prior_correction(learned, actual)

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the corrected score of one record."""
        return self._correct(self._predictor.one(numbers, categories))

    def many(self, block: RecordBlock) -> Floats:
        """Return the corrected score of each row."""
        scores = self._predictor.many(block)
        return scores if self._scalar is None else correct_prior(scores, *self._priors)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the corrected probability."""
        return self._predictor.explain(numbers, categories).as_probability().on_scale(self._correct, log_odds=False)

    def _correct(self, score: float) -> float:
        return score if self._scalar is None else self._scalar(score)


@dataclass(frozen=True)
class ArmField:
    """The field that says which arm a record is in.

    Attributes
    ----------
    name : str
    position : int
        Its position among the checked numbers, or categories.
    is_number : bool
    treated, control : float or str
        Its two values.
    """

    name: str
    position: int
    is_number: bool
    treated: float | str
    control: float | str

    def of(self, numbers: Numbers, categories: Categories) -> float | None:
        """Return 1 for a treated record, 0 for a control record, None for any other."""
        value = numbers[self.position] if self.is_number else categories[self.position]
        return 1.0 if value == self.treated else 0.0 if value == self.control else None

    def of_rows(self, block: RecordBlock) -> Floats:
        """Return the same for each row, NaN for None."""
        if self.is_number:
            column = block.numbers[:, self.position]
            return np.where(column == self.treated, 1.0, np.where(column == self.control, 0.0, np.nan))
        arms: dict[object, float] = {self.treated: 1.0, self.control: 0.0}
        return block.categories[self.position].map(lambda text: arms.get(text, np.nan), np.float64)


class UpliftPath:
    """The probability of a record in its own arm; in an unknown arm the mean of both, weighted by the propensity.

    Parameters
    ----------
    arm : ArmField
    outcomes : sequence of two Predictors
        Of treated rows, and of control rows.
    propensity : Predictor or float
    effects : sequence of two Effects, or empty
        Of the X-learner, in the same order.
    """

    def __init__(
        self, arm: ArmField, outcomes: Sequence[Predictor], propensity: Predictor | float, effects: Sequence[EffectPath]
    ) -> None:
        self._arm, self._outcomes, self._propensity, self._effects = arm, outcomes, propensity, effects

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        arm = self._arm.of(numbers, categories)
        if arm is not None:
            return self._outcomes[TREATED if arm else CONTROL].one(numbers, categories)
        share = self._share(numbers, categories)
        treated, control = (outcome.one(numbers, categories) for outcome in self._outcomes)
        return share * treated + (1 - share) * control

    def many(self, block: RecordBlock) -> Floats:
        """Return the score of each row."""
        arms = self._arm.of_rows(block)
        share = np.where(np.isnan(arms), self._shares(block), arms)
        treated, control = (outcome.many(block) for outcome in self._outcomes)
        scores: Floats = share * treated + (1 - share) * control
        return scores

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the probability, starting from the mean of both arms.

        The treatment's part is how far the typical record's probability in this arm is from that mean.
        """
        share = self._share(numbers, categories)
        arm = self._arm.of(numbers, categories)
        both = [outcome.explain(numbers, categories).as_probability() for outcome in self._outcomes]
        start = share * both[TREATED].base + (1 - share) * both[CONTROL].base
        weight = share if arm is None else arm
        parts = {self._arm.name: weight * both[TREATED].base + (1 - weight) * both[CONTROL].base - start}
        for explained, factor in zip(both, (weight, 1 - weight), strict=True):
            for name, part in explained.parts.items():
                parts[name] = parts.get(name, 0.0) + factor * part
        return Explained(start, parts, log_odds=False)

    def one_with_outputs(
        self, numbers: Numbers, categories: Categories, to_probability: Callable[[float], float]
    ) -> tuple[float, tuple[float, ...]]:
        """Return the score of one record, its uplift, and its probabilities with and without treatment."""
        scores = [outcome.one(numbers, categories) for outcome in self._outcomes]
        arm = self._arm.of(numbers, categories)
        share = self._share(numbers, categories)
        weight = share if arm is None else arm
        treated, control = (to_probability(score) for score in scores)
        uplift = treated - control
        if self._effects:
            of_treated, of_control = (effect.one(numbers, categories) for effect in self._effects)
            uplift = min(max(share * of_control + (1 - share) * of_treated, -1.0), 1.0)
        return weight * scores[TREATED] + (1 - weight) * scores[CONTROL], (uplift, treated, control)

    def many_with_outputs(self, block: RecordBlock, calibration: Calibration) -> tuple[Floats, Floats]:
        """Return the same for each row."""
        scores = [outcome.many(block) for outcome in self._outcomes]
        arms, shares = self._arm.of_rows(block), self._shares(block)
        weight = np.where(np.isnan(arms), shares, arms)
        treated, control = (calibration.apply(each) for each in scores)
        uplift = treated - control
        if self._effects:
            of_treated, of_control = (effect.many(block) for effect in self._effects)
            uplift = np.clip(shares * of_control + (1 - shares) * of_treated, -1.0, 1.0)
        outputs = np.column_stack([uplift, treated, control])
        return weight * scores[TREATED] + (1 - weight) * scores[CONTROL], outputs

    def _share(self, numbers: Numbers, categories: Categories) -> float:
        if isinstance(self._propensity, float):
            return self._propensity
        return self._propensity.one(numbers, categories)

    def _shares(self, block: RecordBlock) -> Floats:
        if isinstance(self._propensity, float):
            return np.full(len(block), self._propensity)
        return self._propensity.many(block)
