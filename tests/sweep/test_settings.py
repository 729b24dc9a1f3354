"""The keys of hydra.sweeper."""

import pytest
import yaml
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf

from mlsys.errors import ConfigError
from mlsys.launch import conf_folder
from mlsys.sweep.settings import SweepSettings, check_settings

SAMPLER = {"_target_": "optuna.samplers.TPESampler"}


def test_all_problems_are_listed_with_the_closest_key():
    settings = {
        "sampler": SAMPLER,
        "n_trails": 5,
        "n_jobs": 0,
        "max_failure_rate": 1.5,
        "executor": "dask",
        "pruners": {},
    }
    with pytest.raises(ConfigError) as caught:
        check_settings(settings)
    problems = {problem.where.removeprefix("hydra.sweeper."): problem for problem in caught.value.problems}
    assert set(problems) == {"n_trails", "n_jobs", "max_failure_rate", "executor", "pruners"}
    assert (problems["n_trails"].closest, problems["pruners"].closest) == ("n_trials", "pruner")
    assert problems["n_jobs"].got == "0"
    assert "'local' or 'ray'" in problems["executor"].allowed


def test_the_config_file_lists_every_key_with_its_default():
    defaults_in_file = yaml.safe_load((conf_folder() / "hydra/sweeper/mlsys_optuna.yaml").read_text())
    assert defaults_in_file.pop("_target_") == "mlsys.sweep.plugin.MlsysOptunaSweeper"
    assert set(defaults_in_file) == set(SweepSettings.model_fields)
    defaults = SweepSettings(sampler=SAMPLER).model_dump(exclude={"sampler", "pruner", "params"})
    assert {key: defaults_in_file[key] for key in defaults} == defaults


def test_the_keys_of_the_official_plugin_are_accepted():
    official = {name for name in OptunaSweeperConf.__dataclass_fields__ if name not in ("defaults", "_target_")}
    assert official <= set(SweepSettings.model_fields)
    settings = check_settings({"sampler": SAMPLER, "direction": ["minimize", "maximize"], "storage": None, "n_jobs": 2})
    assert settings.direction == ["minimize", "maximize"]
