"""A fake tracker that logs every call and can fail on purpose; it runs in the tracker's process."""

from __future__ import annotations

import ctypes
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mlsys.tracking.base import Receipt
from tests.waiting import HANG


@dataclass(frozen=True)
class FakeTracker:
    """Write each call to a file, and fail in one phase.

    Parameters
    ----------
    log : str
        Path of the file.
    fault : str
        ``sleep``, ``hold`` (block in C while holding the GIL), ``die``, ``raise`` or "" for none.
    phase : str
        Phase in which it fails: ``start`` or ``finish``.
    """

    log: str
    fault: str = ""
    phase: str = "finish"
    start_timeout: float = HANG
    finish_timeout: float = HANG

    @property
    def name(self) -> str:
        return "fake"

    def start(self, data):
        self.write("start", data.name, data.job_type, data.group)
        self.fail("start")
        return FakeRun(self)

    def write(self, *words):
        with Path(self.log).open("a") as file:
            file.write(json.dumps(words) + "\n")

    def fail(self, phase):
        if phase != self.phase:
            return
        if self.fault == "sleep":
            time.sleep(HANG)
        elif self.fault == "hold":
            ctypes.PyDLL(None).sleep(round(HANG))
        elif self.fault == "die":
            os.write(2, b"out of luck\n")
            os._exit(3)
        elif self.fault == "raise":
            raise RuntimeError("no such server\nand more")


class FakeRun:
    def __init__(self, fake):
        self._tracker = fake

    def __getattr__(self, name):
        if not name.startswith("log_"):
            raise AttributeError(name)
        return lambda *_: self._tracker.write(name)

    def finish(self, status):
        self._tracker.fail("finish")
        self._tracker.write("finish", status)
        return Receipt("online", "the log")


def read_log(log):
    """Return the calls that a fake tracker logged."""
    return [json.loads(line) for line in Path(log).read_text().splitlines()]
