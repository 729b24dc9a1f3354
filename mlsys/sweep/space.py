"""The search space, in Hydra's own sweep syntax, with parameters that only some choices have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlsys.errors import ConfigError, Problem

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
        values: dict[str, Any] = dict(self.base.fixed)
        for key, distribution in self.base.searched.items():
            values[key] = trial._suggest(key, distribution)  # one call for all kinds of distribution
        for condition, parameters in self.conditions.items():
            key, _, choice = condition.partition("=")
            if str(values.get(key, self.choices.get(key))) == choice:
                values |= parameters.fixed
                for name, distribution in parameters.searched.items():
                    values[name] = trial._suggest(f"{name}@{choice}", distribution)
        if self.extend is not None:
            known = set(trial.params)
            self.extend(config, trial)
            values |= {name: value for name, value in trial.params.items() if name not in known}
        return [*(f"{key}={value}" for key, value in values.items()), *self.deletions]

    def corners(self) -> Iterator[list[str]]:
        """Yield the overrides of a few trials that together set every key, to be checked before the first trial."""
        first = {key: _some(distribution) for key, distribution in self.base.searched.items()} | dict(self.base.fixed)
        yield [*(f"{key}={value}" for key, value in first.items()), *self.deletions]
        for condition, parameters in self.conditions.items():
            key, _, choice = condition.partition("=")
            if key in self.base.fixed and self.base.fixed[key] != choice:
                continue
            searched = {name: _some(distribution) for name, distribution in parameters.searched.items()}
            values = first | {key: choice} | dict(parameters.fixed) | searched
            yield [*(f"{name}={value}" for name, value in values.items()), *self.deletions]

    def describe(self) -> dict[str, str]:
        """Return the searched parameters, by their names in the study, as text that changes when they do."""
        found = {key: repr(distribution) for key, distribution in self.base.searched.items()}
        for condition, parameters in self.conditions.items():
            choice = condition.partition("=")[2]
            found |= {f"{key}@{choice}": repr(distribution) for key, distribution in parameters.searched.items()}
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
    base, _ = _parse([f"{key}={value}" for key, value in params.items()], "hydra.sweeper.params")
    conditional = {}
    for condition, parameters in conditions.items():
        if "=" not in condition:
            problem = Problem(f"hydra.sweeper.conditions.{condition}", condition, "key=value, such as model=xgboost")
            raise ConfigError("The search space", [problem], "Nothing was run.")
        lines = [f"{key}={value}" for key, value in parameters.items()]
        parsed, _ = _parse(lines, f"hydra.sweeper.conditions.{condition}")
        conditional[condition] = _override(parsed, given)
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


def _parse(lines: Sequence[str], where: str) -> tuple[Parameters, list[str]]:
    from hydra.errors import HydraException
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    try:
        searched, fixed, deletions = create_params_from_overrides(list(lines))
    except (HydraException, ValueError, AssertionError, NotImplementedError) as error:
        problem = Problem(
            where, str(error).splitlines()[0], "Hydra's sweep syntax: choice, range, interval, tag(log, …)"
        )
        raise ConfigError("The search space", [problem], "Nothing was run.") from error
    return Parameters(searched, fixed), deletions


def _some(distribution: BaseDistribution) -> Any:  # noqa: ANN401
    choices = getattr(distribution, "choices", None)
    return choices[0] if choices else distribution.low  # type: ignore[attr-defined]
