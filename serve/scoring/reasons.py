"""Explains a record's probability: what each field adds, in log odds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from mlsys.runs.calibration import Calibration
from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import clip_probability, scalar_logit, scalar_sigmoid
from serve.scoring.calibrate import probability_function
from serve.scoring.fields import Categories, Numbers

STEP = 1e-4  # step of the numerical slope of a map at a single point
BEFORE_CALIBRATION = "log-odds before calibration"


@dataclass(frozen=True)
class Explained:
    """What each field adds to a model's score.

    Attributes
    ----------
    base : float
        The score before any contribution.
    parts : mapping of str to float
        Contribution of each field; ``base`` plus all of them is the score.
    log_odds : bool
        Whether base and parts are log odds rather than probabilities.
    """

    base: float
    parts: Mapping[str, float]
    log_odds: bool

    @property
    def total(self) -> float:
        """The score."""
        return self.base + sum(self.parts.values())

    def as_probability(self) -> Explained:
        """Return the contributions on the probability scale, all scaled by one factor so that they still add up."""
        return self if not self.log_odds else self.on_scale(scalar_sigmoid, log_odds=False)

    def on_scale(self, transform: Callable[[float], float], *, log_odds: bool) -> Explained:
        """Return the contributions on another scale."""
        base, total = self.base, self.total
        if abs(total - base) > STEP:
            slope = (transform(total) - transform(base)) / (total - base)
        else:
            slope = (transform(base + STEP) - transform(base - STEP)) / (2 * STEP)
        return Explained(transform(base), {name: part * slope for name, part in self.parts.items()}, log_odds)


class Reason(TypedDict):
    """What one field adds.

    Attributes
    ----------
    field, label : str
        Name and description of the input.
    value : float, str or None
        The record's value; None if missing.
    contribution : float
        What the field adds to the log odds: a positive number makes the outcome more likely.
    """

    field: str
    label: str
    value: float | str | None
    contribution: float


class Reasons(TypedDict):
    """The explanation of a probability: ``base``, the contributions in ``top`` and ``other`` add up to ``total``.

    Attributes
    ----------
    scale : str
        ``log-odds`` of the probability, or ``log-odds before calibration`` if the calibration is not a smooth curve.
    base, total : float
        Log odds before any contribution, and of this record.
    top : list of Reason
        The largest contributions, positive or negative, largest first.
    other : float
        Sum of the contributions of all other fields.
    """

    scale: str
    base: float
    top: list[Reason]
    other: float
    total: float


def reasons_of(
    explained: Explained,
    score: float,
    fields: Sequence[InputColumn],
    values: tuple[Numbers, Categories],
    calibration: Calibration,
    top: int | None,
) -> Reasons:
    """Return the largest contributions on the scale of the calibrated log odds.

    Parameters
    ----------
    explained : Explained
        The model's contributions.
    score : float
        The record's score; the rounding error of contributions in float32 is added to ``other``.
    fields : sequence of InputColumn
    values : tuple
        The record's numbers and categories.
    calibration : Calibration
    top : int or None
        Number of contributions to list; None for all, which leaves only the rounding error for ``other``.
    """
    is_smooth = calibration.kind != "isotonic"  # where its curve is flat, no field would seem to matter
    calibrate = probability_function(calibration) if is_smooth else float
    to_probability = scalar_sigmoid if explained.log_odds else float

    def calibrated_logit(score: float) -> float:
        return scalar_logit(calibrate(clip_probability(score)))

    scaled = explained.on_scale(lambda value: calibrated_logit(to_probability(value)), log_odds=True)
    total = calibrated_logit(score)
    value_of = _by_field(fields, values)
    order = sorted(fields, key=lambda field: -abs(scaled.parts.get(field.name, 0.0)))[:top]
    reasons: list[Reason] = [
        {
            "field": field.name,
            "label": field.description or field.name,
            "value": value_of[field.name],
            "contribution": scaled.parts.get(field.name, 0.0),
        }
        for field in order
    ]
    return {
        "scale": "log-odds" if is_smooth else BEFORE_CALIBRATION,
        "base": scaled.base,
        "top": reasons,
        "other": total - scaled.base - sum(reason["contribution"] for reason in reasons),
        "total": total,
    }


def folded(sources: Iterable[str], parts: Iterable[float]) -> dict[str, float]:
    """Add up the contributions of all columns that were made from the same field.

    Examples
    --------
    >>> folded(["users", "plan", "plan"], [0.5, 1.0, -0.25])
    {'users': 0.5, 'plan': 0.75}
    """
    sums: dict[str, float] = {}
    for source, part in zip(sources, parts, strict=True):
        sums[source] = sums.get(source, 0.0) + float(part)
    return sums


def _by_field(fields: Sequence[InputColumn], values: tuple[Numbers, Categories]) -> dict[str, float | str | None]:
    numbers, categories = iter(values[0]), iter(values[1])
    by_field: dict[str, float | str | None] = {}
    for field in fields:
        value = next(numbers) if field.number else next(categories)
        by_field[field.name] = None if value != value else value  # only NaN differs from itself
    return by_field
