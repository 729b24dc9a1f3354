"""Treatment: a treatment that was not assigned at random is mixed up with what led to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from mlsys.data.panel import Treatment
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.metrics import evaluate
from mlsys.pipeline.encoders import OneHot
from mlsys.pipeline.requirements import requirements_of
from mlsys.pipeline.weights import Weights, taken

NAME = "treatment"
CONFIDENCE = 0.98  # of the interval of the AUC, so that a treatment at random raises an alarm in 1 % of tables
MAX_ROWS, FOLDS, RESAMPLES = 20_000, 5, 200
CHANCE = 0.5


def treatment(subject: AuditSubject, arms: Treatment) -> AuditCheck:
    """Warn if the features predict who was treated.

    In an experiment nothing does. Otherwise treated rows differ from the others already before the treatment, and the
    difference of their outcomes is not its effect. The value is the ROC-AUC of a cross-validated logistic regression of
    the treatment on the other features (a propensity model; Rosenbaum and Rubin 1983); the check warns if its interval
    lies above 0.5.

    Parameters
    ----------
    subject : AuditSubject
        The run to check.
    arms : Treatment
        Its treatment column.
    """
    features = [feature for feature in subject.panel.features if feature.name != arms.column]
    rows = np.random.default_rng(subject.seed).permutation(len(subject.labels))[:MAX_ROWS]
    frame = subject.panel.frame.iloc[np.sort(rows)]
    treated, groups = arms.arms(frame).to_numpy().astype(np.int8), subject.groups[np.sort(rows)]
    folds = min(FOLDS, len(np.unique(groups)))
    if not features or folds < 2 or min(treated.sum(), len(treated) - treated.sum()) < FOLDS:
        return AuditCheck.not_applicable(NAME, "there are too few features or rows in an arm to predict it from.")
    numbers = [feature.name for feature in features if feature.kind == "number"]
    categories = [feature.name for feature in features if feature.kind == "category"]
    weights = taken(subject.panel.weights, np.sort(rows))
    score = _propensity(frame[[*numbers, *categories]], numbers, categories, treated, groups, folds, weights)
    tested = pd.DataFrame({"id": groups, "as_of": pd.NaT, "fold": 0, "label": treated, "label_complete": True})
    if weights is not None:  # else what predicts the outcome would predict a treatment that works
        tested[SAMPLING_WEIGHT] = weights
    measured = evaluate(
        tested.assign(probability=score),
        top_k=[1],
        bootstrap_resamples=RESAMPLES,
        seed=subject.seed,
        confidence=CONFIDENCE,
    )
    auc = measured["overall"]["roc_auc"]
    low, high = auc["low"], auc["high"]
    if low is None:
        return AuditCheck.not_applicable(NAME, "there are too few rows in an arm to predict it from.")
    value = round(float(auc["value"]), 4)
    found = f"ROC-AUC {value:.3f}, {CONFIDENCE:.0%} interval {low:.3f} to {high:.3f}"
    if low <= CHANCE:
        message = f"The features do not predict who was treated ({found}), as after random assignment."
        return AuditCheck(NAME, "pass", value, CHANCE, message)
    message = (
        f"The features predict who was treated ({found}), so it was not assigned at random: treated rows differed "
        "before the treatment, and differences of their outcomes are not its effect. Use data of an experiment; "
        "otherwise keep every column that the assignment depended on, set model.propensity, and take the uplift as a "
        "hint."
    )
    return AuditCheck(NAME, "warn", value, CHANCE, message)


def _propensity(
    inputs: pd.DataFrame,
    numbers: list[str],
    categories: list[str],
    treated: NDArray[np.int8],
    groups: NDArray[np.int64],
    folds: int,
    weights: Weights,
) -> NDArray[np.float64]:
    """Return the cross-validated probability of treatment of each row; rows of a group are in one fold."""
    scores = np.empty(len(treated))
    for train, test in GroupKFold(folds).split(inputs, treated, groups):
        model = LogisticRegression(C=0.1, max_iter=1000)
        encoder = OneHot().build(numbers, categories, requirements_of(model, None))
        if treated[train].min() == treated[train].max():
            scores[test] = float(treated[train][0])
            continue
        scores[test] = (
            make_pipeline(encoder, model)
            .fit(inputs.iloc[train], treated[train], logisticregression__sample_weight=taken(weights, train))
            .predict_proba(inputs.iloc[test])[:, 1]
        )
    return scores
