"""Checks before the first trial."""

from types import SimpleNamespace

import optuna
import pytest
from omegaconf import OmegaConf

from mlsys.errors import ConfigError
from mlsys.sweep.checks import check_study, directions_of, objectives_of
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
