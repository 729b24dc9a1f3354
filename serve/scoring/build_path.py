"""From a saved pipeline to the fastest path that is exact for its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys.errors import RunError
from serve.scoring.encoding import Encoding, encoding_of
from serve.scoring.fields import Inputs
from serve.scoring.models import lightgbm, xgboost
from serve.scoring.models.baselines import ConstantPath, RankingPath
from serve.scoring.models.boosted import LightgbmPath, XgboostPath
from serve.scoring.models.catboost import CatboostPath, labels_of
from serve.scoring.models.forest import ForestPath, trees_of_forest
from serve.scoring.models.histogram import HistogramPath, trees_of
from serve.scoring.models.lightgbm_trees import lightgbm_traversal
from serve.scoring.models.linear import LinearPath
from serve.scoring.models.vote import VotePath
from serve.scoring.predictor import ScoringPath
from serve.scoring.skops_reader import Node
from serve.scoring.typical import encoded_means, typical_record

BINARY = (0, 1)  # the classes that training has
FLOAT64, FLOAT32 = 1e-9, 1e-6  # how far a probability may be from the Pipeline's


def fast_path(pipeline: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    """Return a path for a saved pipeline, or why there is none but the Pipeline itself.

    Parameters
    ----------
    pipeline : Node
        scikit-learn's Pipeline of an encoder, where the model has one, and an estimator.
    inputs : Inputs
    reference : mapping
        Content of reference.json, for reasons.

    Raises
    ------
    RunError
        If the saved objects are not what mlsys makes, or a library refuses them.
    """
    try:
        return _path(pipeline, inputs, reference)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"The saved model is not what mlsys makes ({error!r}): train again.") from error


def _path(pipeline: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    steps = dict(pipeline["steps"])
    model = steps["model"]
    if list(model.get("classes_", BINARY)) != list(BINARY):
        return f"a {model.kind} of the classes {list(model['classes_'])} has no fast path"
    if model.kind == "sklearn.VotingClassifier":
        return _vote(model, inputs, reference)
    if model.kind == "mlsys.ActivityRanking":
        return ScoringPath(RankingPath(model, inputs), "formula", "The ranking is one formula of one column.", FLOAT64)
    encoding = encoding_of(steps["encoder"], inputs) if "encoder" in steps else None
    if encoding is None:
        return f"no fast path knows the encoder before {model.kind}"
    if model.kind == "catboost.CatBoostClassifier":
        labels = labels_of(steps["encoder"], inputs)
        return ScoringPath(
            CatboostPath(model["__model"], encoding, labels), "catboost", "CatBoost's own call.", FLOAT64
        )
    if model.kind == "sklearn.LogisticRegression":
        means = encoded_means(reference, inputs, encoding)
        path = LinearPath(encoding, model["coef_"].ravel(), float(model["intercept_"][0]), means)
        return ScoringPath(path, "linear", "The score is a sum of products.", FLOAT64)
    if model.kind == "sklearn.HistGradientBoostingClassifier":
        return _histogram(model, steps["encoder"], encoding, inputs, reference)
    make = _MODELS.get(model.kind)
    return f"no fast path knows {model.kind}" if make is None else make(model, encoding)


def _xgboost(model: Node, encoding: Encoding) -> ScoringPath | str:
    booster = xgboost.Booster(model["_Booster"]["handle"])
    walk = xgboost.xgboost_traversal(booster, encoding.width)
    if isinstance(walk, str):
        why = f"XGBoost's own library scores: its trees cannot be walked, {walk}."
        return ScoringPath(XgboostPath(encoding, booster, None), "xgboost", why, FLOAT32)
    why = f"One record walks the trees {walk.how}, exactly as XGBoost does; batches are scored by its library."
    return ScoringPath(XgboostPath(encoding, booster, walk), "trees", why, FLOAT32)


def _lightgbm(model: Node, encoding: Encoding) -> ScoringPath | str:
    saved = model["_Booster"]
    text, used = saved["_handle"], int(saved["best_iteration"])
    booster = lightgbm.Booster(text, encoding.width, used)
    walk = lightgbm_traversal(text, used, encoding.width)
    if isinstance(walk, str):
        why = f"LightGBM's own library scores, by its call for single rows: {walk}."
        return ScoringPath(LightgbmPath(encoding, booster, None), "lightgbm", why, FLOAT64)
    why = f"The trees are walked {walk.how}, exactly as LightGBM does."
    return ScoringPath(LightgbmPath(encoding, booster, walk), "trees", why, FLOAT64)


def _forest(model: Node, encoding: Encoding) -> ScoringPath | str:
    path = ForestPath(encoding, trees_of_forest(model["estimators_"]))
    return ScoringPath(path, "trees", f"The trees are walked {path.how}, exactly as scikit-learn does.", FLOAT64)


def _histogram(
    model: Node, encoder: Node, encoding: Encoding, inputs: Inputs, reference: Mapping[str, Any]
) -> ScoringPath | str:
    trees = trees_of(model, encoder, encoding)
    baseline = float(model["_baseline_prediction"].ravel()[0])
    path = HistogramPath(encoding, trees, baseline, inputs.fields, typical_record(reference, inputs))
    return ScoringPath(path, "trees", f"The trees are walked {path.how}, exactly as scikit-learn does.", FLOAT64)


def _constant(model: Node, encoding: Encoding) -> ScoringPath | str:  # noqa: ARG001 - as the others
    if model["strategy"] != "prior":
        return f"a DummyClassifier of the strategy {model['strategy']} has no fast path"
    return ScoringPath(ConstantPath(float(model["class_prior_"][1])), "formula", "The score is a constant.", FLOAT64)


def _vote(model: Node, inputs: Inputs, reference: Mapping[str, Any]) -> ScoringPath | str:
    if model["voting"] != "soft":
        return "only a vote by mean probability has a fast path"
    members: list[ScoringPath] = []
    for frozen in model["estimators_"]:
        member = fast_path(frozen["estimator"], inputs, reference)
        if isinstance(member, str):
            return f"a member of the vote has none: {member}"
        members.append(member)
    weights = model.get("weights")
    path = VotePath([member.predictor for member in members], weights)
    names = ", ".join(member.name for member in members)
    return ScoringPath(
        path, "vote", f"The mean of {len(members)} fast paths: {names}.", max(m.tolerance for m in members)
    )


_MODELS: dict[str, Any] = {
    "xgboost.XGBClassifier": _xgboost,
    "lightgbm.LGBMClassifier": _lightgbm,
    "sklearn.RandomForestClassifier": _forest,
    "sklearn.DummyClassifier": _constant,
}
