"""One model's mlsys default and its tuned plain script, on the same folds of a table."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.compose import compose_config
from mlsys.data.load import Loaded
from mlsys.evaluation.backtest import BacktestPlan, run_search_folds
from mlsys.evaluation.splits import Fold, split_off_latest
from mlsys.prepare import Prepared, prepare

from .plain import SCRIPTS


@dataclass(frozen=True)
class Scores:
    """Means over the folds, and the seconds of all fits and of scoring the test rows."""

    roc_auc: float
    average_precision: float
    seconds: float


@dataclass(frozen=True)
class Folds:
    """A loaded table with its folds."""

    overrides: list[str]
    loaded: Loaded
    folds: list[Fold]


def prepared(overrides: list[str]) -> Prepared:
    return prepare(OmegaConf.create(compose_config(overrides).to_dict()))


def folds_of(overrides: list[str]) -> Folds:
    """Load the data of a config, and split them."""
    parts = prepared(overrides)
    loaded = parts.data.load()
    return Folds(overrides, loaded, parts.parts.split.split(loaded.panel.frame))


def ours(table: Folds, overrides: list[str]) -> Scores:
    """Fit and score each fold with a configuration of mlsys."""
    run = prepared([*table.overrides, *overrides])
    panel = table.loaded.panel
    start = time.perf_counter()
    plan = BacktestPlan(run.parts.pipeline_spec(panel), table.loaded.horizon_days, run.config.seed, os.cpu_count() or 1)
    results = run_search_folds(plan, panel, table.folds)
    seconds = time.perf_counter() - start
    return measured([(each.predictions["label"], each.predictions["score"]) for each in results], seconds)


def plain(table: Folds, model: str) -> Scores:
    """Fit and score each fold with the tuned plain script."""
    panel, pairs = table.loaded.panel, []
    categories = [feature.name for feature in panel.features if feature.kind == "category"]
    X = panel.frame[panel.names].astype(dict.fromkeys(categories, "category"))
    y = panel.frame["label"].to_numpy().astype(int)
    start = time.perf_counter()
    for fold in table.folds:
        early, late = split_off_latest(
            panel.frame, fold.train, fraction=0.2, horizon_days=table.loaded.horizon_days, seed=0
        )
        known = fold.train[early | late]
        scores = SCRIPTS[model](X.iloc[known], y[known], late[early | late], X.iloc[fold.test], os.cpu_count() or 1)
        pairs.append((y[fold.test], scores))
    return measured(pairs, time.perf_counter() - start)


def measured(pairs: list[tuple[Any, Any]], seconds: float) -> Scores:
    auc = [roc_auc_score(labels, scores) for labels, scores in pairs]
    precision = [average_precision_score(labels, scores) for labels, scores in pairs]
    return Scores(float(np.mean(auc)), float(np.mean(precision)), seconds)
