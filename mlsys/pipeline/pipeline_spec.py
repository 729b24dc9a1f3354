"""What to fit, and on which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.pipeline.calibration import Calibrator
from mlsys.pipeline.composites import MemberRows, PartialRows, composite_of, details_of
from mlsys.pipeline.encoders import Encoder
from mlsys.pipeline.regularisation import AutoParameter
from mlsys.pipeline.stopping import (
    IterationCallback,
)
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.weights import Weights

Labels: TypeAlias = NDArray[np.int8]
DAYS_KNOWN = "days_known"  # the detail of composites that use rows younger than the horizon


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
    half_life_days : float or None
        Age, from the newest row with a known outcome, at which a training row counts half; None: all count alike.
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
    half_life_days: float | None = None
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
        more = ["group"] if self.chooses else []
        return tuple(dict.fromkeys([*details_of(self.estimator), *more]))

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
    weights : ndarray of float64, shape (n_rows,), or None
        How much each row counts; None if all count alike. See `mlsys.pipeline.weights`.
    """

    inputs: pd.DataFrame
    labels: NDArray[np.int8]
    validation: NDArray[np.bool_] | None = None
    early: NDArray[np.bool_] | None = None
    details: pd.DataFrame | None = None
    partial: PartialRows | None = None
    weights: Weights = None

    def rows(self, mask: NDArray[np.bool_] | None = None) -> MemberRows:
        """Return the rows that a mask of shape (n_rows,) selects, by default all."""
        if self.details is None:
            rows = MemberRows.without_times(self.inputs, self.labels)
            rows = rows._replace(partial=self.partial, weights=self.weights)
        else:
            rows = MemberRows(self.inputs, self.labels, self.details, self.partial, self.weights)
        return rows if mask is None else rows.take(mask)
