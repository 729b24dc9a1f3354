"""Stages: seconds, peak memory, and progress on a terminal and in a log."""

import logging
import re
import threading

import numpy as np
import pytest

from mlsys import stages
from mlsys.stages import StageProgress, Stopwatch, progress


class Display:
    """Records what would be on the terminal."""

    def __init__(self):
        self.shown, self.event = [], threading.Event()

    def show(self, *stage):
        self.shown.append(stage)
        self.event.set()

    def hide(self):
        self.shown.append(None)


@pytest.fixture
def at_once(monkeypatch):
    """Show every stage, and log at every look."""
    monkeypatch.setattr(stages, "DELAY", 0.0)
    monkeypatch.setattr(stages, "EVERY", 0.0)


def test_a_stage_has_its_own_peak_memory():
    clock = Stopwatch()
    with clock("large"):
        np.ones(2**25).sum()  # 256 MB
    with clock("small"):
        pass
    assert clock.peak_mb["large"] > clock.peak_mb["small"] + 200
    assert clock.peak_mb["total"] == clock.peak_mb["large"]


def test_stages_are_in_the_log_file_and_not_on_the_terminal(tmp_path, caplog):
    handler = logging.FileHandler(tmp_path / "train.log")
    logging.getLogger().addHandler(handler)
    try:
        with Stopwatch()("fit"):
            pass
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert (tmp_path / "train.log").read_text().startswith("fit: 0.0 s, peak memory ")
    assert not caplog.messages


def test_a_terminal_shows_the_innermost_stage(at_once):
    display = Display()
    with StageProgress(display).running(), progress("measure"), progress("fit", 3, "folds") as advance:
        advance()
        display.event.clear()
        assert display.event.wait(20)
    assert ("fit", "folds", 1, 3) in display.shown
    assert display.shown[-1] is None


def test_a_quick_stage_is_not_shown():
    display = Display()
    with StageProgress(display).running(), progress("fit", 3, "folds"):
        pass
    assert set(display.shown) == {None}


def test_a_log_says_how_far_a_stage_is_and_what_is_left(at_once, caplog):
    logged = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record):
            if "2 of 4" in record.getMessage():
                logged.set()

    logging.getLogger().addHandler(handler := Seen())
    caplog.set_level(logging.INFO)
    try:
        with StageProgress(None).running(), progress("fit", 4, "folds") as advance:
            advance()
            advance()
            assert logged.wait(20)
    finally:
        logging.getLogger().removeHandler(handler)
    assert any(re.fullmatch(r"fit: 2 of 4 folds after \d+ s, about \d+ s left", line) for line in caplog.messages)


def test_steps_may_end_in_any_thread(at_once):
    display = Display()
    with StageProgress(display).running(), progress("fit", 8, "folds") as advance:
        threads = [threading.Thread(target=advance) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        display.event.clear()
        assert display.event.wait(20)
    assert ("fit", "folds", 8, 8) in display.shown


def test_the_thread_ends_with_a_run_that_fails():
    before = threading.active_count()
    with pytest.raises(ValueError, match="no fold"), StageProgress(None).running(), progress("fit"):
        raise ValueError("no fold")
    assert threading.active_count() == before
