"""Limits of memory: what the user sets, else those of the machine and of its control groups."""

from pathlib import Path

import pytest

from mlsys.memory import GB, peak_memory_mb, reset_peak_memory, usable_memory_gb

LINUX = Path("/proc/self/cgroup").exists()


def test_what_the_user_sets_wins():
    assert usable_memory_gb(1.5) == 1.5


def test_the_machines_memory_is_known(tmp_path):
    assert 0.05 < usable_memory_gb(cgroups=tmp_path) < 100_000


@pytest.mark.skipif(not LINUX, reason="control groups exist on Linux only")
@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_limit_of_a_container_counts(tmp_path, name):
    groups = Path("/proc/self/cgroup").read_text()
    if "memory/" in name and ":memory:" not in groups:
        pytest.skip("this machine has no control groups of version 1")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("50000000\n")
    assert usable_memory_gb(cgroups=tmp_path) == 50_000_000 / GB
    (tmp_path / name).write_text("max\n")
    assert usable_memory_gb(cgroups=tmp_path) > 0.05


def test_the_peak_is_that_since_the_reset():
    reset_peak_memory()
    before = peak_memory_mb()
    block = bytearray(200_000_000)
    assert peak_memory_mb() > before + 150
    del block
