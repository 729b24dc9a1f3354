"""Memory: what this process has used at most, and what it may still use."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GB = 1e9
CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit


def reset_peak_memory() -> None:
    """Start measuring peak memory anew; on other systems than Linux, it stays that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5)


def peak_memory_mb() -> float:
    """Return the peak of the resident memory of this process, in MB, since `reset_peak_memory`."""
    try:
        return _kilobytes(Path("/proc/self/status"), "VmHWM") / 2**10
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def usable_memory_gb(limit_gb: float | None = None, *, cgroups: Path = CGROUPS) -> float:
    """Return the memory that this process may use, including what it uses already, in GB (1e9 bytes).

    Libraries know the machine's memory, but not the limits of containers and batch systems, so these are read here.

    Parameters
    ----------
    limit_gb : float, optional
        What the user has set, which is returned as it is.
    cgroups : Path
        Where the limits of control groups are mounted.
    """
    if limit_gb is not None:
        return limit_gb
    try:
        free = _kilobytes(Path("/proc/meminfo"), "MemAvailable") + _kilobytes(Path("/proc/self/status"), "VmRSS")
        memory = free * 2**10
    except OSError:  # not Linux: all memory of the machine
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory, *_limits(cgroups), UNLIMITED) / GB


def release_memory() -> None:
    """Give freed memory back to the system: allocators keep it, and what is loaded next may use another one."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _limits(cgroups: Path) -> Iterator[int]:
    """Yield the limits of the control groups of this process, in bytes."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            root = cgroups / controllers
            for folder in (root / group.strip("/"), root):  # inside a container, its own group is the root
                for name in ("memory.max", "memory.limit_in_bytes"):
                    with suppress(OSError, ValueError):  # "max" is no number
                        yield int((folder / name).read_text())


def _kilobytes(path: Path, name: str) -> int:
    return int(path.read_text().partition(f"{name}:")[2].split()[0])
