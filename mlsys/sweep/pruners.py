"""The default pruner: Optuna's Wilcoxon test of folds, for folds that come in the order of time."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class PairedPruner(optuna.pruners.BasePruner):
    """Give a trial up that is worse than the best one on the folds that both have, by Wilcoxon's signed-rank test.

    `optuna.pruners.WilcoxonPruner` keeps a trial whose mean so far is better than the best trial's whole mean, which is
    right where steps come in random order. Folds come in the order of time: where the latest ones are the hardest, it
    prunes after the last one only, when nothing is left to save. Here means are compared on shared folds as well.

    Parameters
    ----------
    p_threshold : float, default=0.3
        Probability, from 0 to 1, that a trial as good as the best one looks so much worse. With two folds, the smallest
        possible is 1/4: worse on both. `docs/decisions.md` says how the defaults were chosen.
    n_startup_steps : int, default=2
        Shared folds from which on it decides.

    References
    ----------
    F. Wilcoxon (1945): Individual comparisons by ranking methods. Biometrics Bulletin 1(6), 80–83.

    Examples
    --------
    >>> study = optuna.create_study(pruner=PairedPruner())
    >>> best, trial = study.ask(), study.ask()
    >>> for step, value in enumerate([1.0, 2.0, 3.0, 9.0]):
    ...     best.report(value, step)
    >>> _ = study.tell(best, 3.75)
    >>> for step, value in enumerate([1.1, 2.1, 3.2]):
    ...     trial.report(value, step)
    >>> trial.should_prune()
    True
    """

    def __init__(self, p_threshold: float = 0.3, n_startup_steps: int = 2) -> None:
        if not 0 <= p_threshold <= 1:
            raise ValueError(f"p_threshold is {p_threshold}, not a probability from 0 to 1")
        if n_startup_steps < 2:
            raise ValueError(f"n_startup_steps is {n_startup_steps}: one step tells nothing, at least 2")
        self.p_threshold, self.n_startup_steps = p_threshold, n_startup_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether to give a trial up."""
        from scipy.stats import wilcoxon

        try:
            best = study.best_trial
        except ValueError:  # none is complete
            return False
        shared = sorted(trial.intermediate_values.keys() & best.intermediate_values.keys())
        if len(shared) < self.n_startup_steps:
            return False
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        worse = sign * np.array([trial.intermediate_values[step] - best.intermediate_values[step] for step in shared])
        if worse.mean() <= 0:
            return False
        return bool(wilcoxon(worse, alternative="greater", zero_method="zsplit").pvalue < self.p_threshold)
