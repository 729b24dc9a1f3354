"""The default pruner: a Wilcoxon signed-rank test on shared folds, for folds in chronological order."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class PairedPruner(optuna.pruners.BasePruner):
    """Prune a trial that is worse than the best one on their shared folds, by Wilcoxon's signed-rank test.

    `optuna.pruners.WilcoxonPruner` keeps a trial whose mean so far is better than the best trial's overall mean. That
    is right if steps come in random order. Folds are chronological: if the latest ones are the hardest, it prunes only
    after the last fold, when there is nothing left to save. This pruner compares the means on shared folds as well.

    Parameters
    ----------
    p_threshold : float, default=0.3
        The p-value, from 0 to 1, below which a trial is pruned. With two folds the smallest possible p-value is 1/4:
        worse on both. `docs/decisions.md` explains the defaults.
    n_startup_steps : int, default=2
        Number of shared folds before a trial may be pruned.

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
            raise ValueError(f"p_threshold must be between 0 and 1, got {p_threshold}")
        if n_startup_steps < 2:
            raise ValueError(f"n_startup_steps must be at least 2, got {n_startup_steps}")
        self.p_threshold, self.n_startup_steps = p_threshold, n_startup_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether to prune a trial."""
        from scipy.stats import wilcoxon

        try:
            best = study.best_trial
        except ValueError:  # no trial is complete
            return False
        shared = sorted(trial.intermediate_values.keys() & best.intermediate_values.keys())
        if len(shared) < self.n_startup_steps:
            return False
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        differences = sign * np.array(
            [trial.intermediate_values[step] - best.intermediate_values[step] for step in shared]
        )
        if differences.mean() <= 0:
            return False
        return bool(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue < self.p_threshold)
