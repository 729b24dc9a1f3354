"""Runs with a sample of the negatives, as their user sees them."""

import json

import numpy as np
import pandas as pd
import pytest

from mlsys.runs import Run
from tests.test_train import SMALL, train

SAMPLED = [*SMALL, "model=logistic", "data.negatives=0.3", "audit=full", "metrics.learning_curve=[0.5]"]
SAMPLED.remove("model.n_estimators=20")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, crm):
    """Runs on all rows, on a sample that is tested on all rows, and on one that is not."""
    folder = tmp_path_factory.mktemp("workplace")
    common = [*crm.overrides, *SAMPLED, "metrics.top_k=[10,60]"]
    runs = {"whole": ["data.negatives=1", "audit=light"], "sampled": [], "same": ["split.test_negatives=same"]}
    printed = {}
    for name, changes in runs.items():
        done = train(folder, *common, *changes, f"hydra.run.dir={name}", XDG_CACHE_HOME=str(folder / "cache"))
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout + done.stderr
    return {name: Run.open(folder / name) for name in runs}, printed


def test_the_log_the_manifest_and_the_card_say_so(workplace):
    runs, printed = workplace
    assert "data.negatives=0.3: 0.3 of the rows without a conversion" in printed["sampled"]
    recorded = runs["sampled"].manifest.negatives
    assert recorded["fraction"] == 0.3
    card = (runs["same"].path / "card.md").read_text()
    assert "30% of the rows that are no converters" in card
    assert "have no average precision: split.test_negatives=all" in card.replace("\\", "")
    assert "no average precision" not in (runs["sampled"].path / "card.md").read_text()


def test_a_run_on_all_rows_has_no_trace_of_it(workplace):
    run = workplace[0]["whole"]
    assert "sampling_weight" not in run.predictions
    assert "negatives" not in json.loads((run.path / "manifest.json").read_text())
    assert "stands_for" not in run.metrics["folds"][0]


def test_whole_tests_have_the_rows_and_baselines_of_a_run_on_all_rows(workplace):
    whole, sampled = (workplace[0][name] for name in ("whole", "sampled"))
    columns = ["id", "as_of", "fold", "label", "value", "activity"]
    pd.testing.assert_frame_equal(whole.predictions[columns], sampled.predictions[columns])
    for name in ("roc_auc", "average_precision", "precision@10"):
        ours, theirs = (run.metrics["baselines"]["activity"][name]["value"] for run in (sampled, whole))
        assert ours == pytest.approx(theirs), name
    assert sampled.metrics["baselines"]["chance"]["log_loss"]["value"] == pytest.approx(
        whole.metrics["baselines"]["chance"]["log_loss"]["value"], rel=0.02
    )


@pytest.mark.parametrize("name", ["sampled", "same"])
def test_probabilities_are_those_of_all_rows(workplace, name):
    whole, run = workplace[0]["whole"], workplace[0][name]
    ours = np.average(run.predictions["probability"], weights=run.predictions["sampling_weight"])
    assert ours == pytest.approx(whole.predictions["probability"].mean(), rel=0.2)
    assert run.metrics["folds"][0]["stands_for"] == pytest.approx(whole.metrics["folds"][0]["rows"], rel=0.2)
    ours, theirs = (each.read_json("reference.json")["probability"]["mean"] for each in (run, whole))
    assert ours == pytest.approx(theirs, rel=0.2)


def test_the_audit_finds_no_leak(workplace):
    for name in ("sampled", "same"):
        checks = {check["name"]: check for check in workplace[0][name].read_json("audit.json")["checks"]}
        assert checks["label_placebo"]["status"] == "pass"
        assert checks["label_placebo"]["value"] is not None
        assert checks["embargo"]["status"] == "pass"


def test_runs_are_compared_on_the_rows_in_both(workplace, mlsys):
    whole, same = (str(workplace[0][name].path) for name in ("whole", "same"))
    compared = json.loads(mlsys("compare", whole, same, "--json")[1])["runs"][1]
    assert compared["comparable"] == "partly"
    assert any("the rows in both samples are weighted" in reason for reason in compared["reasons"])
    assert compared["shared_rows"] == len(workplace[0]["same"].predictions)
    difference = compared["difference"]["log_loss"]
    assert difference["low"] < difference["value"] < difference["high"]
    own = workplace[0]["same"].metrics["overall"]["log_loss"]["value"]
    assert compared["on_shared_rows"]["log_loss"]["value"] == pytest.approx(own)


def test_a_replay_is_the_same(workplace, mlsys):
    code, printed, _ = mlsys("replay", workplace[0]["same"].path)
    assert code == 0, printed
