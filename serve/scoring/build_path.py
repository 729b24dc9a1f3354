"""Builds the fastest scoring path that is exact for a saved pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsys.errors import RunError
from mlsys.text import counted
from serve.scoring.encoding import Encoding, encoding_of
from serve.scoring.fields import Inputs
from serve.scoring.models import lightgbm, xgboost
from serve.scoring.models.baselines import ConstantPath, RankingPath
from serve.scoring.models.boosted import LightgbmPath, XgboostEffect, XgboostPath
from serve.scoring.models.catboost import CatboostPath, labels_of
from serve.scoring.models.ebm import EbmPath
from serve.scoring.models.forest import ForestPath, trees_of_forest
from serve.scoring.models.histogram import HistogramPath, trees_of
from serve.scoring.models.lightgbm_trees import lightgbm_traversal
from serve.scoring.models.linear import LinearPath
from serve.scoring.models.stack import StackPath
from serve.scoring.models.survival import SurvivalPath, with_interval_inputs
from serve.scoring.models.uplift import ArmField, CorrectedPath, EffectPath, LinearEffect, UpliftPath
from serve.scoring.models.vote import VotePath
from serve.scoring.predictor import ScoringPath
from serve.scoring.skops_reader import Node
from serve.scoring.typical import encoded_means, typical_record

BINARY = (0, 1)  # the classes of every training set
FLOAT64, FLOAT32 = 1e-9, 1e-6  # allowed difference between a probability and the Pipeline's


def fast_path(pipeline: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    """Return a fast path for a saved pipeline, or the reason why only the Pipeline itself can score.

    Parameters
    ----------
    pipeline : Node
        The scikit-learn Pipeline: an encoder, if the model has one, and an estimator.
    inputs : Inputs
    reference : mapping
        Content of reference.json, used to explain scores.

    Raises
    ------
    RunError
        If mlsys did not make the saved objects, or a library rejects them.
    """
    try:
        return _path(pipeline, inputs, reference)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"The saved model was not made by this version of mlsys ({error!r}): train again.") from error


def _path(pipeline: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    steps = dict(pipeline["steps"])
    model = steps["model"]
    if list(model.get("classes_", BINARY)) != list(BINARY):
        return f"there is no fast path for a {model.kind} with the classes {list(model['classes_'])}"
    if model.kind == "sklearn.VotingClassifier":
        return _vote(model, inputs, reference)
    if model.kind == "mlsys.Stack":
        return _stack(model, inputs, reference)
    if model.kind == "mlsys.DiscreteTimeHazard":
        return _survival(model, inputs, reference)
    if model.kind == "mlsys.UpliftModel":
        return _uplift(model, inputs, reference)
    if model.kind == "mlsys.ActivityRanking":
        return ScoringPath(RankingPath(model, inputs), "baseline", "The score is a function of one column.", FLOAT64)
    encoding = encoding_of(steps["encoder"], inputs) if "encoder" in steps else None
    if encoding is None:
        return f"there is no fast path for the encoder of {model.kind}"
    if model.kind == "catboost.CatBoostClassifier":
        labels = labels_of(steps["encoder"], inputs)
        return ScoringPath(
            CatboostPath(model["__model"], encoding, labels), "catboost", "CatBoost's own library scores.", FLOAT64
        )
    if model.kind == "sklearn.LogisticRegression":
        means = encoded_means(reference, inputs, encoding)
        path = LinearPath(encoding, model["coef_"].ravel(), float(model["intercept_"][0]), means)
        return ScoringPath(path, "linear", "The score is a linear model of the encoded columns.", FLOAT64)
    if model.kind == "interpret.ExplainableBoostingClassifier":
        reason = "The score is a sum of look-ups in the tables of its terms, exactly as in interpret."
        return ScoringPath(EbmPath(model, steps["encoder"], encoding), "terms", reason, FLOAT64)
    if model.kind == "sklearn.HistGradientBoostingClassifier":
        return _histogram(model, steps["encoder"], encoding, inputs, reference)
    make = _MODELS.get(model.kind)
    return f"there is no fast path for {model.kind}" if make is None else make(model, encoding)


def _xgboost(model: Node, encoding: Encoding) -> ScoringPath | str:
    if not np.isnan(model["missing"]):
        return f"there is no fast path for XGBoost with missing={model['missing']:g}"
    booster = xgboost.XgboostBooster(model["_Booster"]["handle"])
    traversal = xgboost.xgboost_traversal(booster, encoding.width)
    if isinstance(traversal, str):
        reason = f"XGBoost's own library scores, as its trees cannot be traversed: {traversal}."
        return ScoringPath(XgboostPath(encoding, booster, None), "xgboost", reason, FLOAT32)
    reason = (
        f"Trees are traversed {traversal.implementation} for single records, exactly as in XGBoost; its library scores "
        "batches."
    )
    return ScoringPath(XgboostPath(encoding, booster, traversal), "trees", reason, FLOAT32)


def _lightgbm(model: Node, encoding: Encoding) -> ScoringPath | str:
    saved = model["_Booster"]
    text, used = saved["_handle"], int(saved["best_iteration"])
    booster = lightgbm.LightgbmBooster(text, encoding.width, used)
    traversal = lightgbm_traversal(text, used, encoding.width)
    if isinstance(traversal, str):
        reason = f"LightGBM's own library scores, as its trees are not traversed: {traversal}."
        return ScoringPath(LightgbmPath(encoding, booster, None), "lightgbm", reason, FLOAT64)
    reason = f"Trees are traversed {traversal.implementation}, exactly as in LightGBM."
    return ScoringPath(LightgbmPath(encoding, booster, traversal), "trees", reason, FLOAT64)


def _forest(model: Node, encoding: Encoding) -> ScoringPath | str:
    path = ForestPath(encoding, trees_of_forest(model["estimators_"]))
    return ScoringPath(
        path, "trees", f"Trees are traversed {path.implementation}, exactly as in scikit-learn.", FLOAT64
    )


def _histogram(
    model: Node, encoder: Node, encoding: Encoding, inputs: Inputs, reference: Mapping[str, Any]
) -> ScoringPath | str:
    trees = trees_of(model, encoder, encoding)
    baseline = float(model["_baseline_prediction"].ravel()[0])
    path = HistogramPath(encoding, trees, baseline, inputs.fields, typical_record(reference, inputs))
    return ScoringPath(
        path, "trees", f"Trees are traversed {path.implementation}, exactly as in scikit-learn.", FLOAT64
    )


def _constant(model: Node, encoding: Encoding) -> ScoringPath | str:  # noqa: ARG001 - the interface of all builders
    if model["strategy"] != "prior":
        return f"there is no fast path for a DummyClassifier with the strategy {model['strategy']}"
    return ScoringPath(ConstantPath(float(model["class_prior_"][1])), "baseline", "The score is a constant.", FLOAT64)


def _vote(model: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    if model["voting"] != "soft":
        return "only soft votes have a fast path"
    members = _members(model, "vote", inputs, reference)
    if isinstance(members, str):
        return members
    path = VotePath([member.predictor for member in members], model.get("weights"))
    return ScoringPath(path, "vote", f"The score is the mean of {_listed(members)}.", _tolerance(members))


def _stack(model: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    members = _members(model, "stack", inputs, reference)
    if isinstance(members, str):
        return members
    path = StackPath([member.predictor for member in members], model["coef_"], float(model["intercept_"][0]))
    return ScoringPath(path, "stack", f"The score combines the log odds of {_listed(members)}.", _tolerance(members))


def _members(model: Node, name: str, inputs: Inputs, reference: Mapping[str, Any]) -> list[ScoringPath] | str:
    """Return the paths of the members of a vote or a stack, or the reason why one has none."""
    members: list[ScoringPath] = []
    for frozen in model["estimators_"]:
        member = fast_path(frozen["estimator"], inputs, reference)
        if isinstance(member, str):
            return f"a member of the {name} has no fast path: {member}"
        members.append(member)
    return members


def _listed(members: Sequence[ScoringPath]) -> str:
    return f"{counted(len(members), 'fast path')}: {', '.join(member.name for member in members)}"


def _tolerance(members: Sequence[ScoringPath]) -> float:
    return max(member.tolerance for member in members)


def _survival(model: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    hazard = fast_path(model["hazard_"], with_interval_inputs(inputs), reference)
    if isinstance(hazard, str):
        return f"the model of the hazards has no fast path: {hazard}"
    days = [int(day) for day in model["intervals"]]
    path = SurvivalPath(hazard.predictor, days, float(model["learned_prior_"]), float(model["prior_"]))
    reason = f"The score combines the hazards of {counted(len(days), 'interval')}. {hazard.reason}"
    return ScoringPath(path, "survival", reason, len(days) * hazard.tolerance)


def _uplift(model: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    share, *fitted = model["propensity_"]
    priors = [*model["priors_"], *([[fitted[1], share]] if fitted else [])]
    paths: list[ScoringPath] = []
    for pipeline in [*model["arms_"], *fitted[:1]]:
        path = fast_path(pipeline, inputs, reference)
        if isinstance(path, str):
            return f"a classifier of the uplift model has no fast path: {path}"
        paths.append(path)
    effects: list[EffectPath] = []
    for pipeline in model["effects_"]:
        effect = _effect(dict(pipeline["steps"]), inputs)
        if isinstance(effect, str):
            return effect
        effects.append(effect)
    field = inputs.by_name[model["treatment"]]
    position = (inputs.numbers if field.number else inputs.categories).index(field)
    arm = ArmField(field.name, position, field.number, model["treated"], model["control"])
    corrected = [CorrectedPath(path.predictor, *prior) for path, prior in zip(paths, priors, strict=True)]
    names = ", ".join(path.name for path in paths)
    return ScoringPath(
        UpliftPath(arm, corrected[:2], corrected[2] if fitted else float(share), effects),
        "uplift",
        f"The score is that of the record's own arm: {names}.",
        FLOAT32 if any(isinstance(effect, XgboostEffect) for effect in effects) else max(p.tolerance for p in paths),
    )


def _effect(steps: Mapping[str, Node], inputs: Inputs) -> EffectPath | str:
    model, encoding = steps["model"], encoding_of(steps["encoder"], inputs)
    if encoding is None:
        return f"there is no fast path for the encoder of {model.kind}"
    if model.kind == "sklearn.Ridge":
        return LinearEffect(encoding, model["coef_"].ravel(), float(model["intercept_"]))
    if model.kind == "xgboost.XGBRegressor" and np.isnan(model["missing"]):
        booster = xgboost.XgboostBooster(model["_Booster"]["handle"])
        traversal = xgboost.xgboost_traversal(booster, encoding.width)
        return XgboostEffect(encoding, booster, None if isinstance(traversal, str) else traversal)
    return f"there is no fast path for the effect of {model.kind}"


_MODELS: dict[str, Any] = {
    "xgboost.XGBClassifier": _xgboost,
    "lightgbm.LGBMClassifier": _lightgbm,
    "sklearn.RandomForestClassifier": _forest,
    "sklearn.DummyClassifier": _constant,
}
