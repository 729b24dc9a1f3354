"""The comparison as a whole; its bootstrap is checked against a slow and obvious loop."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.evaluation.comparison import compare, gather
from mlsys.evaluation.comparison.terminal import show
from mlsys.evaluation.comparison.wording import caveats, findings
from mlsys.terminal import Terminal
from tests.evaluation.comparison.conftest import AS_OFS, predictions


@pytest.fixture(scope="module")
def compared(pair, tmp_path_factory):
    from mlsys.runs.catalog.index import RunIndex

    return compare(gather(["good", "poor"], root=pair, index=RunIndex(tmp_path_factory.mktemp("i") / "index")))


def slowly(ours, theirs, score, *, bootstrap_resamples, seed):
    """The paired bootstrap clustered on entity, one resample and one fold at a time, with rows actually replicated."""
    ids = np.sort(ours["id"].unique())
    both = ours.merge(theirs[["id", "as_of", "probability"]], on=["id", "as_of"], suffixes=("", "_other"))
    picks = np.random.default_rng(seed).integers(0, len(ids), size=(bootstrap_resamples, len(ids)))
    differences = []
    for pick in picks:
        rows = pd.DataFrame({"id": ids[pick]}).merge(both, on="id")
        folds = []
        for _, fold in rows.groupby("fold"):
            if 0 < fold["label"].sum() < len(fold):
                folds.append(
                    score(fold["label"], fold["probability_other"]) - score(fold["label"], fold["probability"])
                )
        differences.append(np.mean(folds))
    return np.array(differences)


SCORES = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}


@pytest.mark.parametrize("name", SCORES)
def test_differences_are_those_of_the_slow_loop(compared, name):
    ours, theirs = (run.candidate.predictions for run in compared.runs)
    differences = slowly(ours, theirs, SCORES[name], bootstrap_resamples=40, seed=3)
    found = compared.runs[1].difference[name]
    if name == "average_precision":
        ends = np.quantile(differences, [0.025, 0.975])
    else:
        positive = ours[ours["label"] == 1]
        freedom = min(len(positive) - ours["fold"].nunique(), positive["id"].nunique() - 1)
        ends = found["value"] + t.ppf([0.025, 0.975], freedom) * differences.std(ddof=1)
    assert (found["low"], found["high"]) == pytest.approx(tuple(ends), abs=1e-12)


def test_differences_are_those_of_the_recorded_values(compared):
    good, poor = compared.runs
    for name in ("roc_auc", "log_loss", "precision@5"):
        assert poor.difference[name]["value"] == pytest.approx(
            poor.metrics[name]["value"] - good.metrics[name]["value"]
        )
    assert (poor.better("roc_auc"), poor.better("log_loss")) == ("worse", "worse")
    assert good.better("roc_auc") == ""


def test_differences_in_part_are_of_the_shared_rows(tmp_path, write, index):
    write(tmp_path / "all", predictions(2.0))
    write(tmp_path / "two", predictions(1.0, as_ofs=AS_OFS[1:], seed=4))
    found = compare(gather(["all", "two"], root=tmp_path, index=index)).runs[1]
    ours, theirs = predictions(2.0), predictions(1.0, as_ofs=AS_OFS[1:], seed=4)
    expected = []
    for as_of in AS_OFS[1:]:
        a, b = (rows[rows["as_of"] == as_of] for rows in (ours, theirs))
        expected.append(roc_auc_score(b["label"], b["probability"]) - roc_auc_score(a["label"], a["probability"]))
    assert found.comparability.level == "partly"
    assert found.difference["roc_auc"]["value"] == pytest.approx(np.mean(expected))


def test_a_run_against_itself_differs_by_nothing(tmp_path, write, index):
    for name in ("a", "b"):
        write(tmp_path / name, predictions(1.0))
    found = compare(gather(["a", "b"], root=tmp_path, index=index)).runs[1]
    for name, entry in found.difference.items():
        assert entry["value"] == entry["low"] == entry["high"] == 0, name
    assert found.better("roc_auc") == "same"


def test_trials_get_intervals_and_other_lengths_are_measured(tmp_path, write, index):
    write(tmp_path / "run", predictions(2.0))
    write(tmp_path / "trial", predictions(1.0), status="trial", **{"metrics.top_k": [20]})
    found = compare(gather(["run", "trial"], root=tmp_path, index=index))
    assert found.top_k == [5, 10, 20]
    for run in found.runs:
        assert {"precision@5", "precision@20"} <= run.metrics.keys()
        assert all(run.metrics["roc_auc"][end] is not None for end in ("low", "high"))
    recorded = json.loads((tmp_path / "run" / "metrics.json").read_text())["overall"]
    assert found.runs[0].metrics["roc_auc"] == recorded["roc_auc"]


def test_only_differing_settings_are_listed(compared):
    assert list(compared.settings) == ["choices.model", "model._target_", "model.C"]
    assert compared.settings["model.C"] == ["(absent)", 1.0]


def test_agreement_is_of_the_shared_rows(compared):
    found = compared.agreements[0, 1]
    assert found.chance[5] == pytest.approx(5 / 80)
    assert -0.5 < found.correlation < 0.9


def test_twenty_runs(tmp_path, write, index):
    for number in range(20):
        rows = predictions(0.1 * number, entities=30, seed=number)
        write(tmp_path / "grid" / str(number), rows, **{"metrics.bootstrap_resamples": 10, "metrics.top_k": [5]})
    found = compare(gather(["grid"], top=20, root=tmp_path, index=index))
    assert [run.key for run in found.runs] == list("ABCDEFGHIJKLMNOPQRST")
    assert all(run.difference for run in found.runs[1:])
    text = io.StringIO()
    show(Terminal(file=text, width=80), found)
    assert " more are worse" in text.getvalue() or "not clearly differ" in text.getvalue()


def test_runs_that_cannot_be_compared_still_show_their_own(tmp_path, write, index):
    write(tmp_path / "a", predictions(2.0))
    write(tmp_path / "b", predictions(1.0), fingerprint="0" * 64)
    write(tmp_path / "c", predictions(1.0, as_ofs=(None, None)), fingerprint="0" * 64, **{"data.kind": "table"})
    found = compare(gather(["a", "b", "c"], root=tmp_path, index=index))
    assert [run.comparability.level for run in found.runs] == ["reference", "no", "no"]
    assert not found.is_complete
    assert all(run.metrics["roc_auc"]["value"] for run in found.runs)
    assert found.runs[1].difference == {}
    assert findings(found) == []
    text = " ".join(caveats(found))
    assert "B cannot be compared with A: different data: fingerprint" in text
    assert "C cannot be compared with A: different data: a flat table" in text


def test_the_best_of_a_sweep_comes_with_a_caveat(tmp_path, write, index):
    for number, skill in enumerate((2.0, 1.0, 0.5, 0.2)):
        write(tmp_path / "sweep" / str(number), predictions(skill), status="trial")
    text = " ".join(caveats(compare(gather(["sweep"], root=tmp_path, index=index))))
    assert "best of 4 runs by log loss" in text
    assert "3 comparisons" in text


def test_without_resamples_there_is_no_verdict(pair, index):
    found = compare(gather(["good", "poor"], root=pair, index=index), bootstrap_resamples=0)
    assert found.runs[1].difference["roc_auc"] | {"value": 0} == {"value": 0, "low": None, "high": None}
    assert found.runs[1].better("roc_auc") == ""
    assert any("there are no bootstrap resamples" in each for each in caveats(found))


def test_as_json_and_as_csv(compared):
    data = json.loads(json.dumps(compared.to_dict()))
    assert data["reference"] == "outputs/good"
    assert data["runs"][1]["comparable"] == "fully"
    assert data["runs"][1]["cost"]["model_bytes"] == 2500
    assert data["settings"]["choices.model"] == {"A": "xgboost", "B": "logistic"}
    assert data["agreement"][0]["first"] == "A"
    rows = compared.rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert len(rows) == 2 * len(compared.metrics)
    (row,) = [row for row in rows if (row["metric"], row["run"]) == ("roc_auc", "B")]
    assert row["difference"] == compared.runs[1].difference["roc_auc"]["value"]
    assert row["verdict"] == "worse"


def test_on_the_terminal(compared):
    buffer = io.StringIO()
    show(Terminal(file=buffer, width=200), compared, ["roc_auc"])
    text = buffer.getvalue()
    for part in (
        "minus A",
        "worse",
        "choices.model",
        "top 5 in common",
        "2 kB",
        "ROC-AUC: B is worse",
    ):
        assert part in text
    assert "precision@5 " not in text


def test_objectives_come_first(tmp_path, write, index):
    for name in ("a", "b"):
        write(tmp_path / name, objective="recall@10")
    found = compare(gather(["a", "b"], root=tmp_path, index=index))
    assert found.metrics[0] == found.headline[0] == "recall@10"
    assert found.headline[1:] == ["roc_auc", "average_precision", "log_loss", "precision@5", "revenue@5"]


def test_runs_in_two_currencies(tmp_path, write, index):
    for name, code in (("a", "EUR"), ("b", "USD")):
        write(tmp_path / name, **{"metrics.currency": code})
    found = compare(gather(["a", "b"], root=tmp_path, index=index))
    text = io.StringIO()
    show(Terminal(file=text, width=200), found)
    revenue = [line.split() for line in text.getvalue().splitlines() if "EUR" in line or "USD" in line]
    assert revenue[0][3] == "EUR"
    assert revenue[1][2] == "USD"
    assert "revenue is in different currencies: metrics.currency is USD, not EUR" in text.getvalue()


def test_a_metric_that_one_run_lacks_is_not_compared(tmp_path, write, index):
    write(tmp_path / "a")
    write(tmp_path / "b", predictions(1.5).assign(value=np.nan))
    for order in (["a", "b"], ["b", "a"]):
        found = compare(gather(order, root=tmp_path, index=index))
        assert "revenue@5" not in found.runs[1].difference
        assert "roc_auc" in found.runs[1].difference
        assert not any(text.startswith("Revenue") for text in findings(found))
