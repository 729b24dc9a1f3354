"""A Hydra program with trivial jobs, to test the sweeper."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from mlsys.sweep import current_trial


@hydra.main(config_path="toy_conf", config_name="toy", execution_whitelist=["mlsys.*", "logging.*"])
def main(config: DictConfig) -> float:
    """Return (x - 1)² + y, report a value per step, and add a line to a log that all jobs share."""
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder.parent / "starts.log").open("a") as log:
        log.write(f"{folder.name} {os.getpid()}\n")
    assert not (folder / "result").exists(), "a run directory was used twice"
    if config.fail == "kill" and config.x > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fail and config.x > 0:
        raise ValueError(f"x is {config.fail}")
    wait_at(config.gate)
    trial = current_trial()
    for step in range(config.steps):
        time.sleep(config.seconds * (1 + config.uneven * (config.x > 0)) / config.steps)
        if trial is not None:
            trial.report((config.x - 1) ** 2 + 0.01 * step, step)
    (folder / "result").write_text(str(config.x))
    return (config.x - 1) ** 2 + config.y


def wait_at(gate: str) -> None:
    """Wait until a file exists, but not forever: a failed test must not leave a waiting process behind."""
    end = time.monotonic() + 600
    while gate and not Path(gate).exists() and time.monotonic() < end:
        time.sleep(0.02)


if __name__ == "__main__":
    main()
