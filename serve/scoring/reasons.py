"""Why a record has its probability: what each field adds, in log odds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from mlsys.runs.calibration import Calibration
from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import clip_probability, scalar_logit, scalar_sigmoid
from serve.scoring.calibrate import calibrated
from serve.scoring.fields import Categories, Numbers

STEP = 1e-4  # for the slope of a map where its two ends are one
BEFORE_CALIBRATION = "log-odds before calibration"


@dataclass(frozen=True)
class Explained:
    """What each field adds to a model's score.

    Attributes
    ----------
    base : float
        The score without any.
    parts : mapping of str to float
        By field; ``base`` and all of them add up to the score.
    log_odds : bool
        Whether these are log odds; else probabilities.
    """

    base: float
    parts: Mapping[str, float]
    log_odds: bool

    @property
    def total(self) -> float:
        """The score."""
        return self.base + sum(self.parts.values())

    def as_probability(self) -> Explained:
        """Return the same on the scale of probabilities, each part shrunk alike so that they still add up."""
        return self if not self.log_odds else self.on_scale(scalar_sigmoid, log_odds=False)

    def on_scale(self, mapped: Callable[[float], float], *, log_odds: bool) -> Explained:
        """Return the same on another scale."""
        base, total = self.base, self.total
        if abs(total - base) > STEP:
            slope = (mapped(total) - mapped(base)) / (total - base)
        else:
            slope = (mapped(base + STEP) - mapped(base - STEP)) / (2 * STEP)
        return Explained(mapped(base), {name: part * slope for name, part in self.parts.items()}, log_odds)


class Reason(TypedDict):
    """What one field adds.

    Attributes
    ----------
    field, label : str
        The input, and what it means.
    value : float, str or None
        What the record has there.
    contribution : float
        In log odds: above 0 speaks for the outcome.
    """

    field: str
    label: str
    value: float | str | None
    contribution: float


class Reasons(TypedDict):
    """Why a record has its probability: ``base``, the contributions of ``top`` and ``other`` add up to ``total``.

    Attributes
    ----------
    scale : str
        ``log-odds`` of the probability; ``log-odds before calibration`` where that is no smooth curve.
    base, total : float
        Of a record of which nothing is known, and of this one.
    top : list of Reason
        The largest contributions either way, largest first.
    other : float
        Of all other fields together.
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
    top: int,
) -> Reasons:
    """Return the largest contributions on the scale of the calibrated log odds.

    Parameters
    ----------
    explained : Explained
        By the model.
    score : float
        The record's; what contributions in float32 miss of it is counted as other.
    fields : sequence of InputColumn
    values : tuple
        The record's numbers and categories.
    calibration : Calibration
    top : int
        How many to name.
    """
    after = calibration.kind != "isotonic"  # its steps are level in places: there nothing would seem to matter
    probability = calibrated(calibration) if after else float
    to_probability = scalar_sigmoid if explained.log_odds else float

    def calibrated_logit(score: float) -> float:
        return scalar_logit(probability(clip_probability(score)))

    scaled = explained.on_scale(lambda value: calibrated_logit(to_probability(value)), log_odds=True)
    total = calibrated_logit(score)
    given = _by_field(fields, values)
    order = sorted(fields, key=lambda field: -abs(scaled.parts.get(field.name, 0.0)))[:top]
    named: list[Reason] = [
        {
            "field": field.name,
            "label": field.description or field.name,
            "value": given[field.name],
            "contribution": scaled.parts.get(field.name, 0.0),
        }
        for field in order
    ]
    return {
        "scale": "log-odds" if after else BEFORE_CALIBRATION,
        "base": scaled.base,
        "top": named,
        "other": total - scaled.base - sum(reason["contribution"] for reason in named),
        "total": total,
    }


def folded(sources: Iterable[str], parts: Iterable[float]) -> dict[str, float]:
    """Add up what the columns that were made from one field contribute.

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
    given: dict[str, float | str | None] = {}
    for field in fields:
        value = next(numbers) if field.number else next(categories)
        given[field.name] = None if value != value else value  # NaN alone differs from itself
    return given
