"""Class weights: one way to write them for every library, and the form that each library takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mlsys.errors import Problem

EXPECTED = "[NEGATIVE, POSITIVE] or {0: NEGATIVE, 1: POSITIVE}, two finite numbers greater than 0"


def class_weight_problems(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find class weights that are no weights: with 0 a model ignores a class, with infinity all others.

    Parameters
    ----------
    estimator : scikit-learn estimator
    where : str
        Its config key.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> class_weight_problems(LogisticRegression(class_weight=[1, 10]), "model")
    []
    >>> class_weight_problems(LogisticRegression(class_weight=[0, 1]), "model")[0].got
    '[0, 1]'
    """
    problems = [
        Problem(f"{where}.{name}", repr(value), EXPECTED)
        for name, value in _lists_and_maps(estimator).items()
        if _weights(value) is None
    ]
    scale = estimator.get_params(deep=False).get("scale_pos_weight")
    if scale is not None and not _is_weight(scale):
        problems.append(Problem(f"{where}.scale_pos_weight", repr(scale), "a finite number greater than 0"))
    return problems


def class_weights_in_library_form(estimator: Any) -> dict[str, Any]:  # noqa: ANN401 - any scikit-learn estimator
    """Return an estimator's class weights that are lists or maps, in the form that its library takes.

    A map of CatBoost would also set the order of its classes, and with it the meaning of ``predict_proba``.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Its class weights have no problems.

    Returns
    -------
    dict
        The parameters to set.

    Examples
    --------
    >>> from catboost import CatBoostClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> class_weights_in_library_form(LogisticRegression(class_weight=[1, 10]))
    {'class_weight': {0: 1, 1: 10}}
    >>> class_weights_in_library_form(CatBoostClassifier(class_weights={1: 10}))
    {'class_weights': (1, 10)}
    """
    weights = {name: _weights(value) for name, value in _lists_and_maps(estimator).items()}
    # scikit-learn and LightGBM take a map; a tuple, unlike a list, survives CatBoost's copies.
    return {
        name: dict(enumerate(pair)) if name == "class_weight" else pair
        for name, pair in weights.items()
        if pair is not None
    }


def class_weights_of_totals(estimator: Any, positives: float, negatives: float) -> dict[str, Any]:  # noqa: ANN401
    """Return parameters that give the classes the weights that a word of the library asks for, such as balanced.

    For weighted rows: scikit-learn's forests and LightGBM would count the rows instead of adding up their weights, as
    CatBoost does.

    Parameters
    ----------
    estimator : scikit-learn estimator
    positives, negatives : float
        Total weights of the classes.

    Returns
    -------
    dict
        The parameters to set; empty if no word is used.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> class_weights_of_totals(LogisticRegression(class_weight="balanced"), 5.0, 100.0)
    {'class_weight': {0: 1.0, 1: 20.0}}
    >>> class_weights_of_totals(LogisticRegression(class_weight={1: 3}), 5.0, 100.0)
    {}
    """
    parameters, ratio = estimator.get_params(deep=False), negatives / positives
    if isinstance(parameters.get("class_weight"), str):
        return {"class_weight": {0: 1.0, 1: ratio}}
    return {"is_unbalance": False, "scale_pos_weight": ratio} if parameters.get("is_unbalance") else {}


def _lists_and_maps(estimator: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the class weights that are no words of the library, such as balanced."""
    parameters = estimator.get_params(deep=False)
    return {
        name: parameters[name]
        for name in ("class_weight", "class_weights")
        if isinstance(parameters.get(name), list | tuple | Mapping)
    }


def _weights(value: list[Any] | tuple[Any, ...] | Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return the weights of the negative and the positive class; a class that a map leaves out has the weight 1."""
    if isinstance(value, Mapping):
        given = {str(label): weight for label, weight in value.items()}  # a saved config has the labels as texts
        if not given or not given.keys() <= {"0", "1"}:
            return None
        value = [given.get("0", 1), given.get("1", 1)]
    return (value[0], value[1]) if len(value) == 2 and all(map(_is_weight, value)) else None


def _is_weight(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max
