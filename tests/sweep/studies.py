"""Sweeps in memory: trials of a conditional space, and the results of a sweep with them."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from mlsys.sweep.results import SweepResults
from mlsys.sweep.settings import SweepSettings
from mlsys.sweep.space import parse_space

MODELS = ("xgboost", "logistic")
SPACE = {"model": "choice(xgboost,logistic)", "encoder": "null, onehot"}
CONDITIONS = {
    "model=xgboost": {"model.max_depth": "range(2,7)", "model.learning_rate": "tag(log,interval(0.01,0.2))"},
    "model=logistic": {"model.C": "tag(log,interval(0.0001,10.0))"},
}


def trial(number, value, state=TrialState.COMPLETE, **attributes):
    """Return a finished trial of the conditional space; its parameters depend only on its number."""
    model = MODELS[number % 2]
    params = {"model": model, "encoder": (None, "onehot")[number % 3 == 0]}
    spaces = {"model": CategoricalDistribution(MODELS), "encoder": CategoricalDistribution((None, "onehot"))}
    if model == "xgboost":
        rate = 0.01 * 1.3 ** (number % 11)
        params |= {"model.max_depth@xgboost": 2 + number % 5, "model.learning_rate@xgboost": rate}
        spaces |= {
            "model.max_depth@xgboost": IntDistribution(2, 6),
            "model.learning_rate@xgboost": FloatDistribution(0.01, 0.2, log=True),
        }
    else:
        params |= {"model.C@logistic": 10.0 ** -(number % 4)}
        spaces |= {"model.C@logistic": FloatDistribution(1e-4, 10.0, log=True)}
    values = None if state is not TrialState.COMPLETE else value if isinstance(value, list) else [value]
    made = create_trial(state=state, values=values, params=params, distributions=spaces, user_attrs=attributes)
    made.datetime_start = datetime.datetime(2026, 11, 25, 12) + datetime.timedelta(seconds=2 * number)
    made.datetime_complete = made.datetime_start + datetime.timedelta(seconds=1 if values is None else 2)
    return made


def results_of(folder, trials, objectives=("log_loss",), n_trials=10, **config):
    """Return the results of a sweep with these trials; each trial has a run directory."""
    directions = ["maximize" if name == "average_precision" else "minimize" for name in objectives]
    study = optuna.create_study(study_name="s", directions=directions)
    study.add_trials(trials)
    folder.mkdir(parents=True)
    for each in study.trials:
        (folder / str(each.number)).mkdir()
        (folder / str(each.number) / "train.log").touch()
        if each.state is not TrialState.FAIL:
            (folder / str(each.number) / "card.md").touch()
    settings = SweepSettings(sampler={"_target_": "optuna.samplers.TPESampler"}, n_trials=n_trials)
    content = {"objective": list(objectives), "search": {"folds": 6, "holdout_folds": 6}, "data": {"name": "demo"}}
    content |= {"hydra": {"runtime": {"choices": {"search": "any_model"}}}} | config
    sweep = SimpleNamespace(
        folder=folder, space=parse_space(SPACE, CONDITIONS, ["seed=1"], {}), config=OmegaConf.create(content),
        workers=1, settings=settings, directions=directions,
    )  # fmt: skip
    return SweepResults(sweep, study.get_trials(), study)


def numbered(trials):
    for number, each in enumerate(trials):
        each.number = number
    return trials


def many(count, *, values=None, pruned=3, failed=7):
    """Return trials of which every third is pruned and every seventh failed."""
    random, trials = np.random.default_rng(0), []
    for number in range(count):
        state = TrialState.COMPLETE
        if pruned and number % pruned == 1:
            state = TrialState.PRUNED
        elif failed and number % failed == 2:
            state = TrialState.FAIL
        error = {"error": "ValueError: <NaN> in the input"} if state is TrialState.FAIL else {}
        value = values(number) if values else 0.0165 + 0.001 * float(random.random()) + 0.001 * (number % 2)
        trials.append(trial(number, value, state, **error))
    return numbered(trials)
