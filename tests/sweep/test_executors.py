"""Workers as Ray tasks; test_run.py tests local processes with whole sweeps."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.sweep.conftest import finished, states

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
RAY = ["hydra.sweeper.executor=ray", "hydra.sweeper.n_jobs=2"]


def ray_workers(process):
    """Return the processes of a sweep's Ray tasks, by their session."""
    listed = subprocess.run(["pgrep", "-f", "ray::_ray_task"], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split() if _descends(int(word), process.pid)]


def _descends(pid, ancestor):
    while pid > 1 and pid != ancestor:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return pid == ancestor


@pytest.mark.slow
@needs_ray
def test_ray_tasks_run_a_sweep_and_a_dead_task_is_replaced(toy):
    process = toy.start(*RAY, *toy.held, "hydra.sweeper.n_trials=6")
    process.until(lambda: len(toy.starts()) >= 2, "both tasks started a job")
    victims = ray_workers(process)
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    toy.gate.touch()
    done = process.end()
    assert done.returncode == 0, done.stderr
    trials = toy.trials()
    assert states(finished(trials)) == ["COMPLETE"] * 6
    assert states(trials) == ["COMPLETE"] * 6 + ["FAIL"]
    assert len({trial.params["x"] for trial in trials if trial.state.name == "COMPLETE"}) == 6
    assert len(toy.starts()) == len(set(toy.starts())) == 7
    assert "6 of 6 trials: 6 complete, 0 pruned, 0 failed" in done.stdout.splitlines()


def test_without_ray_the_error_names_the_extra(toy, tmp_path):
    hidden = tmp_path / "hidden" / "ray"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden')")
    done = toy.run(*RAY, "seconds=0", PYTHONPATH=str(hidden.parent))
    assert done.returncode == 1
    assert "pip install 'mlsys[ray]'" in done.stderr
    assert toy.starts() == []
