"""The search space, in Hydra's sweep syntax, with conditional parameters."""

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
    """Searched and fixed config keys.

    Attributes
    ----------
    searched : mapping of str to optuna distribution
        Distributions by config key.
    fixed : mapping of str to str
        Values by config key, in command-line syntax.
    """

    searched: Mapping[str, BaseDistribution]
    fixed: Mapping[str, str]


@dataclass(frozen=True)
class Space:
    """The search space: everything that a trial may set.

    Attributes
    ----------
    base : Parameters
        Parameters of every trial.
    conditions : mapping of str to Parameters
        Parameters of the trials that chose ``key=value``, by that condition. In the study their names are
        ``KEY@VALUE``, so that two models can have a parameter of the same name with different ranges.
    deletions : tuple of str
        Overrides such as ``~key``, passed on to every job.
    choices : mapping of str to str
        Default option of each config group.
    extend : callable or None
        Function ``(config, trial)`` that adds parameters to a trial; hydra-optuna-sweeper's custom_search_space.
    """

    base: Parameters
    conditions: Mapping[str, Parameters] = field(default_factory=dict)
    deletions: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    extend: Callable[[Any, Trial], None] | None = None

    def overrides(self, trial: Trial, config: Any = None) -> list[str]:  # noqa: ANN401 - Hydra's config
        """Suggest a trial's parameters and return the overrides of its job."""
        values = self._values(trial._suggest)  # one method for every kind of distribution
        if self.extend is not None:
            known = {*trial.params, *self.base.fixed}
            self.extend(config, trial)
            added = {name: value for name, value in trial.params.items() if name not in known}
            values |= {name: _override_value(name, value) for name, value in added.items()}
        return [*(f"{key}={value}" for key, value in values.items()), *self.deletions]

    def _values(self, suggest: Callable[[str, BaseDistribution], Any]) -> dict[str, str]:
        """Return a trial's values by config key, in command-line syntax."""
        values = dict(self.base.fixed)
        for key, distribution in self.base.searched.items():
            values[key] = _override_value(key, suggest(key, distribution))
        remaining = dict(self.conditions)
        while (condition := self._next_condition(remaining, values)) is not None:
            parameters = remaining.pop(condition)
            values |= parameters.fixed
            for key, distribution in parameters.searched.items():
                values[key] = _override_value(key, suggest(_study_name(key, condition), distribution))
        return values

    def _next_condition(self, conditions: Iterable[str], values: Mapping[str, str]) -> str | None:
        """Return a condition that holds; conditions met by the trial's values come before those met by a default.

        A condition may depend on a key that another condition sets, regardless of their order.
        """
        for chosen in (values, {key: option for key, option in self.choices.items() if key not in values}):
            for condition in conditions:
                key, _, choice = condition.partition("=")
                if key in chosen and _is_same_value(chosen[key], choice):
                    return condition
        return None

    def config_params(self, config: Any) -> dict[str, Any]:  # noqa: ANN401 - Hydra's config
        """Return the current config as a trial's parameters; empty if it lies outside the space.

        Parameters
        ----------
        config : DictConfig
            The sweep's own config.
        """
        from omegaconf import OmegaConf

        params: dict[str, Any] = {}

        def read(name: str, distribution: BaseDistribution) -> Any:  # noqa: ANN401
            key = name.partition("@")[0]
            value = self.choices[key] if key in self.choices else OmegaConf.select(config, key)
            if OmegaConf.is_config(value):
                value = _written_choice(key, OmegaConf.to_container(value, resolve=True), distribution)
            if not distribution._contains(distribution.to_internal_repr(value)):
                raise ValueError(name)
            params[name] = value
            return value

        try:
            self._values(read)
        except (ValueError, TypeError):  # also raised by Optuna if a value is not a number or not one of the choices
            return {}
        return params

    def corners(self) -> Iterator[list[str]]:
        """Yield the overrides of a few trials that together set every key, to check them before the first trial."""
        seen: list[dict[str, str]] = []
        for chosen in [{}, *(self._choices_leading_to(condition) for condition in self.conditions)]:
            values = self._values(lambda name, distribution, chosen=chosen: chosen.get(name, _any_value(distribution)))  # type: ignore[misc]
            if values not in seen:
                seen.append(values)
                yield [*(f"{key}={value}" for key, value in values.items()), *self.deletions]

    def _choices_leading_to(self, condition: str) -> dict[str, Any]:
        """Return the choices, by their names in the study, that meet a condition; empty if none do."""
        key, _, choice = condition.partition("=")
        if key in self.base.searched:
            return _matching_choice(key, self.base.searched[key], choice)
        for other, parameters in self.conditions.items():
            if other != condition and key in parameters.searched:
                return self._choices_leading_to(other) | _matching_choice(
                    _study_name(key, other), parameters.searched[key], choice
                )
        return {}

    def describe(self) -> dict[str, str]:
        """Return the distributions as text, by their names in the study, to tell whether two spaces are equal."""
        described = {key: repr(distribution) for key, distribution in self.base.searched.items()}
        for condition, parameters in self.conditions.items():
            described |= {_study_name(key, condition): repr(each) for key, each in parameters.searched.items()}
        return described


def parse_space(
    params: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    choices: Mapping[str, str],
    extend: Callable[[Any, Trial], None] | None = None,
) -> Space:
    """Parse a search space.

    Parameters
    ----------
    params : mapping
        hydra.sweeper.params: sweep expressions such as ``tag(log, interval(0.01, 0.3))``, by config key.
    conditions : mapping
        hydra.sweeper.conditions: parameters that only trials with ``key=value`` have, by that condition.
    arguments : sequence of str
        Command-line overrides, which take precedence over both.
    choices : mapping
        Option of each config group in the composed config.
    extend : callable, optional
        See `Space`.

    Raises
    ------
    ConfigError
        If an expression is invalid, or nothing is searched.

    Examples
    --------
    >>> space = parse_space({"model.max_depth": "range(2,6)"}, {}, ["seed=1"], {})
    >>> space.describe(), dict(space.base.fixed)
    ({'model.max_depth': 'IntDistribution(high=5, log=False, low=2, step=1)'}, {'seed': '1'})
    """
    command_line, deletions = _parse(arguments, "the command line")
    base, _ = _parse(_as_overrides(params), "hydra.sweeper.params")
    conditional = {}
    for condition, parameters in conditions.items():
        parsed, _ = _parse(_as_overrides(parameters), f"hydra.sweeper.conditions.{condition}")
        conditional[condition] = parsed
    _check_conditions(conditional, base, command_line, choices)
    conditional = {condition: _override(parameters, command_line) for condition, parameters in conditional.items()}
    conditional_keys = {key for parameters in conditional.values() for key in (*parameters.searched, *parameters.fixed)}
    searched = {**base.searched, **{k: v for k, v in command_line.searched.items() if k not in conditional_keys}}
    fixed = {**base.fixed, **{k: v for k, v in command_line.fixed.items() if k not in conditional_keys}}
    merged = Parameters({key: searched[key] for key in searched if key not in command_line.fixed}, fixed)
    space = Space(merged, conditional, tuple(deletions), choices, extend)
    if not space.describe() and extend is None:
        problem = Problem(
            "hydra.sweeper.params", "nothing to search", "at least one key with a choice, range or interval"
        )
        raise ConfigError("The search space", [problem], "Nothing was run. Leave out -m for a single run.")
    return space


def _check_conditions(
    conditions: Mapping[str, Parameters], base: Parameters, command_line: Parameters, choices: Mapping[str, str]
) -> None:
    """Reject conditions that no trial can meet, except those whose choice the command line excludes."""
    problems = []
    sources = [base, command_line, *conditions.values()]
    known = sorted({*choices, *(key for source in sources for key in (*source.searched, *source.fixed))})
    for condition in conditions:
        where, (key, equals, choice) = f"hydra.sweeper.conditions.{condition}", condition.partition("=")
        options = [str(option) for option in getattr(base.searched.get(key), "choices", ())]
        if not equals:
            problems.append(Problem(where, condition, "key=value, such as model=xgboost"))
        elif key not in known:
            problems.append(Problem(where, key, "a searched key: " + ", ".join(known), closest(key, known)))
        elif options and not any(_is_same_value(option, choice) for option in options):
            problems.append(Problem(where, choice, ", ".join(options), closest(choice, options)))
    if problems:
        raise ConfigError("The search space", problems, "Nothing was run.")


def _override(parameters: Parameters, command_line: Parameters) -> Parameters:
    """Return conditional parameters with the command line's settings of their keys."""
    searched = {key: command_line.searched.get(key, value) for key, value in parameters.searched.items()}
    searched |= {key: command_line.searched[key] for key in parameters.fixed if key in command_line.searched}
    keys = {*parameters.searched, *parameters.fixed}
    fixed = {**parameters.fixed, **{key: value for key, value in command_line.fixed.items() if key in keys}}
    return Parameters(
        {key: value for key, value in searched.items() if key not in command_line.fixed},
        {key: value for key, value in fixed.items() if key not in command_line.searched},
    )


def _as_overrides(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={'null' if value is None else value}" for key, value in params.items()]


def _parse(lines: Sequence[str], where: str) -> tuple[Parameters, list[str]]:
    from hydra.errors import HydraException
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    problems, deletions = [], list[str]()
    searched: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    for line in lines:
        try:
            parsed = create_params_from_overrides([line])
        except (HydraException, ValueError, AssertionError, NotImplementedError) as error:
            syntax = "Hydra's sweep syntax: choice, range, interval, tag(log, …)"
            problems.append(Problem(where, f"{line}  ({_reason(error)})", syntax))
            continue
        searched |= {
            key: _sorted_choices(distribution) if "shuffle" in line else distribution
            for key, distribution in parsed[0].items()
        }
        fixed |= parsed[1]
        deletions += parsed[2]
    if problems:
        raise ConfigError("The search space", problems, "Nothing was run.")
    return Parameters(searched, fixed), deletions


def _reason(error: Exception) -> str:
    """Return Hydra's message without its first line, an index, and its last one, a link."""
    lines = str(error).splitlines()
    reasons = [line for line in lines if not line.startswith(("Error when parsing index", "Error parsing", "See "))]
    return "; ".join(reasons) or "cannot be searched"


def _sorted_choices(distribution: BaseDistribution) -> BaseDistribution:
    """Undo a shuffle, which means nothing in a search; to Optuna, the same choices in another order differ."""
    from optuna.distributions import CategoricalDistribution

    assert isinstance(distribution, CategoricalDistribution)
    return CategoricalDistribution(sorted(distribution.choices, key=repr))


def _study_name(key: str, condition: str) -> str:
    """Return the name of a conditional parameter in the study."""
    return f"{key}@{condition.partition('=')[2]}"


def _is_same_value(value: str, choice: str) -> bool:
    """Return whether two command-line values mean the same, as ``True`` and ``true`` do."""
    keywords = {"true": "true", "false": "false", "none": "null", "null": "null"}
    value, choice = value.strip("'"), choice.strip("'")
    return keywords.get(value.lower(), value) == keywords.get(choice.lower(), choice)


def _override_value(key: str, value: Any) -> str:  # noqa: ANN401
    """Return a suggested value in command-line syntax, so that Hydra parses it back to the same value.

    Strings that Hydra would split or misread are quoted. Lists and dicts are strings in a study.

    Examples
    --------
    >>> [_override_value("a", value) for value in ("c,d", "1", "[1,2]", 0.5, None)]
    ["'c,d'", "'1'", '[1,2]', '0.5', 'null']
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
    is_misread = parsed.is_sweep_override() or isinstance(parsed.value(), int | float)
    return quoted if is_misread else value


def _written_choice(key: str, value: Any, distribution: BaseDistribution) -> str | None:  # noqa: ANN401
    """Return how a choice writes a list or a map, None if no choice does: in a study they are texts.

    Examples
    --------
    >>> from optuna.distributions import CategoricalDistribution
    >>> _written_choice("a", {"seats": 1}, CategoricalDistribution(["{seats:-1}", "{seats:1}"]))
    '{seats:1}'
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    options = [
        each for each in getattr(distribution, "choices", ()) if isinstance(each, str) and each[:1] in ("[", "{")
    ]
    return next((each for each in options if parser.parse_override(f"{key}={each}").value() == value), None)


def _matching_choice(name: str, distribution: BaseDistribution, choice: str) -> dict[str, Any]:
    options = getattr(distribution, "choices", ())
    return dict([(name, option) for option in options if _is_same_value(str(option), choice)][:1])


def _any_value(distribution: BaseDistribution) -> Any:  # noqa: ANN401
    choices = getattr(distribution, "choices", None)
    return choices[0] if choices else distribution.low  # type: ignore[attr-defined]
