"""Trackers that misbehave, and one that writes down all it is told; they run in the process of a tracker."""

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
class Toy:
    """Writes what it is told to ``diary`` and, where ``moment`` comes, does what ``vice`` says.

    Parameters
    ----------
    diary : str
    vice : str
        ``sleep``, ``hold`` (block in C with the interpreter's lock held), ``die``, ``raise`` or nothing.
    moment : str
        ``start`` or ``finish``.
    """

    diary: str
    vice: str = ""
    moment: str = "finish"
    start_timeout: float = HANG
    finish_timeout: float = HANG

    @property
    def name(self) -> str:
        return "toy"

    def start(self, facts):
        self.write("start", facts.name, facts.job_type, facts.group)
        self.misbehave("start")
        return ToyRun(self)

    def write(self, *words):
        with Path(self.diary).open("a") as file:
            file.write(json.dumps(words) + "\n")

    def misbehave(self, moment):
        if moment != self.moment:
            return
        if self.vice == "sleep":
            time.sleep(HANG)
        elif self.vice == "hold":
            ctypes.PyDLL(None).sleep(round(HANG))
        elif self.vice == "die":
            os.write(2, b"out of luck\n")
            os._exit(3)
        elif self.vice == "raise":
            raise RuntimeError("no such server\nand more")


class ToyRun:
    def __init__(self, toy):
        self._toy = toy

    def __getattr__(self, name):
        if not name.startswith("log_"):
            raise AttributeError(name)
        return lambda *_: self._toy.write(name)

    def finish(self, status):
        self._toy.misbehave("finish")
        self._toy.write("finish", status)
        return Receipt("online", "the diary")


def pages(diary):
    """Return what a toy wrote down."""
    return [json.loads(line) for line in Path(diary).read_text().splitlines()]
