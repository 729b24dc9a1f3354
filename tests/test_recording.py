"""The record of a run is kept however it ends."""

import errno
import logging

import pytest

from mlsys.errors import RunError
from mlsys.prepare import compose_config
from mlsys.recording import Stopwatch, recorded
from mlsys.tracking import NoTracker


class FullDisk(logging.FileHandler):
    """A log on a disk that has no space left."""

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_is_said_once_and_leaves_no_whole_run(tmp_path, capsys):
    handler = FullDisk(tmp_path / "train.log")
    log = logging.getLogger()
    log.addHandler(handler)
    try:
        with (
            pytest.raises(RunError, match=r"Could not write .*train\.log: No space left"),
            recorded(tmp_path, compose_config([]), [], Stopwatch(), NoTracker()),
        ):
            log.warning("one line")
    finally:
        log.removeHandler(handler)
    assert "Logging error" not in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()
