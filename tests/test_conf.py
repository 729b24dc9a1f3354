"""Every option of every group composes, is checked and can be instantiated."""

import re

import pytest
import yaml
from omegaconf import OmegaConf

from mlsys.components import Components
from mlsys.compose import compose_config
from mlsys.config import inspect
from mlsys.errors import ConfigError
from mlsys.launch import conf_folder
from mlsys.pipeline.threshold import choose_threshold

FILES = sorted(conf_folder().glob("*/*.yaml"))
NEEDED = {
    "data=hubspot": ["data.dir=."],
    "data=sql": ["data.url=duckdb://"],
    "data=table": ["data.path=x.csv", "data.target=y"],
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_option_composes_and_builds(file):
    option = f"{file.parent.name}={file.stem}"
    override = f"+{option}" if file.parent.name in ("experiment", "debug") else option
    extra = NEEDED.get(option, [])
    config = compose_config([override.replace("+", ""), *extra])
    parts, problems = Components.build(config.to_dict())
    assert problems == []
    assert parts.estimator is not None or parts.candidates
    assert config.choices[file.parent.name] == file.stem


@pytest.mark.parametrize("file", [*FILES, conf_folder() / "train.yaml"], ids=lambda file: file.stem)
def test_each_file_starts_with_its_purpose_and_a_command(file):
    comments = [line for line in file.read_text().splitlines() if line.startswith("#") and "@package" not in line]
    assert len(comments[0]) > 10
    assert any(re.search(r"python -m mlsys\.train", line) for line in comments), "no command"


def test_every_entry_of_the_defaults_list_has_a_comment():
    lines = (conf_folder() / "train.yaml").read_text().split("defaults:\n")[1].split("\n\n")[0].splitlines()
    assert [line for line in lines if "#" not in line and "_self_" not in line] == []


def test_every_group_of_the_contract_has_its_options():
    options = {
        group: {file.stem for file in FILES if file.parent.name == group} for group in {f.parent.name for f in FILES}
    }
    assert options["data"] >= {"demo", "hubspot", "table", "sql"}
    assert options["features"] >= {"usage", "detailed", "minimal", "none"}
    assert options["encoder"] >= {"native", "onehot", "ordinal", "target"}
    assert options["sampler"] >= {
        "none", "smotenc", "smote", "borderline_smote", "adasyn", "random_over", "random_under", "smoteenn",
    }  # fmt: skip
    assert options["model"] >= {
        "catboost", "xgboost", "lightgbm", "logistic", "random_forest", "hist_gradient_boosting", "ebm", "vote",
        "stack",         "activity", "dummy", "auto",
    }  # fmt: skip
    assert options["calibration"] >= {"auto", "none", "prior", "sigmoid", "isotonic"}
    assert options["split"] >= {"backtest", "holdout", "group_kfold"}
    assert options["tracking"] >= {"wandb", "mlflow", "none", "all"}


def test_a_saved_config_composes_to_itself():
    config = compose_config(["model=lightgbm", "seed=3"])
    again = inspect(OmegaConf.create(yaml.safe_load(yaml.safe_dump(config.to_dict()))))[2]
    assert again is not None
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize("file", sorted((conf_folder() / "threshold").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_threshold_can_be_chosen(file):
    config = compose_config([f"threshold={file.stem}"])
    label, probability = [0, 0, 1, 0, 1], [0.001, 0.2, 0.9, 0.1, 0.4]
    chosen = choose_threshold(label, probability, groups=[0] * 5, **config.threshold.arguments())
    assert 0 < chosen.threshold <= 1


@pytest.mark.parametrize("file", sorted((conf_folder() / "sampler").glob("*.yaml")), ids=lambda file: file.stem)
def test_by_default_samplers_keep_converters_in_the_minority(file):
    strategy = yaml.safe_load(file.read_text(encoding="utf-8")).get("sampling_strategy")
    assert strategy is None or strategy <= 0.1


def test_a_list_length_may_not_be_repeated():
    with pytest.raises(
        ConfigError, match=r"metrics\.top_k\s+got:     \[10, 50, 10\]\s+allowed: each number once; 10 is"
    ):
        compose_config(["metrics.top_k=[10,50,10]"])


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["model.folds=1"], "model.folds"),
        (["+model.fold=3"], "model.fold"),
        (["fit.minutes=0"], "fit.minutes"),
        (["+model.candidates.mine=5"], "model.candidates.mine"),
        (["+model.candidates.mine={depth: 5}"], "model.candidates.mine._target_"),
    ],
)
def test_settings_of_a_choice_are_checked(overrides, where):
    with pytest.raises(ConfigError) as error:
        compose_config(["model=auto", *overrides])
    assert [problem.where for problem in error.value.problems] == [where]


def test_a_choice_needs_a_candidate():
    names = compose_config(["model=auto"]).model.candidates
    with pytest.raises(ConfigError, match=r"model\.candidates\n.*\n.*at least one candidate that is not null"):
        compose_config(["model=auto", *(f"model.candidates.{name}=null" for name in names)])


def test_each_candidate_has_the_settings_of_its_option():
    candidates = compose_config(["model=auto"]).model.candidates
    for name in ("xgboost", "lightgbm", "catboost", "hist_gradient_boosting", "random_forest", "logistic"):
        assert candidates[name] == compose_config([f"model={name}"]).model


@pytest.mark.parametrize("composite", ["vote", "stack"])
def test_each_member_regularises_as_its_option_does(composite):
    members = compose_config([f"model={composite}"]).to_dict()["model"]["members"]
    assert len(members) == 3
    for name, member in members.items():
        option = compose_config([f"model={name}"]).to_dict()["model"]
        assert {key: value for key, value in member.items() if key in option} == {
            key: value for key, value in option.items() if key in member
        }


def test_experiments_and_debug_override_the_settings_of_the_primary_config():
    assert compose_config(["debug=default"]).metrics.bootstrap_resamples == 50
    assert not compose_config(["experiment=best"]).fit.early_stopping.enabled
