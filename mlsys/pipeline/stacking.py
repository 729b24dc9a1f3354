"""A stack: a small logistic model of its members' log odds, fitted on scores of rows that they had not seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

from mlsys.pipeline.combiner import Combiner, fit_combiner
from mlsys.pipeline.composites import MemberFit, MemberRows, Part, Vote, composite_of
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.frames import frame_of
from mlsys.pipeline.inner_folds import InnerFold, converters, inner_folds
from mlsys.pipeline.parameter_rules import Members, number, whole
from mlsys.pipeline.requirements import learned_prior
from mlsys.pipeline.scores import scores_of
from mlsys.pipeline.traits import Traits
from mlsys.runs.logistic import COMBINED_MARGIN, logit, sigmoid
from mlsys.text import counted, joined

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


class Stack(ClassifierMixin, _BaseComposition):  # type: ignore[misc]
    """Combine members by weights of their log odds.

    The weights, which are not negative, and an intercept are fitted on the scores of rows that the scoring members had
    not seen: later rows, whose labels were not yet known, or, without times, other groups. Then each member is fitted
    on all rows. With too few converters for that, the score is the mean of the members' log odds.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Unfitted members by name.
    folds : int
        Number of blocks of rows, the latest ones, to score for the weights.
    shrinkage : float
        How strongly the weights are pulled towards equal ones: about as strongly as so many converters would.
    min_converters : int
        Fewer converters with scores than this, and the weights are equal.
    random_state : int
        Seed of the blocks, where rows have no time.

    Attributes
    ----------
    estimators_ : list of FrozenEstimator
        The fitted members.
    coef_ : ndarray of shape (n_members,)
        Weights of the members' log odds, at least 0.
    intercept_ : ndarray of shape (1,)
    classes_ : ndarray of shape (2,)
        Class labels, the positive one last.

    References
    ----------
    Wolpert (1992), Stacked generalization; Breiman (1996), Stacked regressions, on weights that are not negative.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = np.random.default_rng(0).normal(size=(400, 2))
    >>> labels = (rows[:, 0] > 0.5).astype(np.int8)
    >>> members = [("linear", LogisticRegression()), ("constant", DummyClassifier())]
    >>> Stack(members).fit(rows, labels).coef_.round(1)
    array([1.7, 0.5])
    """

    mlsys_traits = Traits(
        rules={
            "estimators": Members(),
            "folds": whole(1),
            "shrinkage": number(0),
            "min_converters": whole(1),
            "random_state": whole(0),
        }
    )
    details: ClassVar[tuple[str, ...]] = ("as_of", "known_at", "group")
    learns_labels: ClassVar[bool] = True

    _given: Combiner | None = None
    _combiner: Combiner

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        folds: int = 5,
        shrinkage: float = 10.0,
        min_converters: int = 20,
        random_state: int = 0,
    ) -> None:
        self.estimators = estimators
        self.folds = folds
        self.shrinkage = shrinkage
        self.min_converters = min_converters
        self.random_state = random_state

    def __getstate__(self) -> dict[str, Any]:
        """Return what is saved: ``coef_`` and ``intercept_`` hold the weights already."""
        return {name: value for name, value in super().__getstate__().items() if name not in ("_given", "_combiner")}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, also those of the members, such as ``linear__C``."""
        return dict(self._get_params("estimators", deep=deep))

    def set_params(self, **parameters: Any) -> Self:  # noqa: ANN401
        """Set parameters, also those of members."""
        self._set_params("estimators", **parameters)
        return self

    # As a composite

    def unfitted_members(self) -> Mapping[str, Any]:
        """Return the members by config key."""
        return {f"members.{name}": member for name, member in self.estimators}

    def with_members(self, members: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return an unfitted copy with other members."""
        named = [(key.removeprefix("members."), member) for key, member in members.items()]
        return unfitted(self, estimators=named)

    def fit_members(self, fit: MemberFit, rows: MemberRows) -> tuple[Any, float]:
        """Return the fitted stack and the fraction of positive rows.

        Each member's log odds are corrected for the prior that it learned, so class weights and samplers do not shift
        those of the stack.
        """
        combiner = self._learned(fit, rows) if self._given is None else self._given
        fits = [fit(member, rows) for _, member in self.estimators]
        prior = rows.prior
        shifts = np.array([_shift(prior, learned) for _, learned in fits])
        fitted = unfitted(self)
        fitted.estimators_ = [FrozenEstimator(pipeline) for pipeline, _ in fits]
        fitted.coef_ = combiner.weights
        fitted.intercept_ = np.array([combiner.intercept + float(combiner.weights @ shifts)])
        fitted.classes_ = np.array([0, 1])
        fitted._combiner = combiner
        return fitted, prior

    def combined_as(self, fitted: Stack) -> Stack:
        """Return an unfitted copy that takes the weights of a stack that has been fitted in this process."""
        copy: Stack = unfitted(self)
        copy._given = fitted._combiner
        return copy

    def rows_per_row(self) -> int:
        """Return 1: the members are fitted on the rows as they are."""
        return 1

    def fitted_members(self) -> Sequence[Part]:
        """Return the fitted members with their weights."""
        return [Part(each.estimator, float(weight)) for each, weight in zip(self.estimators_, self.coef_, strict=True)]

    # As a classifier of its own

    def fit(self, X: pd.DataFrame | ArrayLike, y: ArrayLike) -> Self:
        """Fit the members on rows without times, which need no encoding.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Labels, 0 or 1.

        Raises
        ------
        ValueError
            If the labels are not 0 and 1.
        """
        inputs, labels = frame_of(self, X, reset=True), np.asarray(y)
        if unique_labels(labels).tolist() != [0, 1]:
            raise ValueError("A stack needs both classes, with the labels 0 and 1.")

        def fit_member(
            member: Any,  # noqa: ANN401
            rows: MemberRows,
            target: Floats | None = None,
        ) -> tuple[Pipeline, float]:
            fitted = unfitted(member).fit(rows.inputs, rows.labels if target is None else target)
            return Pipeline([("model", fitted)]), learned_prior(member, rows.labels)

        fitted, _ = self.fit_members(fit_member, MemberRows.without_times(inputs, labels.astype(np.int8)))
        for name in ("estimators_", "coef_", "intercept_", "classes_"):
            setattr(self, name, getattr(fitted, name))
        return self

    def predict_proba(self, X: pd.DataFrame | ArrayLike) -> Floats:
        """Return class probabilities, shape (n_rows, 2).

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        """
        check_is_fitted(self)
        inputs = frame_of(self, X, reset=False)
        log_odds = [logit(scores_of(each.estimator, inputs), margin=COMBINED_MARGIN) for each in self.estimators_]
        positive = sigmoid(np.column_stack(log_odds) @ self.coef_ + self.intercept_[0])
        return np.column_stack([1 - positive, positive])

    def predict(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.int8]:
        """Return 1 if the probability is at least 0.5, else 0."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int8)

    def _learned(self, fit: MemberFit, rows: MemberRows) -> Combiner:
        """Return the weights, and say in the log where they come from."""
        names = [name for name, _ in self.estimators]
        if len(names) == 1:
            return Combiner.equal(1)
        folds = inner_folds(rows, self.folds, self.min_converters, seed=self.random_state)
        known = np.zeros(len(rows.labels), dtype=np.bool_)
        for fold in folds:
            known |= fold.scored
        scored = rows.take(known)
        if (count := converters(scored)) < self.min_converters:
            logger.info(
                "stack of %s: equal weights for %s, as only %s can be scored by members that have not seen them, fewer "
                "than model.min_converters=%d",
                counted(len(rows.labels), "row"),
                joined(names),
                counted(count, "converter"),
                self.min_converters,
            )
            return Combiner.equal(len(names))
        log_odds = self._unseen_log_odds(fit, rows, folds)[known]
        combiner = fit_combiner(
            log_odds, scored.labels, converters=count, shrinkage=self.shrinkage, weights=scored.weights
        )
        shown = [f"{name} {weight:.2f}" for name, weight in zip(names, combiner.weights, strict=True)]
        logger.info(
            "stack of %s: weights from %s: %s",
            counted(len(rows.labels), "row"),
            counted(count, "converter"),
            joined(shown),
        )
        return combiner

    def _unseen_log_odds(self, fit: MemberFit, rows: MemberRows, folds: Sequence[InnerFold]) -> Floats:
        """Return each member's log odds of the scored rows, shape (n_rows, n_members); NaN for the others."""
        log_odds = np.full((len(rows.labels), len(self.estimators)), np.nan)
        for fold in folds:
            seen, inputs = fold.seen(rows), rows.inputs.iloc[fold.scored]
            prior = seen.prior
            for column, (_, member) in enumerate(self.estimators):
                pipeline, learned = fit(member, seen)
                unseen = logit(scores_of(pipeline, inputs), margin=COMBINED_MARGIN)
                log_odds[fold.scored, column] = unseen + _shift(prior, learned)
        return log_odds


def combined_as(estimator: Any, fitted: Any) -> Any:  # noqa: ANN401 - any scikit-learn estimators
    """Return a model whose stacks, itself or a vote's, take the weights that the same stacks of a fitted one have.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Unfitted.
    fitted : scikit-learn estimator
        The same, fitted in this process.
    """
    if isinstance(estimator, Stack):
        return estimator.combined_as(fitted)
    if not isinstance(composite := composite_of(estimator), Vote):
        return estimator
    pairs = zip(composite.unfitted_members().items(), Vote(fitted).fitted_members(), strict=True)
    return composite.with_members({key: combined_as(member, part.pipeline[-1]) for (key, member), part in pairs})


def stack(
    members: Mapping[str, Any],
    folds: int = 5,
    shrinkage: float = 10.0,
    min_converters: int = 20,
    random_state: int = 0,
) -> Stack:
    """Return a `Stack` of named members.

    :func:`mlsys.pipeline.fitting.fit` encodes the columns separately for each member.

    Parameters
    ----------
    members : mapping of str to estimator or None
        Estimators by name, so that a config can override a parameter of one member; members that are None are skipped.
    folds, shrinkage, min_converters, random_state
        See `Stack`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> stack({"weak": LogisticRegression(C=0.01), "strong": None}).estimators
    [('weak', LogisticRegression(C=0.01))]
    """
    present = [(name, member) for name, member in members.items() if member is not None]
    return Stack(present, folds, shrinkage, min_converters, random_state)


def _shift(prior: float, learned: float) -> float:
    """Return what to add to log odds that were learned under another prior."""
    return float(logit(prior) - logit(learned))
