"""Checks of a model's parameters that need no fit: class weights, columns, and what would crash a library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.ensemble import VotingClassifier

from mlsys.errors import EstimatorError, Problem
from mlsys.pipeline.class_weights import set_class_weights
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.traits import traits_of

# scikit-learn's words for a value that its own table of parameters does not allow.
_REJECTED = re.compile(r"The '(\w+)' parameter of (\w+) must be (.+)\. Got (.+) instead\.")


def fitted_separately(estimator: Any) -> dict[str, Any]:  # noqa: ANN401 - any scikit-learn estimator
    """Return the estimators that get encoded columns of their own, by config key: a model, or the members of a vote.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> fitted_separately(VotingClassifier([("bayes", GaussianNB())]))
    {'model.members.bayes': GaussianNB()}
    """
    if isinstance(estimator, VotingClassifier):
        return {f"model.members.{name}": member for name, member in estimator.estimators}
    return {"model": estimator}


def parameter_problems(estimators: Mapping[str, Any]) -> list[Problem]:
    """Find parameters that cannot work whatever the data are; convert class weights to the form of each library.

    Parameters
    ----------
    estimators : mapping of str to scikit-learn estimator
        All estimators of a model, also those inside others, by config key.
    """
    alone = fitted_separately(estimators["model"]).values()
    problems = []
    for where, estimator in estimators.items():
        known = traits_of(estimator).column_parameters
        problems += [*set_class_weights(estimator, where), *_useless_parameters(estimator, where)]
        if not any(estimator is each for each in alone):
            problems += [
                Problem(f"{where}.{name}", repr(value), "null: the estimator around this one decides what it sees")
                for name, value in _given(estimator, known).items()
                if value not in known[name].words
            ]
    return problems


def rejected_value(error: EstimatorError, estimators: Mapping[str, Any]) -> Problem | None:
    """Return the problem of a value that scikit-learn rejects whatever the data are; None for any other error.

    Parameters
    ----------
    error : EstimatorError
    estimators : mapping of str to scikit-learn estimator
        All estimators of a model, by config key.
    """
    found = _REJECTED.search(str(error))
    if found is None:
        return None
    name, kind, allowed, got = found.groups()
    where = next((place for place, each in estimators.items() if type(each).__name__ == kind), "model")
    return Problem(f"{where}.{name}", got, allowed)


def column_problems(estimator: Any, columns: Columns) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find parameters that refer to columns which the panel does not have, or of a kind that they cannot refer to.

    Parameters
    ----------
    estimator : scikit-learn estimator
        The model.
    columns : Columns
        Columns of the panel.
    """
    problems = []
    for where, each in fitted_separately(estimator).items():
        known, parameters = traits_of(each).column_parameters, each.get_params(deep=False)
        for name, value in _given(each, known).items():
            default = parameters.get(known[name].default_parameter or "")
            problems += known[name].problems(value, f"{where}.{name}", columns, default)
    return problems


def _useless_parameters(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
    traits = traits_of(estimator)
    problems = []
    for name, value in _given(estimator, traits.only_with).items():
        needed = traits.only_with[name]
        aliases = [
            other for other, each in traits.column_parameters.items() if each is traits.column_parameters[needed]
        ]
        if not _given(estimator, aliases):
            problems.append(Problem(f"{where}.{name}", repr(value), f"null, or {where}.{needed} beside it"))
    return problems


def _given(estimator: Any, names: Iterable[str]) -> dict[str, Any]:  # noqa: ANN401
    """Return the parameters of these names that are set."""
    parameters = estimator.get_params(deep=False)
    return {name: parameters[name] for name in names if parameters.get(name) is not None}
