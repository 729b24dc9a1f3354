"""Commands that are killed at any moment; benchmarks/registry.py kills 200."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def kills(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.registry.kills", str(folder), *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=150,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == [], done.stderr
    return found


@pytest.mark.slow
def test_twenty_kills_among_four_processes(tmp_path):
    found = kills(tmp_path, "--kills", "20")
    assert sum(found["kills"].values()) >= 20
    assert found["finished"]["add"] > 0
    assert found["looks"] > 10


@pytest.mark.slow
def test_a_kill_before_every_change(tmp_path):
    found = kills(tmp_path, "--everywhere", "4")
    assert found["kills"]["add"] > 20
    assert found["kills"]["promote"] >= 3
    assert found["kills"]["rollback"] >= 3
