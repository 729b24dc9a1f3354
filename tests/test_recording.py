"""A run is recorded however it ends."""

import errno
import logging

import pytest
from omegaconf import OmegaConf

from mlsys.compose import compose_config
from mlsys.errors import RunError
from mlsys.recording import config_text, recorded
from mlsys.stages import Stopwatch
from mlsys.tracking import NoTracker


class FullDisk(logging.FileHandler):
    """A log file on a full disk."""

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_is_reported_once_and_leaves_an_incomplete_run(tmp_path, capsys):
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


TRICKY = ["1e3", "1_000", "007", "yes", "null", "~", "", " a ", "ä: b # c", "${seed}", "???", "two\nlines", "a" * 200]


@pytest.mark.parametrize(
    "plain", [TRICKY, {"a": {"b": [1, 1e-05, None]}, "empty": {}, "none": [], **dict.fromkeys(TRICKY, 1)}]
)
def test_the_written_config_equals_omegaconfs(plain):
    text = config_text(plain)
    assert text == OmegaConf.to_yaml(OmegaConf.create(plain))
    assert OmegaConf.to_container(OmegaConf.create(text), resolve=False) == plain


@pytest.mark.parametrize(("trial", "synced"), [(None, True), (3, False)])
def test_trials_are_not_synced_to_disk(tmp_path, monkeypatch, trial, synced):
    calls = []
    monkeypatch.setattr("os.fsync", calls.append)
    config = compose_config([] if trial is None else ["+search.folds=2", f"+search.trial={trial}"])
    with recorded(tmp_path / "run", config, [], Stopwatch(), NoTracker()):
        pass
    assert bool(calls) is synced
