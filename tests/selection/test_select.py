"""A run with model=auto: what it chooses on, what it records, and what it is from then on."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from sklearn.ensemble import VotingClassifier

from mlsys.compose import compose_config
from mlsys.errors import ConfigError, FitError
from mlsys.prepare import prepare
from mlsys.runs import Run
from mlsys.runs.golden import check_golden
from mlsys.runs.writer import RunWriter
from mlsys.selection import select as module
from mlsys.stages import Stopwatch
from tests.waiting import HANG

CANDIDATES = ("logistic", "xgboost", "lightgbm", "catboost", "hist_gradient_boosting", "random_forest", "xgboost_deep")
SMALL = ["model=auto", "tracking=none", "threads=1", "split.folds=2", "model.folds=3", "fit.minutes=null",
         "metrics.bootstrap_resamples=20"]  # fmt: skip


def only(*names):
    return [f"model.candidates.{name}=null" for name in CANDIDATES if name not in names]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows whose label depends on a sum and on a product, so that linear models and trees have different errors."""
    rng = np.random.default_rng(0)
    columns = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    odds = 1.5 * columns["a"] + 1.5 * columns["b"] * columns["c"]
    won = (rng.random(400) < 1 / (1 + np.exp(-odds))).astype(int)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(400) // 2, unit="D")
    path = tmp_path_factory.mktemp("table") / "leads.csv"
    columns.assign(plan=rng.choice(["x", "y"], 400), day=days, won=won).to_csv(path, index=False)
    return ["data=table", f"data.path={path}", "data.target=won", "data.time=day"]


def prepared_run(*overrides):
    return prepare(OmegaConf.create(compose_config(list(overrides)).to_dict()))


def selected(folder, *overrides):
    run, writer = prepared_run(*overrides), RunWriter(folder)
    chosen, record = module.select(run, run.data.load(), writer, Stopwatch())
    return chosen, record


def test_a_run_of_a_single_model_is_left_alone(table, tmp_path):
    run = prepared_run(*table, "model=logistic", "tracking=none")
    assert module.select(run, run.data.load(), RunWriter(tmp_path), Stopwatch()) == (run, None)
    assert not (tmp_path / "selection.json").exists()


def test_the_run_becomes_one_of_the_chosen_model_and_keeps_the_request(table, tmp_path):
    chosen, record = selected(tmp_path, *table, *SMALL, *only("logistic", "random_forest"))
    (name,) = record["chosen"]
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["model"] == config["selection"]["candidates"][name]
    assert config["selection"]["chosen"] == [name]
    assert config["selection"]["candidates"]["catboost"] is None
    assert json.loads((tmp_path / "selection.json").read_text()) == record
    again = prepare(OmegaConf.create(config))
    assert again.config.to_dict() == chosen.config.to_dict(), "a replay makes no choice"
    assert again.parts.estimator.get_params() == chosen.parts.estimator.get_params()


def test_without_a_limit_the_choice_is_deterministic(table, tmp_path):
    records = [selected(tmp_path / str(number), *table, *SMALL, *only("logistic", "xgboost"))[1] for number in (0, 1)]
    for record in records:
        record.pop("seconds")
        for candidate in record["candidates"]:
            candidate.pop("seconds")
    assert records[0] == records[1]


def test_members_of_a_blend_have_the_settings_of_their_candidates(table, tmp_path, monkeypatch):
    def blend(finish, judge, may_blend):
        names = [entrant.name for entrant in finish.finishers]
        assert may_blend(finish.finishers)
        return replace(choose(finish, judge, may_blend), members=dict.fromkeys(names, 0.5))

    choose = module.choose
    monkeypatch.setattr(module, "choose", blend)
    few = ["model.candidates.xgboost.n_estimators=15", "fit.early_stopping.rounds=2"]
    chosen, _ = selected(tmp_path, *table, *SMALL, *few, *only("logistic", "xgboost"), "objective=roc_auc")
    assert isinstance(chosen.parts.estimator, VotingClassifier)
    members = yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["members"]
    assert set(members) == {"logistic", "xgboost"}
    assert members["xgboost"]["n_estimators"] == 15
    assert chosen.parts.estimator.weights == [0.5, 0.5]


def test_composites_are_chosen_alone_but_not_blended(table, tmp_path, monkeypatch):
    def spy(finish, judge, may_blend):
        asked.update({entrant.name: may_blend([entrant]) for entrant in finish.finishers})
        return choose(finish, judge, may_blend)

    asked, choose = {}, module.choose
    monkeypatch.setattr(module, "choose", spy)
    members = "model.candidates.vote.members"
    vote = ["+model@model.candidates.vote=vote", f"{members}.xgboost=null", f"{members}.lightgbm=null",
            f"{members}.logistic.C=1"]  # fmt: skip
    selected(tmp_path, *table, *SMALL, *only("logistic"), *vote)
    assert asked == {"logistic": True, "vote": False}


def test_a_candidate_that_fails_is_in_the_record(table, tmp_path):
    fails = ["encoder=ordinal", "+model.candidates.logistic.solver=liblinear", "model.candidates.logistic.max_iter=100",
             "+model.candidates.logistic.l1_ratio=0.5"]  # fmt: skip
    _, record = selected(tmp_path, *table, *SMALL, *fails, *only("logistic", "random_forest"))
    status = {candidate["name"]: candidate for candidate in record["candidates"]}
    assert status["random_forest"]["status"] == "finished"
    assert status["logistic"]["status"] == "failed"
    assert "liblinear" in status["logistic"]["reason"]


def test_unknown_columns_of_all_candidates_are_reported_together(table, tmp_path):
    wrong = [f"+model.candidates.{name}.monotone_constraints={{{name}: 1}}" for name in ("xgboost", "lightgbm")]
    with pytest.raises(ConfigError) as error:
        selected(tmp_path, *table, *SMALL, *only("xgboost", "lightgbm"), *wrong)
    places = [f"model.candidates.{name}.monotone_constraints.{name}" for name in ("xgboost", "lightgbm")]
    assert [problem.where for problem in error.value.problems] == places


@pytest.mark.parametrize(
    "overrides",
    [["sampler=random_under"], ["split=group_kfold"], ["split=holdout"], ["split=holdout", "split.order=random"]],
    ids=" ".join,
)
def test_samplers_and_every_split_work(table, tmp_path, overrides):
    others = [each for each in SMALL if not (each.startswith("split.folds") and "split=holdout" in overrides)]
    _, record = selected(tmp_path, *table, *others, *only("logistic", "random_forest"), *overrides)
    assert len(record["folds"]) == 3
    assert all(candidate["folds"] for candidate in record["candidates"])


def test_events_are_chosen_on_earlier_as_ofs(crm, tmp_path):
    _, record = selected(tmp_path, *crm.overrides, *SMALL, "features=minimal", *only("logistic", "random_forest"))
    as_ofs = [fold["as_of"] for fold in record["folds"]]
    assert as_ofs == sorted(as_ofs, reverse=True)


def train(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


@pytest.mark.slow
def test_a_run_reports_its_choice_and_its_replay_is_identical(table, tmp_path):
    done = train(tmp_path, "mlsys.train", *table, *SMALL, *only("logistic", "hist_gradient_boosting"))
    assert done.returncode == 0, done.stderr
    run = Run.open(done.stdout.strip().splitlines()[-1])
    record = run.read_json("selection.json")
    assert "model=auto chose " in " ".join(done.stdout.split())
    assert "choosing " in done.stdout
    assert f"auto: {' + '.join(record['chosen'])} on table" in run.card
    assert "How the model was chosen" in run.card
    assert "How the model was chosen" in run.read_bytes("report.html").decode()
    assert run.manifest.timing["selection"] > 0
    check_golden(run)
    again = train(tmp_path, "mlsys", "replay", str(run.path))
    assert (again.stdout.strip(), again.returncode) == ("identical", 0), again.stderr


def test_if_no_candidate_can_be_fitted_there_is_one_error(table, tmp_path):
    fails = ["+model.candidates.logistic.solver=liblinear", "+model.candidates.logistic.l1_ratio=0.5"]
    with pytest.raises(FitError, match="None of the candidates of model=auto can be fitted:\n  logistic: fold 2"):
        selected(tmp_path, *table, *SMALL, *only("logistic"), *fails)
