"""The terminal summary of a run."""

import io
from pathlib import Path

from mlsys.evaluation.report.summary import summarise
from mlsys.evaluation.report.terminal import show
from mlsys.terminal import Terminal


def shown(run, **changes):
    page = run | changes
    buffer = io.StringIO()
    console = Terminal(file=buffer, width=100)
    show(console, summarise(**page), page["audit"], page["threshold"], Path("outputs/a run"))
    return buffer.getvalue()


def cells(text, metric):
    return next(line.split() for line in text.splitlines() if line.startswith(metric))


def test_metrics_with_intervals_and_baselines(run):
    text = shown(run)
    assert text.splitlines()[0].strip() == "Mean of 3 folds"
    assert cells(text, "metric") == ["metric", "value", "95%", "interval", "activity", "chance"]
    assert cells(text, "roc_auc") == ["roc_auc", "0.901", "0.860", "to", "0.940", "0.770", "0.500"]
    assert cells(text, "log_loss") == ["log_loss", "0.0125", "0.0102", "to", "0.0148"]
    assert "revenue@10" not in text  # undefined: revenue is unknown


def test_only_metrics_to_decide_by_are_shown_and_the_command_for_the_others(run):
    entries = {name: {"value": 0.2} for name in ("brier", "ece", "recall@10", "precision@50", "revenue@50")}
    run["metrics"]["overall"] |= entries | {"revenue@10": {"value": 500.0, "low": 100.0, "high": 900.0}}
    run["config"] |= {"objective": "recall@10", "metrics": {"currency": "EUR"}}
    text = shown(run)
    names = [line.split()[0] for line in text.partition("\n\n")[0].splitlines()[2:]]
    decisive = ["roc_auc", "average_precision", "log_loss", "precision@10", "revenue@10"]
    assert sorted(names) == sorted([*decisive, "recall@10"])
    assert cells(text, "revenue@10") == ["revenue@10", "500", "EUR", "100", "to", "900", "EUR"]
    assert "4 more metrics: mlsys show outputs/2026-11-20/18-05-42 --all" in text


def test_without_activity_there_is_no_activity_column(run):
    metrics = run["metrics"] | {"baselines": {"chance": {"roc_auc": {"value": 0.5}}, "activity": {}}}
    text = shown(run, metrics=metrics)
    assert cells(text, "metric") == ["metric", "value", "95%", "interval", "chance"]
    assert cells(text, "roc_auc")[-1] == "0.500"


def test_without_resamples_there_are_no_intervals(run):
    overall = {"roc_auc": {"value": 0.9, "low": None, "high": None}}
    metrics = {"overall": overall, "folds": run["metrics"]["folds"][:1], "baselines": {"chance": {}, "activity": {}}}
    text = shown(run, metrics=metrics)
    assert text.splitlines()[0].strip() == "Mean of 1 fold"
    assert cells(text, "roc_auc") == ["roc_auc", "0.900"]


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


def test_what_to_do_first_and_the_run_directory_are_the_last_lines(run):
    lines = shown(run).splitlines()
    assert lines[-1] == str(Path("outputs/a run"))
    assert "The model ranks better than activity (ROC-AUC +0.131" in " ".join(lines[-5:])


def test_the_threshold(run):
    assert "Threshold: 0.0213 (top_k, k=50)" in shown(run)


def test_the_effect_of_calibration_is_shown(run):
    improved = {"before": {"ece": 0.0619}, "after": {"ece": 0.0018}}
    text = shown(run, metrics=run["metrics"] | {"calibration": improved})
    assert "Calibration reduced the calibration error from 0.0619 to 0.0018." in text
    worse = {"before": {"ece": 0.0072}, "after": {"ece": 0.0894}}
    text = " ".join(shown(run, metrics=run["metrics"] | {"calibration": worse}).split())
    assert "raised the calibration error from 0.0072 to 0.0894: use another calibration, or calibration=none." in text
    same = {"before": {"ece": 0.001}, "after": {"ece": 0.001}}
    assert "calibration error" not in shown(run, metrics=run["metrics"] | {"calibration": same})


def test_a_long_finding_is_indented_under_its_own_name(run):
    check = {"name": "missingness", "status": "warn", "value": 1, "limit": 0, "message": "word " * 60}
    lines = shown(run, audit={"status": "warn", "checks": [check]}).splitlines()
    first = next(number for number, line in enumerate(lines) if "missingness:" in line)
    message = lines[first : lines.index("", first)]
    assert len(message) > 2
    assert all(len(line) <= 100 for line in message)
    assert all(line.startswith("       word") for line in message[1:])
