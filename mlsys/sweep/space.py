"""The search space, in Hydra's own sweep syntax, with parameters that only some choices have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlsys.errors import ConfigError, Problem, closest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


@dataclass(frozen=True)
class Parameters:
    """Some keys of the config: those to be searched, and those that are fixed.

    Attributes
    ----------
    searched : mapping of str to optuna distribution
        By config key.
    fixed : mapping of str to str
        Values as they are written on the command line.
    """

    searched: Mapping[str, BaseDistribution]
    fixed: Mapping[str, str]


@dataclass(frozen=True)
class Space:
    """Everything that a trial may set.

    Attributes
    ----------
    base : Parameters
        Set in every trial.
    conditions : mapping of str to Parameters
        What is set only in trials that chose ``key=value``; in a study its parameters are called ``KEY@VALUE``, so that
        two models may have a parameter of the same name with different ranges.
    deletions : tuple of str
        Overrides such as ``~key``, passed on.
    choices : mapping of str to str
        What the config groups are where nothing sets them.
    extend : callable or None
        Adds further parameters to a trial, as hydra-optuna-sweeper's custom_search_space does: ``(config, trial)``.
    """

    base: Parameters
    conditions: Mapping[str, Parameters] = field(default_factory=dict)
    deletions: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    extend: Callable[[Any, Trial], None] | None = None

    def overrides(self, trial: Trial, config: Any = None) -> list[str]:  # noqa: ANN401 - Hydra's config
        """Let the study suggest the trial's parameters; return the overrides of its job."""
        values = self._values(trial._suggest)  # one call for all kinds of distribution
        if self.extend is not None:
            known = {*trial.params, *self.base.fixed}
            self.extend(config, trial)
            added = {name: value for name, value in trial.params.items() if name not in known}
            values |= {name: _written(name, value) for name, value in added.items()}
        return [*(f"{key}={value}" for key, value in values.items()), *self.deletions]

    def _values(self, suggest: Callable[[str, BaseDistribution], Any]) -> dict[str, str]:
        """Return what a trial sets, by config key, as it is written on the command line."""
        values = dict(self.base.fixed)
        for key, distribution in self.base.searched.items():
            values[key] = _written(key, suggest(key, distribution))
        left = dict(self.conditions)
        while (condition := self._met(left, values)) is not None:
            parameters = left.pop(condition)
            values |= parameters.fixed
            for key, distribution in parameters.searched.items():
                values[key] = _written(key, suggest(_name(key, condition), distribution))
        return values

    def _met(self, conditions: Iterable[str], values: Mapping[str, str]) -> str | None:
        """Return a condition that holds: one that a value decides, and only then one that a default does.

        A condition may be about a key that another one sets, in whatever order they are written.
        """
        for chosen in (values, {key: option for key, option in self.choices.items() if key not in values}):
            for condition in conditions:
                key, _, choice = condition.partition("=")
                if key in chosen and _same(chosen[key], choice):
                    return condition
        return None

    def standing(self, config: Any) -> dict[str, Any]:  # noqa: ANN401 - Hydra's config
        """Return the config as it stands as a trial's parameters; none where the space does not hold it.

        Parameters
        ----------
        config : DictConfig
            The sweep's own.
        """
        from omegaconf import OmegaConf

        found: dict[str, Any] = {}

        def take(name: str, distribution: BaseDistribution) -> Any:  # noqa: ANN401
            key = name.partition("@")[0]
            value = self.choices[key] if key in self.choices else OmegaConf.select(config, key)
            if not distribution._contains(distribution.to_internal_repr(value)):
                raise ValueError(name)
            found[name] = value
            return value

        try:
            self._values(take)
        except (ValueError, TypeError):  # Optuna's own, of a value that is no number or none of the choices
            return {}
        return found

    def corners(self) -> Iterator[list[str]]:
        """Yield the overrides of a few trials that together set every key, to be checked before the first trial."""
        seen: list[dict[str, str]] = []
        for wanted in [{}, *(self._way_to(condition) for condition in self.conditions)]:
            values = self._values(lambda name, distribution, wanted=wanted: wanted.get(name, _some(distribution)))  # type: ignore[misc]
            if values not in seen:
                seen.append(values)
                yield [*(f"{key}={value}" for key, value in values.items()), *self.deletions]

    def _way_to(self, condition: str) -> dict[str, Any]:
        """Return the choices, by their names in the study, that lead to a condition; none where nothing does."""
        key, _, choice = condition.partition("=")
        if key in self.base.searched:
            return _choosing(key, self.base.searched[key], choice)
        for other, parameters in self.conditions.items():
            if other != condition and key in parameters.searched:
                return self._way_to(other) | _choosing(_name(key, other), parameters.searched[key], choice)
        return {}

    def describe(self) -> dict[str, str]:
        """Return the searched parameters, by their names in the study, as text that changes when they do."""
        found = {key: repr(distribution) for key, distribution in self.base.searched.items()}
        for condition, parameters in self.conditions.items():
            found |= {_name(key, condition): repr(each) for key, each in parameters.searched.items()}
        return found


def parse_space(
    params: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    choices: Mapping[str, str],
    extend: Callable[[Any, Trial], None] | None = None,
) -> Space:
    """Read a search space.

    Parameters
    ----------
    params : mapping
        hydra.sweeper.params: config key to sweep expression, such as ``tag(log, interval(0.01, 0.3))``.
    conditions : mapping
        hydra.sweeper.conditions: ``key=value`` to parameters that only trials with that value have.
    arguments : sequence of str
        The command line's overrides, which win over both.
    choices : mapping
        The composed config groups.
    extend : callable, optional
        See `Space`.

    Raises
    ------
    ConfigError
        For an expression that is none, or where nothing is to be searched.

    Examples
    --------
    >>> space = parse_space({"model.max_depth": "range(2,6)"}, {}, ["seed=1"], {})
    >>> space.describe(), dict(space.base.fixed)
    ({'model.max_depth': 'IntDistribution(high=5, log=False, low=2, step=1)'}, {'seed': '1'})
    """
    given, deletions = _parse(arguments, "the command line")
    base, _ = _parse(_lines(params), "hydra.sweeper.params")
    conditional = {}
    for condition, parameters in conditions.items():
        parsed, _ = _parse(_lines(parameters), f"hydra.sweeper.conditions.{condition}")
        conditional[condition] = parsed
    _check_conditions(conditional, base, given, choices)
    conditional = {condition: _override(parameters, given) for condition, parameters in conditional.items()}
    taken = {key for parameters in conditional.values() for key in (*parameters.searched, *parameters.fixed)}
    searched = {**base.searched, **{key: given.searched[key] for key in given.searched if key not in taken}}
    fixed = {**base.fixed, **{key: value for key, value in given.fixed.items() if key not in taken}}
    whole = Parameters({key: searched[key] for key in searched if key not in given.fixed}, fixed)
    space = Space(whole, conditional, tuple(deletions), choices, extend)
    if not space.describe() and extend is None:
        problem = Problem(
            "hydra.sweeper.params", "nothing to search", "at least one key with a choice, range or interval"
        )
        raise ConfigError("The search space", [problem], "Nothing was run. A single run needs no -m.")
    return space


def _check_conditions(
    conditions: Mapping[str, Parameters], base: Parameters, given: Parameters, choices: Mapping[str, str]
) -> None:
    """Find conditions that no trial could meet. Choices that the command line leaves out are none of them."""
    problems = []
    sources = [base, given, *conditions.values()]
    known = sorted({*choices, *(key for each in sources for key in (*each.searched, *each.fixed))})
    for condition in conditions:
        where, (key, equals, choice) = f"hydra.sweeper.conditions.{condition}", condition.partition("=")
        options = [str(option) for option in getattr(base.searched.get(key), "choices", ())]
        if not equals:
            problems.append(Problem(where, condition, "key=value, such as model=xgboost"))
        elif key not in known:
            problems.append(Problem(where, key, "a key that is searched: " + ", ".join(known), closest(key, known)))
        elif options and not any(_same(option, choice) for option in options):
            problems.append(Problem(where, choice, ", ".join(options), closest(choice, options)))
    if problems:
        raise ConfigError("The search space", problems, "Nothing was run.")


def _override(parameters: Parameters, given: Parameters) -> Parameters:
    """Let the command line's settings of these keys win."""
    searched = {key: given.searched.get(key, value) for key, value in parameters.searched.items()}
    searched |= {key: given.searched[key] for key in parameters.fixed if key in given.searched}
    keys = {*parameters.searched, *parameters.fixed}
    fixed = {**parameters.fixed, **{key: value for key, value in given.fixed.items() if key in keys}}
    return Parameters(
        {key: value for key, value in searched.items() if key not in given.fixed},
        {key: value for key, value in fixed.items() if key not in given.searched},
    )


def _lines(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={'null' if value is None else value}" for key, value in params.items()]


def _parse(lines: Sequence[str], where: str) -> tuple[Parameters, list[str]]:
    from hydra.errors import HydraException
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    problems, deletions = [], list[str]()
    searched: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    for line in lines:
        try:
            found = create_params_from_overrides([line])
        except (HydraException, ValueError, AssertionError, NotImplementedError) as error:
            syntax = "Hydra's sweep syntax: choice, range, interval, tag(log, …)"
            problems.append(Problem(where, f"{line}  ({_reason(error)})", syntax))
            continue
        searched |= {
            key: _in_order(distribution) if "shuffle" in line else distribution
            for key, distribution in found[0].items()
        }
        fixed |= found[1]
        deletions += found[2]
    if problems:
        raise ConfigError("The search space", problems, "Nothing was run.")
    return Parameters(searched, fixed), deletions


def _reason(error: Exception) -> str:
    """Return what Hydra says of a line: it stands between a line on its number and one with a link."""
    lines = str(error).splitlines()
    words = [line for line in lines if not line.startswith(("Error when parsing index", "Error parsing", "See "))]
    return "; ".join(words) or "it cannot be searched"


def _in_order(distribution: BaseDistribution) -> BaseDistribution:
    """Undo a shuffle: it means nothing in a search, but to a study the same choices in another order are others."""
    from optuna.distributions import CategoricalDistribution

    assert isinstance(distribution, CategoricalDistribution)
    return CategoricalDistribution(sorted(distribution.choices, key=repr))


def _name(key: str, condition: str) -> str:
    """Return what a parameter of a condition is called in the study."""
    return f"{key}@{condition.partition('=')[2]}"


def _sets(parameters: Parameters, key: str) -> bool:
    return key in parameters.searched or key in parameters.fixed


def _same(value: str, choice: str) -> bool:
    """Tell whether two words of the command line mean the same, as ``True`` and ``true`` do."""
    words = {"true": "true", "false": "false", "none": "null", "null": "null"}
    value, choice = value.strip("'"), choice.strip("'")
    return words.get(value.lower(), value) == words.get(choice.lower(), choice)


def _written(key: str, value: Any) -> str:  # noqa: ANN401
    """Return a suggested value as the command line must have it for Hydra to read the same value.

    Words that Hydra would split or take for something else are quoted; lists and dictionaries are words in a study.

    Examples
    --------
    >>> _written("a", "c,d"), _written("a", "1"), _written("a", "[1,2]"), _written("a", 0.5), _written("a", None)
    ("'c,d'", "'1'", '[1,2]', '0.5', 'null')
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if not isinstance(value, str):
        return "null" if value is None else str(value)
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" if value else value
    try:
        parsed = OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return quoted
    is_other = parsed.is_sweep_override() or isinstance(parsed.value(), int | float)
    return quoted if is_other else value


def _choosing(name: str, distribution: BaseDistribution, choice: str) -> dict[str, Any]:
    options = getattr(distribution, "choices", ())
    return dict([(name, option) for option in options if _same(str(option), choice)][:1])


def _some(distribution: BaseDistribution) -> Any:  # noqa: ANN401
    choices = getattr(distribution, "choices", None)
    return choices[0] if choices else distribution.low  # type: ignore[attr-defined]
