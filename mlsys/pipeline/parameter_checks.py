"""Checks of a model's parameters that need no fit: what scikit-learn never accepts, objectives, weights, columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from sklearn.base import is_classifier
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import has_fit_parameter

from mlsys.errors import Problem, closest
from mlsys.pipeline.class_weights import class_weight_problems, class_weights_in_library_form
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.composites import composite_of
from mlsys.pipeline.parameter_rules import broken_rules
from mlsys.pipeline.regularisation import AUTO
from mlsys.pipeline.stacking import Stack
from mlsys.pipeline.survival import DiscreteTimeHazard
from mlsys.pipeline.traits import traits_of
from mlsys.runs.model_outputs import HasOutputs
from mlsys.text import joined

_MODEL_OR_MEMBER = re.compile(r"model(\.members\.[^.]+)*")
_PLACES = "the model itself, or a member of a vote or a stack"
# scikit-learn's words for a value that its own table of parameters does not allow.
_REJECTED = re.compile(r"The '\w+' parameter of \w+ must be (?P<allowed>.+)\. Got .+ instead\.", re.DOTALL)


def fitted_separately(estimator: Any, where: str = "model") -> dict[str, Any]:  # noqa: ANN401 - any scikit-learn estimator
    """Return the estimators that get encoded columns of their own, by config key: a model, or its members.

    Parameters
    ----------
    estimator : scikit-learn estimator
        A model; its members may have members, too.
    where : str
        Config key of the model.

    Examples
    --------
    >>> from sklearn.ensemble import VotingClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> fitted_separately(VotingClassifier([("bayes", GaussianNB())]))
    {'model.members.bayes': GaussianNB()}
    """
    if (composite := composite_of(estimator)) is None:
        return {where: estimator}
    members = composite.unfitted_members().items()
    return {key: each for name, member in members for key, each in fitted_separately(member, f"{where}.{name}").items()}


def parameter_problems(estimators: Mapping[str, Any]) -> list[Problem]:
    """Find parameters that cannot work whatever the data are.

    Parameters
    ----------
    estimators : mapping of str to scikit-learn estimator
        All estimators of a model, also those inside others, by config key.
    """
    alone = fitted_separately(estimators["model"]).values()
    problems = []
    for where, estimator in estimators.items():
        known = traits_of(estimator).column_parameters
        found = [*_not_alone(estimator, where), *broken_rules(estimator, traits_of(estimator).rules, where)]
        found += [*class_weight_problems(estimator, where), *_other_objectives(estimator, where)]
        named = {problem.where for problem in found}
        found += [problem for problem in _rejected_values(estimator, where) if problem.where not in named]
        problems += [*found, *_useless_parameters(estimator, where)]
        if not any(estimator is each for each in alone):
            problems += [
                Problem(f"{where}.{name}", repr(value), "null: the estimator around this one decides what it sees")
                for name, value in _given(estimator, known).items()
                if value not in known[name].words
            ]
    return problems


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


def fold_problems(estimator: Any, rows: pd.DataFrame) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find a stack with more folds than converters to learn its weights from.

    Parameters
    ----------
    estimator : scikit-learn estimator
        The model.
    rows : DataFrame
        Rows of a panel, with ``label`` and ``group``.

    Examples
    --------
    >>> from mlsys.pipeline.stacking import stack
    >>> from sklearn.naive_bayes import GaussianNB
    >>> rows = pd.DataFrame({"label": [1, 0, 1], "group": ["a", "b", "c"]})
    >>> print(fold_problems(stack({"bayes": GaussianNB()}, folds=5), rows)[0].brief)
    model.folds: got 5, allowed: at most 2, the number of converters: each fold must have some
    """
    if not isinstance(estimator, Stack):
        return []
    converters = int(rows.loc[rows["label"] == 1, "group"].nunique())
    if estimator.folds <= converters:
        return []
    allowed = f"at most {converters:,}, the number of converters: each fold must have some"
    return [Problem("model.folds", f"{estimator.folds:,}", allowed)]


def horizon_problems(estimator: Any, data: Mapping[str, Any]) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find data whose outcomes a model of when they come cannot use.

    Parameters
    ----------
    estimator : scikit-learn estimator
        The model.
    data : mapping
        The data config.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = DiscreteTimeHazard(LogisticRegression(), [7, 30])
    >>> print(horizon_problems(model, {"kind": "events", "horizon_days": 60})[0])
      model.intervals
          got:     [7, 30]
          allowed: days that end with data.horizon_days=60, such as [15,30,45,60]
    """
    if not (models := _models_of_when(estimator, "model")):
        return []
    if data.get("kind") == "table":
        allowed = (
            "event tables, whose data.outcome.time is the day of each outcome: a flat table only says whether it came. "
            "With data=table, use another model"
        )
        return [Problem("data.kind", "table with model=survival", allowed)]
    horizon = data.get("horizon_days")
    if not isinstance(horizon, int):
        return []
    quarters = dict.fromkeys(max(1, round(horizon * part / 4)) for part in (1, 2, 3, 4))
    allowed = f"days that end with data.horizon_days={horizon}, such as [{','.join(map(str, quarters))}]"
    return [
        Problem(f"{where}.intervals", str(list(each.intervals)), allowed)
        for where, each in models.items()
        if not broken_rules(each, traits_of(each).rules, where) and each.intervals[-1] != horizon
    ]


def _models_of_when(estimator: Any, where: str) -> dict[str, DiscreteTimeHazard]:  # noqa: ANN401
    """Return the models of when the outcome comes, by config key: the model itself, or members of it."""
    own = {where: estimator} if isinstance(estimator, DiscreteTimeHazard) else {}
    if own or (composite := composite_of(estimator)) is None:
        return own
    members = composite.unfitted_members().items()
    return {key: each for name, member in members for key, each in _models_of_when(member, f"{where}.{name}").items()}


def weight_problems(
    estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
    sampler: object | None,
    half_life_days: float | None,
    data: Mapping[str, Any],
    where: str = "model",
) -> list[Problem]:
    """Find what does not go with weights of rows by age.

    Parameters
    ----------
    estimator : scikit-learn estimator
        The model.
    sampler : imbalanced-learn sampler or None
    half_life_days : float or None
        None: there are no weights.
    data : mapping
        The data config.
    where : str
        Config key of the model.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> print(*weight_problems(KNeighborsClassifier(), None, 240, {"kind": "events"}))
      fit.half_life_days
          got:     240, but KNeighborsClassifier (model) cannot weigh rows
          allowed: null, or a model whose fit has the argument sample_weight
    """
    if half_life_days is None:
        return []
    problems = []
    if data.get("kind") == "table" and data.get("time") is None:
        allowed = "null, or data.time=COLUMN, with the time of each row"
        problems.append(Problem("fit.half_life_days", f"{half_life_days:g}, for a table without times", allowed))
    if sampler is not None:
        allowed = "null, or sampler=none: a sampler makes rows that have no age"
        problems.append(
            Problem("fit.half_life_days", f"{half_life_days:g}, with the sampler {type(sampler).__name__}", allowed)
        )
    for key, each in fitted_separately(estimator, where).items():
        traits, got = traits_of(each), f"{half_life_days:g}, but {type(each).__name__} ({key})"
        if not has_fit_parameter(each, "sample_weight"):
            allowed = "null, or a model whose fit has the argument sample_weight"
            problems.append(Problem("fit.half_life_days", f"{got} cannot weigh rows", allowed))
        elif traits.class_weights(each, 1.0, 1.0) != traits.class_weights(each, 1.0, 2.0):
            allowed = "null, or class weights that are numbers, such as [1,10]"
            problems.append(Problem("fit.half_life_days", f"{got} has class weights that follow the rows", allowed))
    return problems


def _not_alone(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
    """Find a model inside another one that gives more than a probability, which the one around it cannot use."""
    if where == "model" or not isinstance(estimator, HasOutputs):
        return []
    if isinstance(estimator, DiscreteTimeHazard):  # a vote or a stack can use its probability by the horizon
        if _MODEL_OR_MEMBER.fullmatch(where):
            return []
        return [Problem(f"{where}._target_", "DiscreteTimeHazard inside another model", _PLACES)]
    return [Problem(f"{where}._target_", f"{type(estimator).__name__} inside another model", only_alone(estimator))]


def only_alone(estimator: HasOutputs) -> str:
    """Say why a model that gives more than a probability is never a part of another one, nor chosen among others.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> only_alone(DiscreteTimeHazard(LogisticRegression(), [7, 30]))
    'a classifier that gives a probability alone; this one also gives by_7d and by_30d. Make it the model itself'
    """
    names = joined([output.name for output in estimator.outputs])
    return f"a classifier that gives a probability alone; this one also gives {names}. Make it the model itself"


def _rejected_values(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
    """Find values that scikit-learn's own table of an estimator's parameters does not allow."""
    traits, problems = traits_of(estimator), []
    automatic = {each.name: each.is_auto(estimator) for each in traits.regularisation}
    constraints, kind = getattr(estimator, "_parameter_constraints", None), type(estimator).__name__
    if constraints is None:  # the estimator of another library, or one's own
        words = {name: value for name, value in _given(estimator, automatic).items() if isinstance(value, str)}
        return [
            Problem(f"{where}.{name}", repr(value), f"a number, or {AUTO}", closest(value, [AUTO]))
            for name, value in words.items()
            if not automatic[name]
        ]
    columns = traits.column_parameters
    passed = estimator.get_params(deep=False) | class_weights_in_library_form(estimator)
    for name, value in passed.items():
        if name in columns or automatic.get(name):
            continue
        try:
            validate_parameter_constraints(constraints, {name: value}, kind)
        except InvalidParameterError as error:
            message = _REJECTED.fullmatch(str(error))
            allowed = message["allowed"] if message else str(error)
            allowed += f", or {AUTO}" if name in automatic else ""
            near = closest(value, [AUTO]) if name in automatic and isinstance(value, str) else None
            problems.append(Problem(f"{where}.{name}", repr(value), allowed, near))
    return problems


def _other_objectives(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
    """Find objectives that give no probabilities of two classes, such as those of a regression."""
    problems = []
    allowed = traits_of(estimator).objectives if is_classifier(estimator) else {}
    for name, value in _given(estimator, allowed).items():
        known = allowed[name]
        works = callable(value) or f"{value}:".startswith(tuple(f"{each}:" for each in known))
        if not works:
            expected = f"{' or '.join(known)}, for probabilities of two classes"
            problems.append(Problem(f"{where}.{name}", repr(value), expected, closest(str(value), known)))
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
