"""Models made of others, each fitted with its own encoding.

A shared encoding would be limited to what every member accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from mlsys.data.compact import take_rows
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.weights import Weights, mean, taken
from mlsys.ranges import positions_of


class PartialRows(NamedTuple):
    """Training rows younger than the horizon: whether their outcome comes in time is not known yet.

    Attributes
    ----------
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns.
    details : DataFrame of shape (n_rows, n_details)
        As in `MemberRows`.
    weights : ndarray of float64, shape (n_rows,), or None
        As in `MemberRows`.
    """

    inputs: pd.DataFrame
    details: pd.DataFrame
    weights: Weights = None


class MemberRows(NamedTuple):
    """Rows to fit members on.

    Attributes
    ----------
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns.
    labels : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    details : DataFrame of shape (n_rows, n_details)
        The other columns of the panel that `Composite.details` names.
    partial : PartialRows or None
        Further rows, for composites that need ``days_known``.
    weights : ndarray of float64, shape (n_rows,), or None
        How much each row counts; None if all count alike. See `mlsys.pipeline.weights`.
    """

    inputs: pd.DataFrame
    labels: NDArray[np.int8]
    details: pd.DataFrame
    partial: PartialRows | None = None
    weights: Weights = None

    @property
    def prior(self) -> float:
        """Fraction of positive rows, by weight."""
        return mean(self.labels, self.weights)

    @classmethod
    def without_times(cls, inputs: pd.DataFrame, labels: NDArray[np.int8]) -> MemberRows:
        """Return rows that have no times, and are each a group of its own."""
        never = np.full(len(labels), np.datetime64("NaT"), dtype="datetime64[us]")
        details = {"as_of": never, "known_at": never, "group": np.arange(len(labels))}
        return cls(inputs, labels, pd.DataFrame(details, index=inputs.index))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> MemberRows:
        """Return the rows at a mask of shape (n_rows,), or at positions, without partly known ones."""
        rows = positions_of(chosen)  # a range costs no copy
        inputs, details = take_rows(self.inputs, chosen), self.details.iloc[rows]
        return MemberRows(inputs, self.labels[rows], details, weights=taken(self.weights, chosen))

    def seen_at(self, time: pd.Timestamp, known: NDArray[np.bool_]) -> MemberRows:
        """Return the rows as an earlier time knows them: those whose labels were known, and the others in part.

        Parameters
        ----------
        time : Timestamp
        known : ndarray of bool, shape (n_rows,)
            Mask of the rows whose labels were known by then.
        """
        rows = self.take(known)
        if self.partial is None:
            return rows
        young = (self.details["as_of"] < time).to_numpy() & ~known
        chosen = positions_of(young)
        details = as_known_at(self.details.iloc[chosen], time)
        return rows._replace(partial=PartialRows(self.inputs.iloc[chosen], details, taken(self.weights, young)))

    def groups(self) -> NDArray[Any]:
        """Return the entity of each row, shape (n_rows,): each row is its own where the details have no ``group``."""
        return self.details["group"].to_numpy() if "group" in self.details else np.arange(len(self.labels))


def as_known_at(details: pd.DataFrame, time: pd.Timestamp) -> pd.DataFrame:
    """Return the details of rows as a time knows them: an outcome after it is not known yet.

    Parameters
    ----------
    details : DataFrame of shape (n_rows, n_details)
        With ``as_of``, ``days_known`` and ``days_to_outcome``.
    time : Timestamp

    Examples
    --------
    >>> day = pd.Timestamp("2020-01-01")
    >>> details = pd.DataFrame({"as_of": [day, day], "days_known": 60.0, "days_to_outcome": [5.0, 20.0]})
    >>> as_known_at(details, day + pd.Timedelta(days=14))[["days_known", "days_to_outcome"]]
       days_known  days_to_outcome
    0        14.0              5.0
    1        14.0              NaN
    """
    age = (time - details["as_of"]).dt.total_seconds() / 86_400  # seconds of a day
    known, days = np.minimum(details["days_known"], age), details["days_to_outcome"]
    return details.assign(days_known=known, days_to_outcome=days.where(days <= known))


class MemberFit(Protocol):
    """Fits one member: encodes, resamples and fits, without early stopping.

    Columns of the rows that the panel does not have are encoded as numbers.
    """

    def __call__(
        self,
        member: Any,  # noqa: ANN401
        rows: MemberRows,
        target: NDArray[np.float64] | None = None,
    ) -> tuple[Pipeline, float]:
        """Return the fitted pipeline, and the fraction of positive rows that its estimator learned.

        Parameters
        ----------
        member : scikit-learn estimator
        rows : MemberRows
            They may lack columns of the panel.
        target : ndarray of float64, shape (n_rows,), or None
            What a regressor learns instead of the labels; its rows are not resampled.
        """
        ...


class Part(NamedTuple):
    """A fitted member.

    Attributes
    ----------
    pipeline : sklearn Pipeline
    weight : float
        Its weight in the feature importances, at least 0.
    takes_panel : bool
        Whether it scores panel columns as they are; otherwise the composite adds columns.
    """

    pipeline: Pipeline
    weight: float
    takes_panel: bool = True


@runtime_checkable
class Composite(Protocol):
    """A model made of others.

    Attributes
    ----------
    details : tuple of str
        Columns of the panel beyond the features that a fit needs, such as ``as_of``, or ``known_at``: the time from
        which the row's label is known (missing if rows have no time). With ``days_known``, it also gets rows younger
        than the horizon, see `MemberRows.partial`.
    learns_labels : bool
        Whether its members learn the labels of all rows, so that the validation rows can choose their number of trees
        and their regularisation. Otherwise the number of trees is as configured, and regularisation goes by the rule.
    """

    details: ClassVar[tuple[str, ...]]
    learns_labels: ClassVar[bool]

    def unfitted_members(self) -> Mapping[str, Any]:
        """Return the unfitted members by config key below ``model``, such as ``members.xgboost``."""
        ...

    def with_members(self, members: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the estimator
        """Return an unfitted copy with other members, given by the same keys."""
        ...

    def fit_members(self, fit: MemberFit, rows: MemberRows) -> tuple[Any, float]:
        """Return the fitted estimator, and the fraction of positive rows that it learned."""
        ...

    def fitted_members(self) -> Sequence[Part]:
        """Return the fitted members."""
        ...

    def rows_per_row(self) -> int:
        """Return the largest number of rows that a member is fitted on for each training row."""
        ...


def composite_of(estimator: Any) -> Composite | None:  # noqa: ANN401 - any scikit-learn estimator
    """Return an estimator as a `Composite`, None if it is a single model.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> composite_of(VotingClassifier([("bayes", GaussianNB())])).unfitted_members()
    {'members.bayes': GaussianNB()}
    """
    if isinstance(estimator, VotingClassifier):
        return Vote(estimator)
    return estimator if isinstance(estimator, Composite) else None


def details_of(estimator: Any) -> tuple[str, ...]:  # noqa: ANN401 - any scikit-learn estimator
    """Return the columns beyond the features that a fit of an estimator or of the members in it needs.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> details_of(GaussianNB())
    ()
    """
    if (composite := composite_of(estimator)) is None:
        return ()
    inner = [name for member in composite.unfitted_members().values() for name in details_of(member)]
    return tuple(dict.fromkeys([*composite.details, *inner]))


def with_iterations(estimator: Any, count: int) -> Any:  # noqa: ANN401 - any scikit-learn estimator
    """Return an unfitted copy with at most this number of trees or boosting rounds, also in the estimators inside it.

    Parameters
    ----------
    estimator : scikit-learn estimator
    count : int

    Examples
    --------
    >>> from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
    >>> with_iterations(BaggingClassifier(RandomForestClassifier(n_estimators=200)), 1).estimator.n_estimators
    1
    """
    if (composite := composite_of(estimator)) is not None:
        members = composite.unfitted_members()
        return composite.with_members({key: with_iterations(member, count) for key, member in members.items()})
    copy = unfitted(estimator)
    for value in [copy, *copy.get_params(deep=True).values()]:
        name = traits_of(value).iterations
        if name is not None and not isinstance(value, type):
            configured = value.get_params(deep=False).get(name)
            if configured is None or isinstance(configured, int):  # any other value is wrong, and stays so
                value.set_params(**{name: min(configured or count, count)})
    return copy


@dataclass(frozen=True)
class Vote:
    """scikit-learn's VotingClassifier as a `Composite`."""

    estimator: VotingClassifier
    details: ClassVar[tuple[str, ...]] = ()
    learns_labels: ClassVar[bool] = True

    def unfitted_members(self) -> Mapping[str, Any]:
        """Return the members by config key."""
        return {f"members.{name}": member for name, member in self.estimator.estimators}

    def with_members(self, members: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return an unfitted copy with other members."""
        named = [(key.removeprefix("members."), member) for key, member in members.items()]
        return unfitted(self.estimator, estimators=named)

    def fit_members(self, fit: MemberFit, rows: MemberRows) -> tuple[Any, float]:
        """Return the fitted vote and the mean of its members' priors.

        That mean is exact if all members have the same class weights.
        """
        fits = [fit(member, rows) for _, member in self.estimator.estimators]
        frozen = [
            (name, FrozenEstimator(pipeline))
            for (name, _), (pipeline, _) in zip(self.estimator.estimators, fits, strict=True)
        ]
        weights = self.estimator.weights
        voting = VotingClassifier(frozen, voting="soft", weights=weights).fit(rows.inputs, rows.labels)
        return voting, float(np.average([prior for _, prior in fits], weights=weights))

    def rows_per_row(self) -> int:
        """Return 1: the members are fitted on the rows as they are."""
        return 1

    def fitted_members(self) -> Sequence[Part]:
        """Return the fitted members with the weights of their votes."""
        fitted = self.estimator.estimators_
        weights = [1.0] * len(fitted) if self.estimator.weights is None else self.estimator.weights
        return [Part(member.estimator, float(weight)) for member, weight in zip(fitted, weights, strict=True)]
