"""The terminal summary of a run."""

import io
from pathlib import Path

import pytest

from mlsys.evaluation.report.terminal import number, show
from mlsys.terminal import Terminal


def shown(run, **changes):
    page = {name: run[name] for name in ("metrics", "audit", "threshold")} | changes
    for baseline in page["metrics"]["baselines"].values():
        baseline.update({name: {"value": it} for name, it in baseline.items() if isinstance(it, float)})
    buffer = io.StringIO()
    show(Terminal(file=buffer, width=100), page["metrics"], page["audit"], page["threshold"], Path("outputs/a run"))
    return buffer.getvalue()


def cells(text, metric):
    return next(line.split() for line in text.splitlines() if line.startswith(metric))


def test_metrics_with_intervals_and_baselines(run):
    text = shown(run)
    assert text.splitlines()[0].strip() == "Mean of 3 folds"
    assert cells(text, "metric") == ["metric", "value", "interval", "activity", "chance"]
    assert cells(text, "roc_auc") == ["roc_auc", "0.901", "0.860", "–", "0.940", "0.770", "0.500"]
    assert cells(text, "log_loss") == ["log_loss", "0.0125", "0.0102", "–", "0.0148"]
    assert "revenue@10" not in text  # undefined: revenue is unknown


def test_without_activity_there_is_no_activity_column(run):
    metrics = run["metrics"] | {"baselines": {"chance": {"roc_auc": {"value": 0.5}}, "activity": {}}}
    text = shown(run, metrics=metrics)
    assert cells(text, "metric") == ["metric", "value", "interval", "chance"]
    assert cells(text, "roc_auc")[-1] == "0.500"


def test_without_resamples_there_are_no_intervals(run):
    overall = {"roc_auc": {"value": 0.9, "low": None, "high": None}}
    metrics = {"overall": overall, "folds": [{}], "baselines": {"chance": {}, "activity": {}}}
    text = shown(run, metrics=metrics)
    assert text.splitlines()[0].strip() == "Mean of 1 fold"
    assert cells(text, "roc_auc") == ["roc_auc", "0.900"]


def test_an_interval_that_begins_at_zero_is_shown(run):
    overall = {"precision@10": {"value": 0.1, "low": 0.0, "high": 0.2}}
    metrics = {"overall": overall, "folds": [{}], "baselines": {"chance": {}, "activity": {}}}
    assert cells(shown(run, metrics=metrics), "precision@10") == ["precision@10", "0.100", "0", "–", "0.200"]


def test_only_failed_audit_checks_are_shown(run):
    text = shown(run)
    assert "Leakage audit: warn" in text
    assert "warn missingness: EMPLOYEE_RANGE differs." in text
    assert "time_travel" not in text


def test_a_message_is_text_and_not_markup(run):
    check = {
        "name": "single_feature",
        "status": "fail",
        "value": 1,
        "limit": 0,
        "message": "users [28d] [/] is too good",
    }
    text = shown(run, audit={"status": "fail", "checks": [check]})
    assert "Leakage audit: fail" in text
    assert "fail single_feature: users [28d] [/] is too good" in text


def test_the_run_directory_is_the_last_line(run):
    assert shown(run).splitlines()[-1] == str(Path("outputs/a run"))


def test_the_threshold(run):
    assert "Threshold: 0.0213 (top_k, k=50)" in shown(run)


def test_the_effect_of_calibration_is_shown(run):
    improved = {"before": {"ece": 0.0619}, "after": {"ece": 0.0018}}
    text = shown(run, metrics=run["metrics"] | {"calibration": improved})
    assert "Calibration error: 0.00180 (0.0619 before calibration)" in text
    same = {"before": {"ece": 0.001}, "after": {"ece": 0.001}}
    assert "before calibration" not in shown(run, metrics=run["metrics"] | {"calibration": same})


def test_a_long_finding_is_indented_under_its_own_name(run):
    check = {"name": "missingness", "status": "warn", "value": 1, "limit": 0, "message": "word " * 60}
    lines = shown(run, audit={"status": "warn", "checks": [check]}).splitlines()
    message = lines[next(number for number, line in enumerate(lines) if "missingness:" in line) : -1]
    assert len(message) > 2
    assert all(len(line) <= 100 for line in message)
    assert all(line.startswith("       word") for line in message[1:])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.1, "0.100"),
        (-0.05, "-0.0500"),
        (1.48e-17, "0"),
        (12.3456, "12.3"),
        (98765.4, "98,765"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert number(value) == text
