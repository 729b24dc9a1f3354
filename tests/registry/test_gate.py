"""What a version must pass to become the champion."""

import re

import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.registry.commands import add
from mlsys.registry.gate import evaluate_gate
from mlsys.registry.history import Entry
from mlsys.registry.settings import read_settings
from tests.evaluation.comparison.conftest import AS_OFS, predictions
from tests.registry.small import write_run

LATER = (*AS_OFS[1:], "2020-05-25")


@pytest.fixture
def verdict(folder_store, runs, tmp_path):
    """Hold a run against a champion."""

    def against(run, champion=None, **flags):
        add(folder_store, champion or runs.first, "leads")
        version = add(folder_store, run, "leads").version
        draft = Entry(3, "", "", "promote", "champion", None, "1.0.0")
        state = folder_store.state("leads")
        crowned = type(state)(state.name, state.entries, state.added, {"champion": draft.after}, [draft.after])
        return evaluate_gate(folder_store, crowned, version, read_settings(None, {"bootstrap_resamples": 200, **flags}))

    return against


def failed(verdict):
    return {check.check: check.message for check in verdict.checks if not check.passed}


def test_an_equal_one_passes(verdict, runs):
    found = verdict(runs.again)
    assert found.passed
    assert found.champion == "1.0.0"
    assert [check.check for check in found.checks] == ["golden rows", "audit", "task and label", "roc_auc"]
    assert "+0 (95% interval +0 to +0), so it may be worse by 0; allowed is 0.02" in found.checks[-1].message


def test_a_worse_one_is_told_by_how_much(verdict, runs):
    message = failed(verdict(runs.poor))["roc_auc"]
    found = re.search(
        r"the champion (\S+): (\S+) \(95% interval (\S+) to (\S+)\), so it may be worse by (\S+);", message
    )
    champion, difference, low, high, worst = (float(number) for number in found.groups())
    assert champion > 0.85
    assert low < difference < high < 0
    assert worst == -low


def test_metric_and_margin_decide(verdict, runs):
    assert verdict(runs.poor, margin=0.9).passed
    assert failed(verdict(runs.poor, metric="log_loss", margin=0.0)).keys() == {"log_loss"}
    assert verdict(runs.poor, metric="log_loss", margin=5.0).passed
    assert failed(verdict(runs.poor, metric="precision@7")).keys() == {"precision@7"}


def test_a_better_one_that_cannot_be_told_apart_passes_within_the_margin_alone(verdict, tmp_path):
    near = write_run(tmp_path / "near", predictions(2.3, seed=8))
    assert verdict(near, margin=0.3).passed
    assert failed(verdict(near, margin=0.0)).keys() == {"roc_auc"}


@pytest.mark.parametrize(("audit", "asked", "passes"), [
    ("pass", "pass", True), ("warn", "warn", True), ("warn", "pass", False), ("fail", "warn", False),
])  # fmt: skip
def test_the_audit(verdict, tmp_path, audit, asked, passes):
    found = verdict(write_run(tmp_path / "run", audit=audit, seed=8), audit=asked)
    assert found.passed is passes
    if not passes:
        assert f"placebo ({audit})" in failed(found)["audit"]


def test_golden_rows_that_are_not_reproduced(verdict, tmp_path):
    run = write_run(tmp_path / "run", golden_off=1e-6)
    assert "8 of 8 differ in probability, by up to 1e-06" in failed(verdict(run))["golden rows"]
    assert verdict(run, golden=1e-5).passed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target": "won"}, "the target is 'won', not 'converted'"),
        ({"data__horizon_days": 60}, "data.horizon_days is 60, not 30"),
        ({"data__kind": "table"}, "it is made from a flat table, not from entities with events"),
    ],
)
def test_another_task_is_not_compared(verdict, tmp_path, given, said):
    found = failed(verdict(write_run(tmp_path / "run", **given)))
    assert list(found) == ["task and label"]
    assert said in found["task and label"]


def test_other_outcomes_of_the_same_rows(verdict, tmp_path):
    rows = predictions(2.5)
    rows.loc[0, "label"] = 1 - rows.loc[0, "label"]
    assert (
        "1 of 160 shared test rows have another outcome"
        in failed(verdict(write_run(tmp_path / "run", rows)))["task and label"]
    )


def test_data_of_a_later_day_are_compared_on_the_rows_that_both_scored(verdict, tmp_path):
    run = write_run(tmp_path / "run", predictions(2.5, as_ofs=LATER), fingerprint="e" * 64)
    found = verdict(run, margin=0.2)
    assert found.passed
    assert found.checks[2].message == "The same, on 80 shared test rows."  # one as-of, the other is not over


def test_no_row_in_common(verdict, tmp_path):
    run = write_run(tmp_path / "run", predictions(2.5, as_ofs=("2021-01-04", "2021-02-01", "2021-03-01")))
    assert (
        "No test row is shared with the champion (tested on as-ofs 2021-01-04" in failed(verdict(run))["task and label"]
    )


def test_rows_of_other_folds_are_ranked_as_one(verdict, tmp_path):
    rows = predictions(2.5).assign(fold=lambda frame: pd.Series(range(len(frame))) % 2)
    found = verdict(write_run(tmp_path / "run", rows), margin=0.2)
    assert found.passed
    assert "whose folds differ" in found.checks[2].message


def test_a_table_without_ids_is_not_compared_with_another(verdict, tmp_path):
    rows = predictions(2.5, as_ofs=(None,) * 3)
    first, other = (write_run(tmp_path / mark, rows, data__kind="table", fingerprint=mark * 64) for mark in ("a", "b"))
    assert "names no data.id" in failed(verdict(other, champion=first))["task and label"]


def test_a_champion_that_is_damaged_is_said(folder_store, verdict, runs):
    add(folder_store, runs.first, "leads")
    card = folder_store.root / "leads" / "versions" / "1.0.0" / "card.md"
    card.chmod(0o644)
    card.write_text("edited")
    with pytest.raises(RunError, match=r"changed: card\.md"):
        add(folder_store, runs.poor, "leads")
    add(folder_store, runs.poor, "leads", bump="major")
    found = failed(verdict(runs.poor))
    assert "The champion 1.0.0 cannot be read" in found["champion"]
