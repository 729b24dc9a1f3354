"""Analysis of a sweep's trials: the best ones, the range where each parameter was tried, parameter importances."""

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

TOP_FRACTION = 0.1  # fraction of the complete trials that is highlighted as the best ones
MIN_TRIALS_FOR_IMPORTANCES = 15  # complete trials; with fewer, importances are noise
MIN_TARGET_TRIALS = 5  # minimum number of trials in PED-ANOVA's target region, as its authors recommend


@dataclass(frozen=True)
class Parameter:
    """A parameter of the search space.

    Attributes
    ----------
    name : str
        Name in the study.
    label : str
        Name in plots and tables.
    distribution : optuna distribution
        The union of the distributions of all trials.
    """

    name: str
    label: str
    distribution: BaseDistribution

    @property
    def choices(self) -> tuple[Any, ...]:
        """The choices of a categorical parameter; empty for a numerical one."""
        distribution = self.distribution
        return tuple(distribution.choices) if isinstance(distribution, CategoricalDistribution) else ()

    @property
    def is_log(self) -> bool:
        """Whether the parameter was searched on a log scale."""
        return bool(getattr(self.distribution, "log", False))

    @property
    def axis_limits(self) -> tuple[float, float]:
        """The lower and upper limit of the parameter's axis; choices lie at 0, 1, 2 and so on."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        low, high = float(self.distribution.low), float(self.distribution.high)  # type: ignore[attr-defined]
        if low < high:
            return low, high
        return (low / 1.1, low * 1.1) if self.is_log else (low - 1, low + 1)

    def position(self, value: Any) -> float:  # noqa: ANN401
        """Return the position of a value on the axis: the number itself, or the index of a choice."""
        return float(self.distribution.to_internal_repr(value))

    def fraction(self, value: Any) -> float:  # noqa: ANN401
        """Return the position of a value between the axis limits, from 0 to 1.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> Parameter("lr", "lr", FloatDistribution(0.01, 1.0, log=True)).fraction(0.1)
        0.5
        """
        low, high = self.axis_limits
        position = self.position(value)
        if self.is_log:
            low, high, position = math.log(low), math.log(high), math.log(position)
        return round((position - low) / (high - low), 9)

    def format(self, value: Any) -> str:  # noqa: ANN401
        """Return a value as text.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> Parameter("depth", "depth", IntDistribution(2, 7)).format(4.0)
        '4'
        """
        return format_value(int(value) if isinstance(self.distribution, IntDistribution) else value)

    def describe(self) -> str:
        """Return the range or the choices that were searched, as text."""
        if self.choices:
            return "one of " + ", ".join(map(format_value, self.choices))
        distribution: Any = self.distribution
        kind = "integers " if isinstance(distribution, IntDistribution) else ""
        scale = ", log scale" if self.is_log else ""
        return f"{kind}{self.format(distribution.low)} to {self.format(distribution.high)}{scale}"


@dataclass(frozen=True)
class Importances:
    """Importances of the parameters.

    Attributes
    ----------
    values : dict of str to float
        Importance by parameter label, largest first; the values add up to 1. Empty where they cannot be estimated.
    reason : str
        Why they cannot be estimated.
    """

    values: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class SweepAnalysis:
    """Rankings, ranges and importances of a sweep's trials.

    Attributes
    ----------
    trials : sequence of FrozenTrial
        Finished trials in order of their numbers, without those that were retried.
    objectives : sequence of str
        Names of the objectives.
    directions : sequence of str
        ``minimize`` or ``maximize`` for each objective.
    """

    trials: Sequence[FrozenTrial]
    objectives: Sequence[str]
    directions: Sequence[str]

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        """Trials that completed."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

    @cached_property
    def pruned(self) -> list[FrozenTrial]:
        """Trials that were pruned."""
        return [trial for trial in self.trials if trial.state is TrialState.PRUNED]

    @cached_property
    def failed(self) -> list[FrozenTrial]:
        """Trials that failed."""
        return [trial for trial in self.trials if trial.state is TrialState.FAIL]

    @property
    def outcomes(self) -> str:
        """The number of complete, pruned and failed trials, as text."""
        return f"{len(self.complete):,} complete, {len(self.pruned):,} pruned, {len(self.failed):,} failed"

    @cached_property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Objective values of the complete trials, shape (n_complete, n_objectives)."""
        return np.asarray([trial.values for trial in self.complete], dtype=np.float64).reshape(-1, len(self.objectives))

    @cached_property
    def losses(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Objective values with the sign changed where the objective is maximised, so that lower is better."""
        return self.values * self.signs

    @property
    def signs(self) -> list[float]:
        """1 for each minimised objective, -1 for each maximised one."""
        return [1.0 if direction == "minimize" else -1.0 for direction in self.directions]

    @cached_property
    def ranking(self) -> list[int]:
        """Indices into `complete`, best by the first objective first."""
        return sorted(range(len(self.complete)), key=lambda index: (self.losses[index, 0], self.complete[index].number))

    @cached_property
    def pareto_front(self) -> list[int]:
        """Numbers of the Pareto-optimal trials."""
        optimal = _is_pareto_optimal(self.losses)
        return [trial.number for trial, is_optimal in zip(self.complete, optimal, strict=True) if is_optimal]

    @cached_property
    def top(self) -> set[int]:
        """Numbers of the trials to highlight: the best tenth, or the Pareto front if there are several objectives."""
        if len(self.objectives) > 1:
            return set(self.pareto_front)
        if self.all_equal:
            return set()
        n_top = math.ceil(TOP_FRACTION * len(self.complete))
        return {self.complete[index].number for index in self.ranking[:n_top]}

    @property
    def all_equal(self) -> bool:
        """Whether there are several complete trials and all have the same values."""
        return len(self.complete) > 1 and bool((self.losses == self.losses[0]).all())

    @property
    def top_label(self) -> str:
        """The name of the highlighted trials in legends."""
        if len(self.objectives) > 1:
            return "Pareto front"
        if not self.top:
            return "none, because all are equal"
        return "best trial" if len(self.top) == 1 else f"best {len(self.top)} trials"

    @cached_property
    def parameters(self) -> list[Parameter]:
        """All parameters: those of every trial first, then the conditional ones."""
        distributions: dict[str, BaseDistribution] = {}
        for trial in self.trials:
            for name, distribution in trial.distributions.items():
                known = distributions.get(name)
                distributions[name] = distribution if known is None else _union(known, distribution)
        labels = parameter_labels(list(distributions))
        ordered = sorted(distributions, key=lambda name: any(name not in trial.distributions for trial in self.trials))
        return [Parameter(name, labels[name], distributions[name]) for name in ordered]

    @cached_property
    def branches(self) -> list[tuple[list[Parameter], list[FrozenTrial]]]:
        """Parameters that the same complete trials have, with those trials; the branch of all trials comes first.

        A conditional space has one branch per condition. Parameters that do not vary within a branch are left out.
        """
        by_trials: dict[frozenset[int], list[Parameter]] = {}
        for parameter in self.parameters:
            numbers = frozenset(trial.number for trial in self.complete if parameter.name in trial.params)
            if numbers:
                by_trials.setdefault(numbers, []).append(parameter)
        branches = []
        for numbers, own in by_trials.items():
            trials = [trial for trial in self.complete if trial.number in numbers]
            inherited = [parameter for others, each in by_trials.items() if others > numbers for parameter in each]
            varied = [each for each in inherited if len({trial.params[each.name] for trial in trials}) > 1]
            branches.append(([*varied, *own], trials))
        return sorted(branches, key=lambda branch: -len(branch[1]))

    def value_limits(self, index: int, margin: float = 0.08) -> tuple[float, float]:
        """Return the axis limits of an objective, chosen so that very bad trials do not squash the good ones.

        Parameters
        ----------
        index : int
            Index of the objective.
        margin : float
            Margin at both ends, as a fraction of the range.
        """
        losses = self.losses[:, index]
        best, typical, worst = (float(np.quantile(losses, quantile)) for quantile in (0, 0.8, 1))
        if typical > best:
            is_top = np.isin([trial.number for trial in self.complete], list(self.top))
            worst = max(min(worst, best + 2.5 * (typical - best)), float(losses[is_top].max()))
        if worst == best:  # all are equal
            best, worst = best - (abs(best) * 0.1 or 1.0), worst + (abs(worst) * 0.1 or 1.0)
        low, high = best - margin * (worst - best), worst + margin * (worst - best)
        return (low, high) if self.directions[index] == "minimize" else (-high, -low)

    def top_range(self, parameter: Parameter, trials: Sequence[FrozenTrial]) -> str:
        """Return the range, or the most frequent choices, of a parameter among the highlighted trials of ``trials``."""
        values = [trial.params[parameter.name] for trial in trials if trial.number in self.top]
        if not values:
            return "–"
        if parameter.choices:
            by_frequency = sorted(parameter.choices, key=lambda choice: -values.count(choice))
            return ", ".join(format_value(choice) for choice in by_frequency[:3] if choice in values)
        low, high = parameter.format(min(values)), parameter.format(max(values))
        return low if low == high else f"{low} to {high}"

    def importances(self) -> Importances:
        """Estimate with PED-ANOVA how much each parameter decides whether a trial is among the best."""
        n_complete = len(self.complete)
        if n_complete < MIN_TRIALS_FOR_IMPORTANCES:
            reason = f"Too few complete trials to estimate importances: {n_complete} of at least "
            return Importances({}, f"{reason}{MIN_TRIALS_FOR_IMPORTANCES}.")
        if len(self.parameters) < 2:
            return Importances({}, "Only one parameter was searched.")
        n_target = max(MIN_TARGET_TRIALS, math.ceil(TOP_FRACTION * n_complete))
        losses = np.sort(self.losses[:, 0])
        if self.all_equal or (len(self.objectives) == 1 and losses[n_target - 1] == losses[-1]):
            return Importances({}, "Too many trials have the same value to estimate importances.")
        by_name = _ped_anova(self.complete, self.directions, n_target / n_complete)
        labels = {parameter.name: parameter.label for parameter in self.parameters}
        ordered = sorted(by_name.items(), key=lambda item: (-item[1], item[0]))
        return Importances({labels[name]: importance for name, importance in ordered})


def _ped_anova(trials: Sequence[FrozenTrial], directions: Sequence[str], quantile: float) -> dict[str, float]:
    """Return importances by parameter name; PED-ANOVA handles conditional parameters and several objectives."""
    # An in-memory copy, because the storage may be slow or no longer reachable.
    study = optuna.create_study(directions=list(directions))  # type: ignore[arg-type]
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # A condition that only one trial met: its parameters get no importance, as the report's caption explains.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _is_pareto_optimal(losses: np.ndarray[Any, np.dtype[np.float64]]) -> list[bool]:
    return [
        not bool(((losses <= loss).all(axis=1) & (losses < loss).any(axis=1)).any()) for loss in losses
    ]  # one row at a time: 1,000 trials take 20 ms


def _union(first: BaseDistribution, second: BaseDistribution) -> BaseDistribution:
    """Return a distribution that contains both: a custom search space may change a parameter's range."""
    if first == second or isinstance(first, CategoricalDistribution):
        return first
    low = min(first.low, second.low)  # type: ignore[attr-defined]
    high = max(first.high, second.high)  # type: ignore[attr-defined]
    return type(first)(low, high, log=first.log and second.log)  # type: ignore[call-arg, attr-defined]


def parameter_labels(names: Sequence[str]) -> dict[str, str]:
    """Return a short label for each parameter: the last part of its key, or the full name where labels would clash.

    Examples
    --------
    >>> parameter_labels(["model", "model.max_depth@xgboost", "a.seed", "b.seed"])
    {'model': 'model', 'model.max_depth@xgboost': 'max_depth (xgboost)', 'a.seed': 'a.seed', 'b.seed': 'b.seed'}
    """
    labels = {}
    for name in names:
        key, _, condition = name.partition("@")
        labels[name] = key.rpartition(".")[2] + (f" ({condition})" if condition else "")
    short = list(labels.values())
    return {name: label if short.count(label) == 1 else name for name, label in labels.items()}


def format_value(value: Any) -> str:  # noqa: ANN401
    """Return a value as short text, without an exponent where that is readable.

    Examples
    --------
    >>> format_value(0.016768), format_value(1e-05), format_value(250000.0), format_value(None), format_value(True)
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
