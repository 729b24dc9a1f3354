"""All metrics of a run: of the model itself, as it ages, and with less data."""

from __future__ import annotations

from typing import Any

from mlsys.config import MetricsConfig
from mlsys.data.panel import Panel
from mlsys.evaluation.ageing import performance_by_age
from mlsys.evaluation.backtest import BacktestPlan, BacktestResult
from mlsys.evaluation.learning_curve import learning_curve
from mlsys.evaluation.metrics import evaluate
from mlsys.evaluation.paired import PairedBootstrap


def run_metrics(plan: BacktestPlan, panel: Panel, result: BacktestResult, settings: MetricsConfig) -> dict[str, Any]:
    """Return the content of metrics.json.

    Parameters
    ----------
    plan : BacktestPlan
    panel : Panel
    result : BacktestResult
    settings : MetricsConfig
    """
    bootstrap = PairedBootstrap(settings.bootstrap_resamples, plan.seed, settings.confidence)
    return {
        **evaluate(result.predictions, **settings.arguments(), seed=plan.seed),
        "calibration": result.calibration_errors(),
        "by_age": performance_by_age(result.folds, panel, bootstrap),
        "learning_curve": learning_curve(plan, panel, result.folds, settings.learning_curve, bootstrap),
    }
