"""What else a backtest tells of a model: how it ages, and whether more data would help."""

from __future__ import annotations

from typing import Any

from mlsys.config import MetricsConfig
from mlsys.data.panel import Panel
from mlsys.evaluation.ageing import performance_by_age
from mlsys.evaluation.backtest import BacktestPlan, BacktestResult
from mlsys.evaluation.learning_curve import learning_curve
from mlsys.evaluation.paired import PairedBootstrap
from mlsys.evaluation.timing import outcomes_by_day


def diagnose(plan: BacktestPlan, panel: Panel, result: BacktestResult, settings: MetricsConfig) -> dict[str, Any]:
    """Return entries of metrics.json: calibration, by_age, learning_curve and, for survival models, by_day.

    Parameters
    ----------
    plan : BacktestPlan
    panel : Panel
    result : BacktestResult
    settings : MetricsConfig
    """
    bootstrap = PairedBootstrap(settings.bootstrap_resamples, plan.seed, settings.confidence)
    by_day = outcomes_by_day(result.predictions)
    return {
        "calibration": result.calibration_errors(),
        "by_age": performance_by_age(result.folds, panel, bootstrap),
        "learning_curve": learning_curve(plan, panel, result.folds, settings.learning_curve, bootstrap),
    } | ({"by_day": by_day} if by_day else {})
