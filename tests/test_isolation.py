"""Tests leave no state behind for other tests."""

import os
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from mlsys.data.cache import default_folder
from mlsys.launch import conf_folder, environment_overrides


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_starts_without_the_state_of_the_previous_one(turn):
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()
    assert environment_overrides(()) == {}
    initialize_config_dir(config_dir=str(conf_folder().resolve()))
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": {}})
    os.environ["MLSYS__SEED"] = str(turn)  # not with monkeypatch, which would clean up


def test_the_environment_is_clean_at_the_end(monkeypatch):
    assert "MLSYS__SEED" not in os.environ


def test_no_test_uses_the_users_cache(tmp_path_factory):
    assert default_folder().is_relative_to(tmp_path_factory.getbasetemp())
    assert not default_folder().is_relative_to(Path.home() / ".cache")


def test_the_small_crm_has_some_converters_in_every_fold(crm):
    usage, customers = crm.frames["usage_actions"], crm.frames["customers"]
    assert (len(customers), len(crm.frames["noncustomers"])) == (45, 256)
    assert 200 < usage["id"].nunique() < 300  # some have no event at all
    months = customers["CLOSEDATE"].str[:7].value_counts()
    assert months.min() >= 2
