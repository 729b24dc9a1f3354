"""Whether this machine has a GPU that CUDA can use, without importing a library that could use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")
SECONDS = 30  # a driver that hangs does not hold up the run


def missing_gpu(*, driver: Path = DRIVER) -> str:
    """Say why CUDA has no GPU here; empty if it has one.

    Parameters
    ----------
    driver : Path
        Where the NVIDIA driver lists its GPUs on Linux.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides all GPUs"
    command = shutil.which("nvidia-smi")
    if command is None:
        return "" if driver.is_dir() and any(driver.iterdir()) else "this machine has no NVIDIA driver"
    try:
        found = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not answer: {error}"
    if found.returncode == 0 and found.stdout.startswith("GPU "):
        return ""
    said = (found.stdout + found.stderr).strip().splitlines()
    return f"nvidia-smi finds none: {said[0] if said else f'exit code {found.returncode}'}"
