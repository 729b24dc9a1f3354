"""Commands killed at random moments; benchmarks/registry.py kills 200."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import HANG

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kills_at_random_and_before_every_change(tmp_path):
    """Kills before every change, but only before every sixth while a version is copied."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.registry.kills", str(tmp_path), "--kills", "20", "--everywhere", "6"],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=2 * HANG,  # the script itself ends commands that hang, with a traceback
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found["random"]["kills"].values()) >= 20
    assert found["random"]["finished"]["add"] > 0
    assert found["random"]["reads"] > 10
    steps = found["everywhere"]["kills"]
    assert (steps["add"] > 20, steps["promote"] >= 3, steps["rollback"] >= 3) == (True, True, True)
