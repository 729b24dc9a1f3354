"""A composed config is checked as a whole before any data are read."""

import pytest
import yaml
from omegaconf import OmegaConf

from mlsys.components import Components
from mlsys.compose import compose_config
from mlsys.config import inspect
from mlsys.errors import ConfigError
from mlsys.prepare import prepare, search_problems


@pytest.mark.parametrize(
    "where", ["metrics", "fit", "fit.early_stopping", "audit", "threshold", "features.blocks", "data.events", "split"]
)
def test_a_value_where_a_section_belongs_is_one_clear_problem(where):
    config = OmegaConf.create(compose_config([]).to_dict())
    OmegaConf.update(config, where, 4)
    with pytest.raises(ConfigError) as error:
        prepare(config)
    assert where in {problem.where for problem in error.value.problems}


def test_a_target_that_is_not_allowed_is_named_where_it_stands():
    with pytest.raises(ConfigError) as error:
        prepare(OmegaConf.create(compose_config([]).to_dict() | {"model": {"_target_": "os.system"}}))
    assert [problem.where for problem in error.value.problems] == ["model"]
    assert "os.system" in error.value.problems[0].got
    assert "execution whitelist" in error.value.problems[0].got


def test_weights_by_age_are_refused_where_rows_have_none():
    overrides = ["fit.half_life_days=240", "model=logistic", "model.class_weight=balanced", "sampler=smote"]
    config = OmegaConf.create(compose_config(overrides).to_dict())
    with pytest.raises(ConfigError) as error:
        prepare(config)
    assert [problem.where for problem in error.value.problems] == ["fit.half_life_days"] * 2
    assert [problem.got for problem in error.value.problems] == [
        "240, with the sampler SMOTE",
        "240, but LogisticRegression (model) has class weights that follow the rows",
    ]


def components(*overrides):
    plain = compose_config(overrides).model_dump(by_alias=True)
    return {problem.where: problem for problem in Components.build(plain)[1]}


def test_every_component_of_another_kind_is_named_before_anything_is_read():
    changes = [
        "~encoder", "+encoder._target_=mlsys.pipeline.calibration.Auto",
        "sampler=smote", "~sampler", "+sampler._target_=sklearn.linear_model.LogisticRegression",
        "~model", "+model._target_=sklearn.linear_model.LinearRegression",
        "~calibration", "+calibration._target_=mlsys.pipeline.encoders.OneHot",
        "~split", "+split._target_=mlsys.pipeline.calibration.Auto",
        "features=none", "+features.blocks.mine._target_=mlsys.pipeline.encoders.OneHot",
    ]  # fmt: skip
    found = components(*changes)
    groups = ("encoder", "sampler", "model", "calibration", "split", "features.blocks.mine")
    assert set(found) == {f"{group}._target_" for group in groups}
    assert "LinearRegression, which has no predict_proba" in found["model._target_"].got


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["model=xgboost", "model.n_estimators=-5"], "model.n_estimators"),
        (["model=lightgbm", "model.n_estimators=0"], "model.n_estimators"),
        (["model=catboost", "model.iterations=0"], "model.iterations"),
        (["model=vote", "model.members.xgboost.n_estimators=0"], "model.members.xgboost.n_estimators"),
    ],
)
def test_boosted_models_need_a_tree(overrides, where):
    assert components(*overrides)[where].allowed == "at least 1"


def test_a_model_that_does_not_report_after_each_iteration_is_named():
    plain = {"search": {"report_per": "iteration"}, "objective": "log_loss"}
    models = {name: Components.build(compose_config([f"model={name}"]).to_dict())[0] for name in ("xgboost", "ebm")}
    assert search_problems(plain, lambda: models["xgboost"].estimator) == []
    (problem,) = search_problems(plain, lambda: models["ebm"].estimator)
    assert problem.where == "search.report_per"
    assert problem.allowed == "fold: ExplainableBoostingClassifier does not report after each iteration"


def test_every_candidate_is_checked_like_a_model():
    found = problems(
        "model=auto",
        "model.candidates.catboost.iterations=0",
        "+model.candidates.xgboost.max_dept=3",
        "model.candidates.logistic.C=-1",
        "+model.candidates.mine._target_=sklearn.linear_model.LinearRegression",
        "model.candidates.lightgbm._target_=os.system",
        "+model@model.candidates.vote=vote",
        "model.candidates.vote.members.xgboost.n_estimators=0",
    )
    assert found.keys() >= {
        f"model.candidates.{where}"
        for where in (
            "catboost.iterations", "xgboost.max_dept", "logistic.C", "lightgbm", "vote.members.xgboost.n_estimators",
        )
    }  # fmt: skip
    assert "LinearRegression, which has no predict_proba" in found["model.candidates.mine._target_"].got
    assert found["model.candidates.xgboost.max_dept"].closest == "max_depth"


def test_a_choice_takes_no_search_and_no_timing():
    assert "chooses by itself" in problems("model=auto", "search=xgboost")["model"].allowed
    assert problems("model=auto", "objective=[predict_ms,log_loss]")["objective"].got == "predict_ms"


@pytest.fixture
def campaign(tmp_path):
    """Overrides for a table whose rows were treated or not."""
    lines = [f"{row},{row % 2},{row % 3 // 2}" for row in range(30)]
    (tmp_path / "campaign.csv").write_text("\n".join(["size,mailed,won", *lines]))
    return ["data=table", f"data.path={tmp_path / 'campaign.csv'}", "data.target=won", "data.cache=false"]


def problems(*overrides):
    with pytest.raises(ConfigError) as error:
        prepare(OmegaConf.create(compose_config(overrides).to_dict()))
    return {problem.where: problem for problem in error.value.problems}


def test_an_uplift_model_needs_a_treatment(campaign):
    found = problems(*campaign, "model=uplift")
    assert list(found) == ["data.treatment"]
    assert found["data.treatment"].allowed.startswith("the column that says which rows were treated")
    assert problems("model=uplift")["data.treatment"].allowed.endswith("needs data=table")


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("data.treatment=mail", "data.treatment"),
        ("data.treatment=won", "data.treatment"),
        ("data.treated=1", "data.treatment"),
    ],
)
def test_a_treatment_is_a_column_that_the_model_may_read(override, where, campaign):
    with pytest.raises(ConfigError) as error:
        prepare(OmegaConf.create(compose_config([*campaign, "model=logistic", override]).to_dict())).data.load()
    assert [problem.where for problem in error.value.problems] == [where]


def test_only_an_uplift_model_can_be_optimised_for_its_metrics(campaign):
    treated = [*campaign, "data.treatment=mailed", "objective=qini"]
    assert prepare(OmegaConf.create(compose_config([*treated, "model=uplift"]).to_dict())).config.objectives == ["qini"]
    assert list(problems(*treated, "model=logistic")) == ["objective"]


@pytest.mark.parametrize(("split", "other"), [("holdout", "split.order=random"), ("backtest", "split=group_kfold")])
def test_a_split_by_time_needs_the_time_column(split, other, campaign):
    found = problems(*campaign, f"split={split}")
    assert list(found) == ["data.time"]
    assert found["data.time"].allowed.endswith(f"use {other}")
    prepare(OmegaConf.create(compose_config([*campaign, "split=holdout", "split.order=random"]).to_dict()))


def test_a_treatment_with_another_role_is_found_before_the_table_is_read(campaign):
    assert list(problems(*campaign, "data.path=missing.csv", "data.treatment=won")) == ["data.treatment"]


@pytest.mark.parametrize("value", ["null", "0.5", "[a]", "[.nan]", "[1.5]", "[0]", "[true]"])
def test_the_fractions_of_the_learning_curve_have_one_message(value):
    plain = compose_config([]).model_dump(by_alias=True)
    plain["metrics"]["learning_curve"] = yaml.safe_load(value)
    _, found, _ = inspect(OmegaConf.create(plain))
    (problem,) = (each for each in found if each.where == "metrics.learning_curve")
    assert problem.allowed == "a list of numbers above 0 and below 1, each once, such as [0.25,0.5]; [] for no curve"
    assert problem.got == ("null" if value == "null" else repr(plain["metrics"]["learning_curve"]))
