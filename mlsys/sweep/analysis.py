"""What the trials of a sweep say: which are best, where each parameter was tried, and which parameters matter."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

TOP_SHARE = 0.1  # of the complete trials, which are shown as the best ones
LEAST_FOR_IMPORTANCES = 15  # complete trials; with fewer, shares are mere chance
TARGET = 5  # trials that the importances tell from the rest, at least: the evaluator's authors advise as many


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search.

    Attributes
    ----------
    name, label : str
        In the study, and for people.
    distribution : optuna distribution
        Over all trials.
    """

    name: str
    label: str
    distribution: BaseDistribution

    @property
    def choices(self) -> tuple[Any, ...]:
        """What it chooses from; empty for numbers."""
        found = self.distribution
        return tuple(found.choices) if isinstance(found, CategoricalDistribution) else ()

    @property
    def is_log(self) -> bool:
        """Whether it was searched on a log scale."""
        return bool(getattr(self.distribution, "log", False))

    @property
    def ends(self) -> tuple[float, float]:
        """Where its axis begins and ends, for numbers; places of the choices else."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        low, high = float(self.distribution.low), float(self.distribution.high)  # type: ignore[attr-defined]
        if low < high:
            return low, high
        return (low / 1.1, low * 1.1) if self.is_log else (low - 1, low + 1)

    def place(self, value: Any) -> float:  # noqa: ANN401
        """Return where a value lies on the axis; a choice at its number."""
        return float(self.distribution.to_internal_repr(value))

    def share(self, value: Any) -> float:  # noqa: ANN401
        """Return where a value lies between the ends, 0 to 1.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> Parameter("lr", "lr", FloatDistribution(0.01, 1.0, log=True)).share(0.1)
        0.5
        """
        low, high = self.ends
        place = self.place(value)
        if self.is_log:
            low, high, place = math.log(low), math.log(high), math.log(place)
        return round((place - low) / (high - low), 9)

    def write(self, value: Any) -> str:  # noqa: ANN401
        """Write a value.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> Parameter("depth", "depth", IntDistribution(2, 7)).write(4.0)
        '4'
        """
        return plain(int(value) if isinstance(self.distribution, IntDistribution) else value)

    def describe(self) -> str:
        """Return what was searched, in words."""
        if self.choices:
            return "one of " + ", ".join(map(plain, self.choices))
        found: Any = self.distribution
        whole = "whole numbers, " if isinstance(found, IntDistribution) else ""
        return f"{whole}{self.write(found.low)} to {self.write(found.high)}{', log scale' if self.is_log else ''}"


@dataclass(frozen=True)
class Importances:
    """Shares of the parameters' importance by label, the largest first; or why there are none."""

    shares: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class SweepAnalysis:
    """What a sweep's trials say.

    Attributes
    ----------
    trials : sequence of FrozenTrial
        Those that count, by number.
    objectives, directions : sequence of str
        Names, and ``minimize`` or ``maximize`` for each.
    """

    trials: Sequence[FrozenTrial]
    objectives: Sequence[str]
    directions: Sequence[str]

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        """Trials with a value."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

    @cached_property
    def pruned(self) -> list[FrozenTrial]:
        """Trials that were given up."""
        return [trial for trial in self.trials if trial.state is TrialState.PRUNED]

    @cached_property
    def failed(self) -> list[FrozenTrial]:
        """Trials that failed."""
        return [trial for trial in self.trials if trial.state is TrialState.FAIL]

    @cached_property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The values of the complete trials, shape (n_complete, n_objectives)."""
        return np.asarray([trial.values for trial in self.complete], dtype=np.float64).reshape(-1, len(self.objectives))

    @cached_property
    def losses(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The same with the sign that makes lower ones better."""
        return self.values * self.signs

    @property
    def signs(self) -> list[float]:
        """1 for each objective to be minimised, -1 for each to be maximised."""
        return [1.0 if direction == "minimize" else -1.0 for direction in self.directions]

    @cached_property
    def order(self) -> list[int]:
        """Places of the complete trials, the best by the first objective first."""
        return sorted(range(len(self.complete)), key=lambda place: (self.losses[place, 0], self.complete[place].number))

    @cached_property
    def front(self) -> list[int]:
        """Numbers of the trials that no other beats in every objective."""
        return [trial.number for trial, is_in in zip(self.complete, _on_front(self.losses), strict=True) if is_in]

    @cached_property
    def top(self) -> set[int]:
        """Numbers of the trials to be shown as the best: a tenth, or the front where there are several objectives."""
        if len(self.objectives) > 1:
            return set(self.front)
        if self.are_equal:
            return set()
        most = math.ceil(TOP_SHARE * len(self.complete))
        return {self.complete[place].number for place in self.order[:most]}

    @property
    def are_equal(self) -> bool:
        """Whether all of several trials have the same values."""
        return len(self.complete) > 1 and bool((self.losses == self.losses[0]).all())

    @property
    def top_name(self) -> str:
        """What those are called."""
        if len(self.objectives) > 1:
            return "on the Pareto front"
        if not self.top:
            return "none, as all are equal"
        return "the best one" if len(self.top) == 1 else f"the {len(self.top)} best"

    @cached_property
    def parameters(self) -> list[Parameter]:
        """All parameters: those of every trial first, then those that only some have."""
        found: dict[str, BaseDistribution] = {}
        for trial in self.trials:
            for name, distribution in trial.distributions.items():
                found[name] = _wider(found[name], distribution) if name in found else distribution
        names = labels(list(found))
        every = sorted(found, key=lambda name: sum(name not in trial.distributions for trial in self.trials) > 0)
        return [Parameter(name, names[name], found[name]) for name in every]

    @cached_property
    def branches(self) -> list[tuple[list[Parameter], list[FrozenTrial]]]:
        """Parameters that the same complete trials have, with those trials; what all have comes first.

        A conditional space has a branch for every condition; what does not vary within a branch is left out.
        """
        kinds: dict[frozenset[int], list[Parameter]] = {}
        for parameter in self.parameters:
            numbers = frozenset(trial.number for trial in self.complete if parameter.name in trial.params)
            if numbers:
                kinds.setdefault(numbers, []).append(parameter)
        branches = []
        for numbers, own in kinds.items():
            trials = [trial for trial in self.complete if trial.number in numbers]
            shared = [each for others, each_own in kinds.items() if others > numbers for each in each_own]
            varied = [each for each in shared if len({trial.params[each.name] for trial in trials}) > 1]
            branches.append(([*varied, *own], trials))
        return sorted(branches, key=lambda branch: -len(branch[1]))

    def limits(self, place: int, room: float = 0.08) -> tuple[float, float]:
        """Return the ends of an objective's axis: it shows the good trials, and very bad ones do not squash them.

        Parameters
        ----------
        place : int
            Of the objective.
        room : float
            Left free at both ends, as a share.
        """
        losses = self.losses[:, place]
        best, usual, worst = (float(np.quantile(losses, share)) for share in (0, 0.8, 1))
        if usual > best:
            is_top = np.isin([trial.number for trial in self.complete], list(self.top))
            worst = max(min(worst, best + 2.5 * (usual - best)), float(losses[is_top].max()))
        if worst == best:  # all are equal
            best, worst = best - (abs(best) * 0.1 or 1.0), worst + (abs(worst) * 0.1 or 1.0)
        low, high = best - room * (worst - best), worst + room * (worst - best)
        return (low, high) if self.directions[place] == "minimize" else (-high, -low)

    def where(self, parameter: Parameter, trials: Sequence[FrozenTrial]) -> str:
        """Return where the best of some trials lie on a parameter, in a few words."""
        chosen = [trial.params[parameter.name] for trial in trials if trial.number in self.top]
        if not chosen:
            return "–"
        if parameter.choices:
            counted = sorted(parameter.choices, key=lambda choice: -chosen.count(choice))
            return ", ".join(plain(choice) for choice in counted[:3] if choice in chosen)
        low, high = parameter.write(min(chosen)), parameter.write(max(chosen))
        return low if low == high else f"{low} to {high}"

    def importances(self) -> Importances:
        """Return Optuna's estimate of how much each parameter matters for being among the best trials."""
        complete = len(self.complete)
        if complete < LEAST_FOR_IMPORTANCES:
            reason = f"Too few trials to tell: {complete} are complete, and shares of importance mean something from "
            return Importances({}, f"{reason}about {LEAST_FOR_IMPORTANCES} on.")
        if len(self.parameters) < 2:
            return Importances({}, "Only one parameter was searched.")
        target = max(TARGET, math.ceil(TOP_SHARE * complete))
        losses = np.sort(self.losses[:, 0])
        if self.are_equal or (len(self.objectives) == 1 and losses[target - 1] == losses[-1]):
            return Importances({}, "So many trials have the same value that no parameter can be told to matter.")
        shares = _importances(self.complete, self.directions, target / complete)
        names = {parameter.name: parameter.label for parameter in self.parameters}
        return Importances(
            {names[name]: share for name, share in sorted(shares.items(), key=lambda each: (-each[1], each[0]))}
        )


def _importances(trials: Sequence[FrozenTrial], directions: Sequence[str], quantile: float) -> dict[str, float]:
    """Return the shares by PED-ANOVA, which takes conditional parameters and several objectives as they are."""
    # In memory: the storage may be slow, or be gone by now.
    study = optuna.create_study(directions=list(directions))  # type: ignore[arg-type]
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # A condition that a single trial met: its parameters count for nothing, which the page says of rare ones.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _on_front(losses: np.ndarray[Any, np.dtype[np.float64]]) -> list[bool]:
    return [
        not bool(((losses <= loss).all(axis=1) & (losses < loss).any(axis=1)).any()) for loss in losses
    ]  # a row of the matrix at a time: 1,000 trials take 20 ms


def _wider(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return a distribution that holds both: a custom search space may move a parameter's ends."""
    if one == other or isinstance(one, CategoricalDistribution):
        return one
    low = min(one.low, other.low)  # type: ignore[attr-defined]
    high = max(one.high, other.high)  # type: ignore[attr-defined]
    return type(one)(low, high, log=one.log and other.log)  # type: ignore[call-arg, attr-defined]


def labels(names: Sequence[str]) -> dict[str, str]:
    """Return what parameters are called for people: their last words, unless two would be the same.

    Examples
    --------
    >>> labels(["model", "model.max_depth@xgboost", "a.seed", "b.seed"])
    {'model': 'model', 'model.max_depth@xgboost': 'max_depth (xgboost)', 'a.seed': 'a.seed', 'b.seed': 'b.seed'}
    """
    found = {}
    for name in names:
        key, _, condition = name.partition("@")
        found[name] = key.rpartition(".")[2] + (f" ({condition})" if condition else "")
    short = list(found.values())
    return {name: label if short.count(label) == 1 else name for name, label in found.items()}


def plain(value: Any) -> str:  # noqa: ANN401
    """Write a value in a few characters, without an exponent where that is readable.

    Examples
    --------
    >>> plain(0.016768), plain(1e-05), plain(250000.0), plain(None), plain(True)
    ('0.01677', '0.00001', '250000', 'null', 'true')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    text = f"{value:.4g}"
    if "e" not in text or not 1e-5 <= abs(value) < 1e7:
        return text
    return f"{float(text):.9f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{float(text):.0f}"
