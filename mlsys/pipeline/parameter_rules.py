"""Rules for the values of parameters, for estimators that do not check them before a fit; see `Traits.rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Protocol, TypeGuard

from sklearn.base import is_classifier

from mlsys.errors import Problem, closest
from mlsys.text import shortened

MAX_SHOWN = 80


class ParameterRule(Protocol):
    """What a parameter of an estimator may be."""

    def problems(self, name: str, parameters: Mapping[str, Any], where: str) -> list[Problem]:
        """Return what is wrong with the parameter of this name.

        Parameters
        ----------
        name : str
            Name of the parameter.
        parameters : mapping
            All parameters of the estimator.
        where : str
            Config key of the estimator.
        """
        ...


@dataclass(frozen=True)
class ValueRule:
    """A parameter whose value as a whole is right or wrong.

    Attributes
    ----------
    accepts : callable
        Function of the value and all parameters of the estimator.
    allowed : str
        What is accepted, for messages.
    options : tuple of str
        Accepted words, to find the closest one.

    Examples
    --------
    >>> print(one_of("fast", "exact").problems("method", {"method": "exakt"}, "model")[0].brief)
    model.method: got 'exakt', allowed: fast or exact, closest: exact
    """

    accepts: Callable[[Any, Mapping[str, Any]], bool]
    allowed: str
    options: tuple[str, ...] = ()

    def problems(self, name: str, parameters: Mapping[str, Any], where: str) -> list[Problem]:
        """Return one problem if the value is not accepted."""
        value = parameters[name]
        if self.accepts(value, parameters):
            return []
        near = closest(value, self.options) if isinstance(value, str) else None
        return [Problem(f"{where}.{name}", shown(value), self.allowed, near)]


@dataclass(frozen=True)
class Members:
    """Named classifiers, as pairs of name and estimator, which a config calls ``members``."""

    def problems(self, name: str, parameters: Mapping[str, Any], where: str) -> list[Problem]:
        """Return each member that is not a classifier, or that there is none."""
        if not parameters[name]:
            return [Problem(f"{where}.members", "no member that is not null", "at least one, better two")]
        return [
            Problem(f"{where}.members.{key}", shown(member), "a classifier, by its _target_, or null to leave it out")
            for key, member in parameters[name]
            if not is_a(is_classifier, member)
        ]


def whole(low: int) -> ValueRule:
    """Return the rule of a whole number of at least ``low``.

    Examples
    --------
    >>> rule = whole(1)
    >>> [rule.accepts(value, {}) for value in (3, 0, 1.5, True, "3")]
    [True, False, False, False, False]
    """
    return ValueRule(lambda value, _: type(value) is int and value >= low, f"a whole number of at least {low}")


def number(low: float, high: float = inf, *, above: bool = False) -> ValueRule:
    """Return the rule of a finite number from ``low`` to ``high``, or above ``low``.

    Examples
    --------
    >>> number(0, above=True).allowed, number(0, 1).allowed
    ('a number above 0', 'a number from 0 to 1')
    """

    def accepts(value: object, _: Mapping[str, Any]) -> bool:
        return is_number(value) and (value > low if above else value >= low) and value <= high

    if high < inf:
        return ValueRule(accepts, f"a number {'above' if above else 'from'} {low:g} to {high:g}")
    return ValueRule(accepts, f"a number above {low:g}" if above else f"a number of at least {low:g}")


def one_of(*words: str) -> ValueRule:
    """Return the rule of a word."""
    return ValueRule(lambda value, _: value in words, " or ".join(words), words)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def is_a(kind: Callable[[Any], bool], value: object) -> bool:
    """Return whether a value is an estimator of a kind, such as ``is_classifier``.

    Examples
    --------
    >>> is_a(is_classifier, "logistic")
    False
    """
    return hasattr(value, "__sklearn_tags__") and not isinstance(value, type) and kind(value)


def shown(value: object) -> str:
    """Return a value as messages show it: null as in a config, and an estimator by its class.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> shown(None), shown(Ridge()), shown("x")
    ('null', 'a Ridge', "'x'")
    """
    if value is None:
        return "null"
    return f"a {type(value).__name__}" if hasattr(value, "get_params") else shortened(repr(value), MAX_SHOWN)


def broken_rules(estimator: Any, rules: Mapping[str, ParameterRule], where: str) -> list[Problem]:  # noqa: ANN401
    """Return the parameters of an estimator that break its rules.

    Parameters
    ----------
    estimator : scikit-learn estimator
    rules : mapping of str to ParameterRule
        By name of the parameter.
    where : str
        Config key of the estimator.
    """
    parameters = estimator.get_params(deep=False)
    return [problem for name, rule in rules.items() for problem in rule.problems(name, parameters, where)]


def _are_votes(weights: object, members: int) -> bool:
    if not isinstance(weights, list | tuple) or len(weights) != members or not all(map(is_number, weights)):
        return False
    return min(weights, default=0) >= 0 and any(weights)


# The weights of the members of a vote.
VOTES = ValueRule(
    lambda weights, parameters: weights is None or _are_votes(weights, len(parameters["estimators"])),
    "null, or one number for each member that is not null, in order: finite, at least 0, and one above 0",
)
