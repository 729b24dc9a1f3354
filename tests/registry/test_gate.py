"""Promotion gate: the checks that a version must pass to become the champion."""

import re

import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.evaluation.metrics import ScoreComparison
from mlsys.registry.challenge import _metric_check
from mlsys.registry.commands import add
from mlsys.registry.gate import evaluate_gate
from mlsys.registry.history import Entry
from mlsys.registry.settings import read_settings
from tests.evaluation.comparison.conftest import AS_OFS, predictions
from tests.registry.small import write_run

LATER = (*AS_OFS[1:], "2020-05-25")


@pytest.fixture
def evaluate(folder_store, runs, tmp_path):
    """Evaluate the gate for a run and a champion."""

    def against(run, champion=None, **flags):
        add(folder_store, champion or runs.first, "leads")
        version = add(folder_store, run, "leads").version
        draft = Entry(3, "", "", "promote", "champion", None, "1.0.0")
        state = folder_store.state("leads")
        crowned = type(state)(state.name, state.entries, state.added, {"champion": draft.after}, [draft.after])
        return evaluate_gate(folder_store, crowned, version, read_settings(None, {"bootstrap_resamples": 200, **flags}))

    return against


def failed(result):
    return {check.check: check.message for check in result.checks if not check.passed}


def test_an_equal_model_passes(evaluate, runs):
    found = evaluate(runs.again)
    assert found.passed
    assert found.champion == "1.0.0"
    assert [check.check for check in found.checks] == ["golden rows", "audit", "task and label", "roc_auc"]
    assert found.checks[0].message == "Reproduced 8 golden rows."
    assert "+0 (95% interval +0 to +0). It may be up to 0 worse; the margin is 0.02." in found.checks[-1].message


def test_the_message_says_how_much_worse_a_model_may_be(evaluate, runs):
    message = failed(evaluate(runs.poor))["roc_auc"]
    found = re.search(
        r"the champion's (\S+): (\S+) \(95% interval (\S+) to (\S+)\)\. It may be up to (\S+) worse;", message
    )
    champion, difference, low, high, worst = (float(number) for number in found.groups())
    assert champion > 0.85
    assert low < difference < high < 0
    assert worst == -low


def test_metric_and_margin_decide(evaluate, runs):
    assert evaluate(runs.poor, margin=0.9).passed
    assert failed(evaluate(runs.poor, metric="log_loss", margin=0.0)).keys() == {"log_loss"}
    assert evaluate(runs.poor, metric="log_loss", margin=5.0).passed
    assert failed(evaluate(runs.poor, metric="precision@7")).keys() == {"precision@7"}


@pytest.mark.parametrize(("low", "passes"), [(0.70 - 0.72, True), (-0.0201, False)])
def test_a_difference_of_exactly_the_margin_is_within_it(low, passes):
    assert 0.72 - 0.70 > 0.02
    entry = {"value": -0.01, "low": low, "high": 0.0}
    comparisons = {
        which: ScoreComparison({"roc_auc": {"value": 0.7}}, {"roc_auc": entry}) for which in ("champion", "candidate")
    }
    assert _metric_check(comparisons, read_settings(None, {"margin": 0.02}))[0] == passes


def test_a_model_that_is_about_as_good_needs_a_margin(evaluate, tmp_path):
    near = write_run(tmp_path / "near", predictions(2.3, seed=8))
    assert evaluate(near, margin=0.3).passed
    assert failed(evaluate(near, margin=0.0)).keys() == {"roc_auc"}


@pytest.mark.parametrize(("audit", "required", "passes"), [
    ("pass", "pass", True), ("warn", "warn", True), ("warn", "pass", False), ("fail", "warn", False),
])  # fmt: skip
def test_the_audit_status(evaluate, tmp_path, audit, required, passes):
    found = evaluate(write_run(tmp_path / "run", audit=audit, seed=8), audit=required)
    assert found.passed is passes
    if not passes:
        assert f"Status: {audit} (placebo: {audit})." in failed(found)["audit"]


def test_golden_rows_must_be_reproduced(evaluate, tmp_path):
    run = write_run(tmp_path / "run", golden_off=1e-6)
    assert "8 of 8 differ in probability, by up to 1e-06" in failed(evaluate(run))["golden rows"]
    assert evaluate(run, golden=1e-5).passed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "won"}, "the target is 'won', not 'converted'"),
        ({"data__horizon_days": 60}, "data.horizon_days is 60, not 30"),
        ({"data__kind": "table"}, "the data are a flat table, not entities with events"),
    ],
)
def test_a_different_task_is_not_compared(evaluate, tmp_path, changes, message):
    found = failed(evaluate(write_run(tmp_path / "run", **changes)))
    assert list(found) == ["task and label"]
    assert message in found["task and label"]


@pytest.mark.parametrize(("changed", "has"), [(1, "has"), (2, "have")])
def test_shared_rows_with_different_outcomes(evaluate, tmp_path, changed, has):
    rows = predictions(2.5)
    rows.loc[: changed - 1, "label"] = 1 - rows.loc[: changed - 1, "label"]
    message = failed(evaluate(write_run(tmp_path / "run", rows)))["task and label"]
    assert message == f"{changed} of 160 shared test rows {has} a different outcome."


def test_data_of_a_later_date_are_compared_on_the_rows_that_both_scored(evaluate, tmp_path):
    run = write_run(tmp_path / "run", predictions(2.5, as_ofs=LATER), fingerprint="e" * 64)
    found = evaluate(run, margin=0.5)  # few positives
    assert found.passed
    assert (
        found.checks[2].message == "Same as the champion's on 80 shared test rows."
    )  # the other as-of's window has not ended


def test_no_rows_in_common(evaluate, tmp_path):
    run = write_run(tmp_path / "run", predictions(2.5, as_ofs=("2021-01-04", "2021-02-01", "2021-03-01")))
    assert (
        "No test rows in common with the champion (tested on as-ofs 2021-01-04"
        in failed(evaluate(run))["task and label"]
    )


def test_rows_in_different_folds_are_ranked_together(evaluate, tmp_path):
    rows = predictions(2.5).assign(fold=lambda frame: pd.Series(range(len(frame))) % 2)
    found = evaluate(write_run(tmp_path / "run", rows), margin=0.2)
    assert found.passed
    assert "because the folds differ" in found.checks[2].message


def test_a_table_without_ids_is_not_compared_with_another(evaluate, tmp_path):
    rows = predictions(2.5, as_ofs=(None,) * 3)
    first, other = (write_run(tmp_path / mark, rows, data__kind="table", fingerprint=mark * 64) for mark in ("a", "b"))
    assert "data.id is not set" in failed(evaluate(other, champion=first))["task and label"]


def test_a_damaged_champion_fails_the_gate(folder_store, evaluate, runs):
    add(folder_store, runs.first, "leads")
    card = folder_store.root / "leads" / "versions" / "1.0.0" / "card.md"
    card.chmod(0o644)
    card.write_text("edited")
    with pytest.raises(RunError, match=r"changed: card\.md"):
        add(folder_store, runs.poor, "leads")
    add(folder_store, runs.poor, "leads", bump="major")
    found = failed(evaluate(runs.poor))
    assert "The champion 1.0.0 cannot be read" in found["champion"]
