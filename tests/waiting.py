"""Waiting for what another thread, process or browser does.

Tests wait for conditions, never for a time: how long anything takes depends on what else the machine is doing. A bound
is there only so that a test that hangs fails, and says what it waited for.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Any, TypeVar

T = TypeVar("T")

HANG = (
    300.0  # seconds after which whatever a test waits for is taken to hang; nothing takes a tenth of it when it works
)
PAUSE = 0.02  # seconds between two looks


def wait_until(
    condition: Callable[[], T],
    what: str,
    *,
    process: subprocess.Popen[Any] | None = None,
    output: Callable[[], str] = str,
    pause: float = PAUSE,
) -> T:
    """Wait until a condition holds; return its value.

    Parameters
    ----------
    condition : callable
        Holds when its value is true.
    what : str
        What is waited for, for the message of a failure.
    process : Popen, optional
        What has to bring it about: once that has ended there is nothing to wait for.
    output : callable, optional
        Returns what a failure shows beside, such as a log.
    pause : float
        Seconds between two looks; longer where a look is expensive.
    """
    end = time.monotonic() + HANG
    while True:
        ended = process is not None and process.poll() is not None  # before the look: it may be its last deed
        if found := condition():
            return found
        if ended:
            assert process is not None
            raise AssertionError(f"the process ended (exit code {process.returncode}) before {what}\n{output()}")
        if time.monotonic() > end:
            raise AssertionError(f"{HANG:g} s went by without this: {what}\n{output()}")
        time.sleep(pause)


class Program(subprocess.Popen[str]):
    """A program whose output can be read while it runs."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - as long as the program
        super().__init__(command, stdout=self._files[0], stderr=self._files[1], text=True, **options)

    @property
    def out(self) -> str:
        """What it wrote to its standard output so far."""
        return _text(self._files[0])

    @property
    def err(self) -> str:
        """What it wrote to its standard error so far."""
        return _text(self._files[1])

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait until something holds while the program runs; a program that failed to bring it about is killed."""
        try:
            return wait_until(condition, what, process=self, output=lambda: f"{self.out}\n{self.err}")
        except BaseException:
            self.kill()
            self.end()
            raise

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait until it ends; return its exit code and output."""
        try:
            self.wait(HANG)
        except subprocess.TimeoutExpired as error:
            self.kill()
            self.wait()
            raise AssertionError(f"still running after {HANG:g} s:\n{self.out}\n{self.err}") from error
        else:
            return subprocess.CompletedProcess(self.args, self.returncode, self.out, self.err)
        finally:
            for file in self._files:
                file.close()


def _text(file: IO[bytes]) -> str:
    # Not by seek and read: the program writes where this file's offset is.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")
