"""Class weights: one way to write them for every library, and the form that each library takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys.errors import Problem

EXPECTED = "[NEGATIVE, POSITIVE] or {0: NEGATIVE, 1: POSITIVE}, two numbers of at least 0 that are not both 0"


def set_class_weights(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Convert an estimator's ``class_weight`` or ``class_weights``, a list or map, to the form that its library takes.

    A map of CatBoost would also set the order of its classes, and with it the meaning of ``predict_proba``.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Unfitted; it is modified.
    where : str
        Its config key.

    Returns
    -------
    list of Problem
        What is wrong with the weights; they are then left as they are.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression(class_weight=[1, 10])
    >>> set_class_weights(model, "model"), model.class_weight
    ([], {0: 1, 1: 10})
    """
    parameters, problems = estimator.get_params(deep=False), []
    for name in ("class_weight", "class_weights"):
        value = parameters.get(name)
        if not isinstance(value, list | tuple | Mapping):
            continue  # a word of the library, such as balanced
        weights = _weights(value)
        if weights is None:
            problems.append(Problem(f"{where}.{name}", repr(value), EXPECTED))
        else:  # scikit-learn and LightGBM take a map; a tuple, unlike a list, survives CatBoost's copies
            form = dict(enumerate(weights)) if name == "class_weight" else weights
            estimator.set_params(**{name: form})
    return problems


def _weights(value: list[Any] | tuple[Any, ...] | Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return the weights of the negative and the positive class; a class that a map leaves out has the weight 1."""
    if isinstance(value, Mapping):
        given = {str(label): weight for label, weight in value.items()}  # a saved config has the labels as texts
        if not given or not given.keys() <= {"0", "1"}:
            return None
        value = [given.get("0", 1), given.get("1", 1)]
    valid = [isinstance(weight, int | float) and not isinstance(weight, bool) and weight >= 0 for weight in value]
    if len(value) != 2 or not all(valid) or not any(value):
        return None
    return (value[0], value[1])
