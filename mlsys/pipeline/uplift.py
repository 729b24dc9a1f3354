"""Uplift models: how much a treatment, such as a call, changes the probability of the outcome of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from mlsys.errors import FitError, RowsError
from mlsys.pipeline.copies import unfitted
from mlsys.pipeline.parameter_rules import ValueRule, is_a, one_of
from mlsys.pipeline.traits import Traits
from mlsys.pipeline.weights import mean
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_outputs import ModelOutput
from mlsys.runs.prior_correction import correct_prior
from mlsys.text import counted

if TYPE_CHECKING:
    from mlsys.data.panel import Treatment
    from mlsys.pipeline.composites import MemberFit, MemberRows, Part

Method = Literal["t_learner", "x_learner"]
Floats = NDArray[np.float64]

METHODS = ("x_learner", "t_learner")
MIN_PER_CLASS = 5  # rows of each class in each arm, below which an arm's model is noise

OUTPUTS = (
    ModelOutput("uplift", "Change of the probability by the treatment: what contacting this row gains.", -1.0, 1.0),
    ModelOutput("probability_if_treated", "Probability of the outcome with the treatment.", 0.0, 1.0),
    ModelOutput("probability_if_not", "Probability of the outcome without the treatment.", 0.0, 1.0),
)


class UpliftModel(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Two models of the outcome, one per arm, and from them the effect of the treatment on each row.

    ``predict_proba`` is that of the arm which a row is in, so that it can be compared with what happened. Where the
    treatment has neither of its two values, such as for a new lead, it is the mean of both arms, weighted by the
    propensity. The uplift does not depend on the row's own arm.

    Parameters
    ----------
    outcome : classifier
        Fitted on each arm alone.
    effect : regressor or None
        Fitted on the imputed effects of each arm; only for the X-learner.
    propensity : classifier or None
        Fitted on the arm; None where all rows were treated with the same probability.
    method : {"x_learner", "t_learner"}
        The T-learner's uplift is the difference of the two models' probabilities. The X-learner regresses the imputed
        effects (in treated rows: outcome minus probability without treatment; in control rows: probability with
        treatment minus outcome) and averages the two regressions, weighted by the propensity.
    treatment : str or None
        Name of the column with the treatment; see `with_treatment`.
    treated, control : float or str or None
        Its two values.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    arms_ : list of two Pipelines
        Models of the outcome: of treated rows, and of control rows.
    priors_ : list of two lists
        For each of them, the fraction of positives that it learned, which a sampler or class weights may have changed,
        and that of the arm's rows.
    effects_ : list of two Pipelines, or empty
        Regressions of the effect, in the same order.
    propensity_ : list
        The fraction of treated rows, and the propensity model, if there is one, with its priors as above.

    References
    ----------
    S. R. Künzel, J. S. Sekhon, P. J. Bickel and B. Yu, Metalearners for estimating heterogeneous treatment effects
    using machine learning, PNAS 116 (2019).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = pd.DataFrame({"mailed": [0.0, 1.0] * 40, "size": np.arange(80.0)})
    >>> won = ((rows["size"] > 40) & (rows["mailed"] == 1)) | (rows["size"] % 5 == 0)
    >>> model = UpliftModel(LogisticRegression(), method="t_learner", treatment="mailed", treated=1.0, control=0.0)
    >>> model.fit(rows, won).uplift(rows.head(1), Calibration.none()) < model.uplift(rows.tail(1), Calibration.none())
    array([ True])
    """

    mlsys_traits = Traits(
        rules={
            "outcome": ValueRule(
                lambda outcome, _: is_a(is_classifier, outcome), "a classifier, such as sklearn's LogisticRegression"
            ),
            "effect": ValueRule(
                lambda effect, parameters: parameters["method"] == "t_learner" or is_a(is_regressor, effect),
                "a regressor, such as sklearn.linear_model.Ridge; or any with model.method=t_learner",
            ),
            "propensity": ValueRule(
                lambda propensity, _: propensity is None or is_a(is_classifier, propensity),
                "a classifier, by its _target_, or null where each row had the same chance of treatment",
            ),
            "method": one_of(*METHODS),
        }
    )
    details: ClassVar[tuple[str, ...]] = ()
    learns_labels: ClassVar[bool] = False
    outputs: ClassVar[tuple[ModelOutput, ...]] = OUTPUTS

    def __init__(
        self,
        outcome: Any,  # noqa: ANN401
        effect: Any = None,  # noqa: ANN401
        propensity: Any = None,  # noqa: ANN401
        method: Method = "x_learner",
        treatment: str | None = None,
        treated: float | str | None = None,
        control: float | str | None = None,
    ) -> None:
        self.outcome = outcome
        self.effect = effect
        self.propensity = propensity
        self.method = method
        self.treatment = treatment
        self.treated = treated
        self.control = control

    def unfitted_members(self) -> Mapping[str, Any]:
        """Return the classifiers by config key; the regression of the effect has another target."""
        members = {"outcome": self.outcome, "propensity": self.propensity}
        return {key: member for key, member in members.items() if member is not None}

    def with_members(self, members: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return an unfitted copy with other classifiers."""
        return unfitted(self, **members)

    def fit(self, X: pd.DataFrame, y: ArrayLike) -> Self:
        """Fit all models on columns that need no encoding.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Labels 0 and 1.
        """
        from mlsys.pipeline.composites import MemberRows

        def fit_plain(
            member: Any,  # noqa: ANN401
            rows: MemberRows,
            target: Floats | None = None,
        ) -> tuple[Pipeline, float]:
            pipeline = Pipeline([("model", unfitted(member))])
            return pipeline.fit(rows.inputs, rows.labels if target is None else target), float(rows.labels.mean())

        rows = MemberRows(X, np.asarray(y).astype(np.int8), pd.DataFrame(index=X.index))
        self.__dict__.update(vars(self.fit_members(fit_plain, rows)[0]))
        return self

    def fit_members(self, fit: MemberFit, rows: MemberRows) -> tuple[Any, float]:
        """Return the fitted model, and the fraction of positive rows: each arm's prior is corrected here.

        Raises
        ------
        FitError
            If no treatment is set.
        RowsError
            If an arm has too few rows of either class.
        """
        if self.treatment is None:
            raise FitError(NO_TREATMENT)
        arm = self._arm(rows.inputs)
        parts = [rows.take(arm == value) for value in (1.0, 0.0)]
        for part, name in zip(parts, ("treated", "control"), strict=True):
            value = getattr(self, name)
            shown = f"{value:g}" if isinstance(value, float) else value
            _check_arm(part.labels, name, f"{self.treatment} = {shown}")
        without = [part._replace(inputs=part.inputs.drop(columns=self.treatment)) for part in parts]
        fitted = unfitted(self)
        fits = [fit(self.outcome, part) for part in without]
        fitted.classes_ = np.array([0, 1], dtype=np.int8)
        fitted.arms_ = [pipeline for pipeline, _ in fits]
        fitted.priors_ = [[prior, part.prior] for (_, prior), part in zip(fits, parts, strict=True)]
        known = rows.take(~np.isnan(arm))
        fitted.propensity_ = [mean(arm[~np.isnan(arm)], known.weights)]
        if self.propensity is not None:
            assigned = arm[~np.isnan(arm)].astype(np.int8)
            everyone = known._replace(inputs=known.inputs.drop(columns=self.treatment), labels=assigned)
            pipeline, prior = fit(self.propensity, everyone)
            fitted.propensity_ += [pipeline, prior]
        fitted.effects_ = []
        if self.method == "x_learner":
            treated, control = without
            imputed = (
                treated.labels - fitted._of_arm(1, treated.inputs),
                fitted._of_arm(0, control.inputs) - control.labels,
            )
            fitted.effects_ = [fit(self.effect, part, target)[0] for part, target in zip(without, imputed, strict=True)]
        return fitted, rows.prior

    def rows_per_row(self) -> int:
        """Return 1: the members are fitted on some or all of the rows."""
        return 1

    def fitted_members(self) -> Sequence[Part]:
        """Return the models of the outcome, weighted by the rows of their arms."""
        from mlsys.pipeline.composites import Part

        treated = self.propensity_[0]
        return [Part(pipeline, weight) for pipeline, weight in zip(self.arms_, (treated, 1 - treated), strict=True)]

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Return the probabilities of both classes in the arm that each row is in, shape (n_rows, 2)."""
        treated, control, propensity = self._potential(X)
        arm = self._arm(X)
        weight = np.where(np.isnan(arm), propensity, arm)
        positive = weight * treated + (1 - weight) * control
        return np.column_stack([1 - positive, positive])

    def predict(self, X: pd.DataFrame) -> NDArray[np.int8]:
        """Return 1 where the probability is at least 0.5, shape (n_rows,)."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int8)

    def uplift(self, X: pd.DataFrame, calibration: Calibration) -> Floats:
        """Return the change of the probability by the treatment, shape (n_rows,); see `more_outputs`."""
        return self.more_outputs(X, calibration)[:, 0]

    def more_outputs(self, inputs: pd.DataFrame, calibration: Calibration) -> Floats:
        """Return the uplift, and the probabilities with and without treatment, shape (n_rows, 3).

        Parameters
        ----------
        inputs : DataFrame of shape (n_rows, n_features)
            Whatever arm the rows are in.
        calibration : Calibration
            Map from scores to probabilities, applied to both arms.
        """
        treated, control, propensity = self._potential(inputs)
        treated, control = calibration.apply(treated), calibration.apply(control)
        uplift = treated - control
        if self.effects_:
            others = self._others(inputs)
            of_treated, of_control = (np.asarray(effect.predict(others), dtype=np.float64) for effect in self.effects_)
            uplift = np.clip(propensity * of_control + (1 - propensity) * of_treated, -1.0, 1.0)
        return np.column_stack([uplift, treated, control])

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags

    def _potential(self, X: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        """Return the scores with and without treatment, and the propensity."""
        check_is_fitted(self, "arms_")
        others = self._others(X)
        share, *model = self.propensity_
        propensity = np.full(len(X), share)
        if model:
            pipeline, learned = model
            propensity = _corrected(pipeline.predict_proba(others)[:, 1], learned, share)
        return self._of_arm(0, others), self._of_arm(1, others), propensity

    def _of_arm(self, number: int, others: pd.DataFrame) -> Floats:
        scores = np.asarray(self.arms_[number].predict_proba(others)[:, 1], dtype=np.float64)
        return _corrected(scores, *self.priors_[number])

    def _others(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.drop(columns=self.treatment)

    def _arm(self, X: pd.DataFrame) -> Floats:
        """Return 1 for treated rows, 0 for control rows, and NaN for any other."""
        column = X[self.treatment]
        return np.where(column == self.treated, 1.0, np.where(column == self.control, 0.0, np.nan))


NO_TREATMENT = (
    "An uplift model needs the column that says which rows were treated. Set data.treatment to it (data=table), or use "
    "another model."
)


def uplift(
    outcome: Any,  # noqa: ANN401 - any scikit-learn classifier
    effect: Any = None,  # noqa: ANN401 - any scikit-learn regressor
    propensity: Any = None,  # noqa: ANN401 - any scikit-learn classifier
    method: Method = "x_learner",
) -> UpliftModel:
    """Return an `UpliftModel` without its treatment, which the data config names.

    Parameters
    ----------
    outcome, effect, propensity, method
        See `UpliftModel`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> uplift(LogisticRegression(), method="t_learner").method
    't_learner'
    """
    return UpliftModel(outcome, effect, propensity, method)


def with_treatment(estimator: Any, treatment: Treatment | None) -> Any:  # noqa: ANN401 - any scikit-learn estimator
    """Return an estimator that knows the treatment column of the panel; unchanged unless it is an uplift model.

    Parameters
    ----------
    estimator : scikit-learn estimator
    treatment : Treatment or None
    """
    if not isinstance(estimator, UpliftModel) or treatment is None:
        return estimator
    return unfitted(estimator, treatment=treatment.column, treated=treatment.treated, control=treatment.control)


def _corrected(scores: Floats, learned: float, actual: float) -> Floats:
    """Return the probabilities of an arm whose rows were resampled or weighted."""
    return scores if learned == actual else correct_prior(scores, learned, actual)


def _check_arm(labels: NDArray[np.int8], arm: str, value: str) -> None:
    positives = int(labels.sum())
    fewest = min(positives, len(labels) - positives)
    if fewest < MIN_PER_CLASS:
        kind = "positive" if positives <= len(labels) - positives else "negative"
        raise RowsError(
            f"The {arm} arm ({value}) has {counted(fewest, f'{kind} row')} among its {len(labels):,} training rows, "
            f"but an uplift model needs at least {MIN_PER_CLASS} of each class in each arm. Add rows of this arm, "
            "check data.treatment and data.treated, or use another model."
        )
