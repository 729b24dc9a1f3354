"""Checks before the first trial."""

from types import SimpleNamespace

import optuna
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mlsys.errors import ConfigError
from mlsys.sweep.checks import check_study, directions_of, objectives_of, trial_problems
from mlsys.sweep.space import parse_space
from tests.sweep.conftest import replace_settings

CONDITIONS = {"model=xgboost": {"model.depth": "3", "model.eta": "interval(0.0, 1.0)"}}


def search(*arguments, directions=("minimize",), **config):
    space = parse_space({"model": "choice(xgboost, logistic)"}, CONDITIONS, list(arguments), {})
    return SimpleNamespace(space=space, config=OmegaConf.create(config), directions=list(directions))


@pytest.mark.parametrize(
    ("other", "keys"),
    [
        (search("threads=4"), set()),
        (search("seed=1"), {"fixed"}),
        (search("model.depth=4"), {"fixed"}),
        (search("model.eta=0.5"), {"fixed", "space"}),
        (search("~tags"), {"fixed"}),
        (search("model=choice(xgboost,logistic,dummy)"), {"space"}),
        (search(directions=["maximize"], objective="roc_auc"), {"objectives", "directions"}),
        (search(objective=["value", "ece"], directions=["minimize"] * 2), {"objectives", "directions"}),
    ],
)
def test_a_different_search_is_rejected_with_what_differs(other, keys):
    study = optuna.create_study()
    check_study(study, search())
    check_study(study, search())
    if not keys:
        return check_study(study, other)
    with pytest.raises(ConfigError) as caught:
        check_study(study, other)
    assert {problem.where for problem in caught.value.problems} == keys
    assert study.user_attrs["search"]["objectives"] == ["value"]
    return None


def test_a_study_of_another_program_is_joined_if_its_directions_match():
    check_study(optuna.create_study(), search())
    with pytest.raises(ConfigError, match="maximize"):
        check_study(optuna.create_study(direction="maximize"), search())


def test_directions_follow_the_metrics(settings):
    config = OmegaConf.create({"objective": ["average_precision", "ece", "predict_ms"]})
    assert directions_of(config, settings) == ["maximize", "minimize", "minimize"]
    assert directions_of(OmegaConf.create({}), settings) == ["minimize"]
    assert directions_of(OmegaConf.create({}), replace_settings(settings, direction="maximize")) == ["maximize"]
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.direction"):
        directions_of(config, replace_settings(settings, direction=["maximize", "maximize", "minimize"]))
    assert objectives_of(OmegaConf.create({})) == ["value"]


@pytest.mark.parametrize("overridden", [True, False], ids=["parameters of the model", "options of the model"])
def test_a_search_over_models_that_choose_by_themselves_is_refused(overridden):
    def load(config, overrides):
        if overridden and any(override.startswith("model.") for override in overrides):
            raise ConfigCompositionException("Could not override 'model.max_depth'.")
        return OmegaConf.create({"model": {"candidates": {"a": {}}}, "search": {"folds": 3}, "hydra": {}})

    sweep = search(search={}, hydra={})
    sweep.hydra_context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=load))
    found = [problem for problem in trial_problems(sweep) if problem.where == "model"]
    assert "model=auto chooses by itself" in found[0].allowed
