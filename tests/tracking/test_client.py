"""A tracker never costs a run more than its timeout."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlsys.runs.writer import RunWriter
from mlsys.tracking import MultiTracker, client
from mlsys.tracking.client import flush, tracked
from mlsys.tracking.receipts import TRACKING_FILE, read_receipts
from tests.tracking.toys import FakeTracker, read_log
from tests.waiting import HANG, wait_until


def track_run(tracker, folder, *, until=""):
    """Do an empty run and wait for its receipt; the run lasts until the file ``until`` exists."""
    writer = RunWriter(folder)
    writer.write_text("config.yaml", "seed: 1\n")
    with tracked(tracker, folder):
        writer.finish(seed=1, threads=1, status="complete")
        if until:
            wait_until(Path(until).exists, "the tracker was calls of the start")
    flush()


def test_a_run_is_logged_from_its_directory(tmp_path, capfd):
    track_run(FakeTracker("log"), tmp_path / "outputs" / "a")
    calls = read_log("log")
    assert calls[0] == ["start", "outputs/a", "train", None]
    assert [call[0] for call in calls] == [
        "start", "log_config", "log_labels", "log_metrics", "log_figures", "log_tables", "log_curves",
        "log_files", "finish",
    ]  # fmt: skip
    assert calls[-1] == ["finish", "complete"]
    assert capfd.readouterr().err == "fake: the log\n"
    assert read_receipts(tmp_path / "outputs" / "a")["fake"].where == "the log"


@pytest.mark.parametrize("fault", ["sleep", "hold", "die", "raise"])
@pytest.mark.parametrize("phase", ["start", "finish"])
def test_a_failing_tracker_costs_its_timeout_and_one_line(tmp_path, capfd, fault, phase):
    timeout = 2 if fault in ("sleep", "hold") else HANG  # the fake hangs for longer, then answers
    track_run(FakeTracker("log", fault, phase, finish_timeout=timeout), tmp_path / "a", until="log")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not sent" in lines[0]
    assert "mlsys track a --to fake" in lines[0]
    assert read_receipts(tmp_path / "a")["fake"].state == "failed"
    # The pipe may break before the process is known to have died.
    expected = {"sleep": "no answer", "hold": "no answer", "die": ": out of luck", "raise": "no such server"}
    assert expected[fault] in read_receipts(tmp_path / "a")["fake"].reason


def test_after_a_timeout_tracking_stops(tmp_path):
    fake = FakeTracker("log", "sleep", finish_timeout=2)
    track_run(fake, tmp_path / "a", until="log")
    track_run(fake, tmp_path / "b")
    assert read_receipts(tmp_path / "b")["fake"].reason == "no answer within 2 s"
    assert [call[0] for call in read_log("log")].count("start") == 1


def test_a_failing_tracker_does_not_affect_the_others(tmp_path, capfd):
    track_run(MultiTracker(bad=FakeTracker("bad", "die"), good=FakeTracker("good")), tmp_path / "a")
    assert read_log("good")[-1] == ["finish", "complete"]


def test_a_run_that_raises_has_its_status(tmp_path):
    writer = RunWriter(tmp_path / "a")
    writer.write_text("config.yaml", "seed: 1\n")

    def run():
        with tracked(FakeTracker("log"), tmp_path / "a"):
            writer.finish(seed=1, threads=1, status="failed")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run()
    flush()
    assert read_log("log")[-1] == ["finish", "failed"]


def test_all_runs_of_a_process_share_one_tracker(tmp_path):
    fake = FakeTracker("log")
    for name in "abc":
        track_run(fake, tmp_path / name)
    assert [call[1] for call in read_log("log") if call[0] == "start"] == [f"{tmp_path.name}/{name}" for name in "abc"]
    assert len(client._clients) == 1


def test_tracking_can_be_disabled(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSYS_NO_TRACKING", "1")
    track_run(FakeTracker("log"), tmp_path / "a")
    assert not Path("log").exists()
    assert not (tmp_path / "a" / TRACKING_FILE).exists()


LONG_RUN = """
    import signal, sys, time
    from pathlib import Path
    from mlsys.runs.writer import RunWriter
    from mlsys.tracking.client import tracked
    from tests.tracking.toys import FakeTracker

    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored if the tests run in the background
    writer = RunWriter("a")
    writer.write_text("config.yaml", "seed: 1")
    with tracked(FakeTracker("log"), Path("a").absolute()):
        print("running", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_has_the_status_killed(tmp_path, number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LONG_RUN)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    log = Path("log")
    wait_until(lambda: log.exists() and "log_config" in log.read_text(), "the tracker has the config")
    os.killpg(process.pid, number)
    process.communicate(timeout=HANG)
    wait_until(lambda: '"finish"' in log.read_text(), "the tracker was calls of the end")
    assert read_log("log")[-1] == ["finish", "killed"]
