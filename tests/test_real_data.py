"""Results on the real tables, which are stored next to the project, never in it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mlsys.compose import compose_config
from mlsys.prepare import prepare
from mlsys.runs import Run
from mlsys.train import train

REAL = Path(__file__).parents[2] / "shared" / "data" / "hubspot"
CONSTANT_LOG_LOSS = 0.0157  # of predicting the prevalence for every row
LEAK = 0.15  # a higher average precision means that the model sees the future

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"the real tables are not here: {REAL}"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that trains on the real tables, with a panel cache shared between calls."""
    root = tmp_path_factory.mktemp("real")
    done: dict[tuple[str, ...], Run] = {}

    def once(*overrides: str) -> Run:
        if overrides not in done:
            fast = ["metrics.bootstrap_resamples=100", f"data.cache_dir={root / 'cache'}", "threads=2"]
            config = compose_config(["data=hubspot", f"data.dir={REAL}", *fast, *overrides])
            folder = root / f"run-{len(done)}"
            train(prepare(OmegaConf.create(config.to_dict())), folder, [])
            done[overrides] = Run.open(folder)
        return done[overrides]

    return once


def value(run, name):
    return run.metrics["overall"][name]["value"]


def test_the_six_cut_offs_are_the_default_backtest(run):
    folds = run("model=logistic").metrics["folds"]
    assert [fold["as_of"] for fold in folds] == [
        "2020-02-24", "2020-03-23", "2020-04-27", "2020-05-25", "2020-06-22", "2020-07-27",
    ]  # fmt: skip
    assert [fold["label_complete"] for fold in folds] == [True] * 5 + [False]
    assert all(5_000 < fold["rows"] < 5_100 and 8 <= fold["positives"] <= 17 for fold in folds)


def test_the_baselines_match_the_reference(run):
    baselines = run("model=logistic").metrics["baselines"]
    assert baselines["activity"]["roc_auc"]["value"] == pytest.approx(0.77, abs=0.01)
    assert baselines["activity"]["average_precision"]["value"] == pytest.approx(0.070, abs=0.003)
    assert baselines["chance"]["log_loss"]["value"] == pytest.approx(CONSTANT_LOG_LOSS, abs=0.0002)


def test_boosted_trees_are_in_the_honest_range(run):
    result = run("model=xgboost", "split.folds=3")
    assert 0.87 <= value(result, "roc_auc") <= 0.93
    assert 0.04 <= value(result, "average_precision") <= 0.12
    assert value(result, "log_loss") < CONSTANT_LOG_LOSS
    assert result.audit["status"] != "fail"


def test_the_audit_warns_about_firmographics_missing_by_outcome(run):
    checks = {check["name"]: check for check in run("model=logistic").audit["checks"]}
    assert checks["missingness"]["status"] == "warn"
    assert "employee_range (1.0% versus 10.5%)" in checks["missingness"]["message"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=logistic"],
        ["model=lightgbm", "split.folds=3"],
        ["model=catboost", "model.iterations=100", "split.folds=2"],
    ],
    ids=" ".join,
)
def test_other_models_learn_and_do_not_leak(run, overrides):
    result = run(*overrides)
    assert value(result, "roc_auc") >= 0.82
    assert value(result, "average_precision") < LEAK
    assert value(result, "log_loss") < result.metrics["baselines"]["chance"]["log_loss"]["value"]


def test_calibration_corrects_probabilities_after_smotenc(run):
    calibration = run(
        "model=catboost",
        "model.iterations=60",
        "sampler=smotenc",
        "sampler.sampling_strategy=1.0",
        "features=minimal",
        "split.folds=2",
    ).metrics["calibration"]
    assert calibration["before"]["ece"] > 0.03
    assert calibration["after"]["ece"] <= 0.005


def test_the_audit_catches_the_naive_approach(run):
    naive = run("experiment=naive_leaky")
    assert value(naive, "average_precision") > 0.5
    failed = {check["name"] for check in naive.audit["checks"] if check["status"] == "fail"}
    assert failed >= {"time_travel", "embargo"}
