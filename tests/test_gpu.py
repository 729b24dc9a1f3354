"""Whether there is a GPU is known from the driver, and asked before any data are read."""

import os

import pytest
from xgboost import XGBClassifier

from mlsys.components import Components
from mlsys.compose import compose_config
from mlsys.errors import Problem
from mlsys.gpu import missing_gpu
from mlsys.pipeline import devices
from mlsys.pipeline.single_fit import _prepare_scoring


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Return a function that makes a fake driver's nvidia-smi; until then, there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(script):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return make


def problems(*overrides):
    plain = compose_config(overrides).model_dump(by_alias=True)
    return [problem for problem in Components.build(plain)[1] if problem.got in ("cuda", "cuda:0", "GPU")]


LISTED = "echo 'GPU 0: NVIDIA L4 (UUID: GPU-1)'"
ASKED = {
    "model.device": ["model=xgboost", "model.device=cuda"],
    "model.members.xgboost.device": ["model=vote", "+model.members.xgboost.device=cuda:0"],
    "model.task_type": ["model=catboost", "model.task_type=GPU", "model.rsm=null"],
}


@pytest.mark.parametrize("where", ASKED)
def test_a_gpu_that_is_not_there_is_one_config_problem(where, nvidia_smi, tmp_path, monkeypatch):
    monkeypatch.setattr("mlsys.gpu.DRIVER", tmp_path / "none")
    (problem,) = problems(*ASKED[where])
    assert problem.where == where
    assert problem.allowed.startswith(problem.closest)
    assert "no NVIDIA driver" in problem.allowed
    assert "a machine with a GPU" in problem.allowed
    nvidia_smi(LISTED)
    assert problems(*ASKED[where]) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (LISTED, ""),
        ("echo 'No devices were found'; exit 6", "nvidia-smi finds none: No devices were found"),
        ("exit 9", "nvidia-smi finds none: exit code 9"),
        (None, "this machine has no NVIDIA driver"),
    ],
)
def test_the_reason_is_that_of_the_driver(script, reason, nvidia_smi, tmp_path):
    if script:
        nvidia_smi(script)
    assert missing_gpu(driver=tmp_path / "none") == reason


def test_a_driver_without_nvidia_smi_and_hidden_gpus_are_known(nvidia_smi, tmp_path, monkeypatch):
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    assert missing_gpu(driver=tmp_path / "gpus") == ""
    nvidia_smi(LISTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES= hides all GPUs" in missing_gpu()


def test_a_library_without_cuda_is_named(nvidia_smi, monkeypatch):
    nvidia_smi(LISTED)
    monkeypatch.setattr("xgboost.build_info", lambda: {"USE_CUDA": False})
    (problem,) = devices.XGBOOST.problems(XGBClassifier(device="cuda"), "model")
    assert isinstance(problem, Problem)
    assert "built without CUDA" in problem.allowed


def test_a_model_that_was_fitted_on_a_gpu_is_saved_for_the_cpu():
    model = XGBClassifier(n_estimators=1).fit([[0.0], [1.0]], [0, 1])
    model.set_params(device="cuda")
    _prepare_scoring(model)
    assert model.get_params()["device"] == "cpu"
    assert "cuda" not in model.get_booster().save_config()
    assert os.fsencode("cuda") not in bytes(model.get_booster().__getstate__()["handle"])
