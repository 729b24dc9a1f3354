"""Nothing that a tracker does costs a run more than the time it is given."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlsys.runs.writer import RunWriter
from mlsys.tracking import MultiTracker, client
from mlsys.tracking.client import settle, tracked
from mlsys.tracking.receipts import NOTES, receipts_of
from tests.tracking.toys import Toy, pages
from tests.waiting import HANG, wait_until


def one_run(tracker, folder, *, begins=""):
    """Do a run of no work, and wait for what becomes of it in its tracker; it lasts until a diary ``begins``."""
    writer = RunWriter(folder)
    writer.write_text("config.yaml", "seed: 1\n")
    with tracked(tracker, folder):
        writer.finish(seed=1, threads=1, status="complete")
        if begins:
            wait_until(Path(begins).exists, "the tracker was told of the start")
    settle()


def test_a_run_is_fed_from_its_directory(tmp_path, capfd):
    one_run(Toy("diary"), tmp_path / "outputs" / "a")
    told = pages("diary")
    assert told[0] == ["start", "outputs/a", "train", None]
    assert [page[0] for page in told] == [
        "start", "log_config", "log_labels", "log_metrics", "log_figures", "log_tables", "log_curves",
        "log_files", "finish",
    ]  # fmt: skip
    assert told[-1] == ["finish", "complete"]
    assert capfd.readouterr().err == "toy: the diary\n"
    assert receipts_of(tmp_path / "outputs" / "a")["toy"].where == "the diary"


@pytest.mark.parametrize("vice", ["sleep", "hold", "die", "raise"])
@pytest.mark.parametrize("moment", ["start", "finish"])
def test_a_tracker_that_misbehaves_costs_its_time_and_one_line(tmp_path, capfd, vice, moment):
    patience = 2 if vice in ("sleep", "hold") else HANG  # a toy hangs for longer, and then would answer
    one_run(Toy("diary", vice, moment, finish_timeout=patience), tmp_path / "a", begins="diary")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not sent" in lines[0]
    assert "mlsys track a --to toy" in lines[0]
    assert receipts_of(tmp_path / "a")["toy"].state == "failed"
    expected = {"sleep": "no answer", "hold": "no answer", "die": "died: out of luck", "raise": "no such server"}
    assert expected[vice] in receipts_of(tmp_path / "a")["toy"].reason


def test_after_a_hang_nothing_is_awaited_again(tmp_path):
    toy = Toy("diary", "sleep", finish_timeout=2)
    one_run(toy, tmp_path / "a", begins="diary")
    one_run(toy, tmp_path / "b")
    assert receipts_of(tmp_path / "b")["toy"].reason == "no answer within 2 s"
    assert [page[0] for page in pages("diary")].count("start") == 1


def test_one_tracker_that_fails_costs_the_other_nothing(tmp_path, capfd):
    one_run(MultiTracker(bad=Toy("bad", "die"), good=Toy("good")), tmp_path / "a")
    assert pages("good")[-1] == ["finish", "complete"]


def test_a_run_that_raises_is_shown_as_it_ended(tmp_path):
    writer = RunWriter(tmp_path / "a")
    writer.write_text("config.yaml", "seed: 1\n")

    def run():
        with tracked(Toy("diary"), tmp_path / "a"):
            writer.finish(seed=1, threads=1, status="failed")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run()
    settle()
    assert pages("diary")[-1] == ["finish", "failed"]


def test_the_processes_runs_share_one_tracker(tmp_path):
    toy = Toy("diary")
    for name in "abc":
        one_run(toy, tmp_path / name)
    assert [page[1] for page in pages("diary") if page[0] == "start"] == [f"{tmp_path.name}/{name}" for name in "abc"]
    assert len(client._followers) == 1


def test_no_tracking_at_all_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSYS_NO_TRACKING", "1")
    one_run(Toy("diary"), tmp_path / "a")
    assert not Path("diary").exists()
    assert not (tmp_path / "a" / NOTES).exists()


LONG_RUN = """
    import signal, sys, time
    from pathlib import Path
    from mlsys.runs.writer import RunWriter
    from mlsys.tracking.client import followed
    from tests.tracking.toys import Toy

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
    writer = RunWriter("a")
    writer.write_text("config.yaml", "seed: 1")
    with followed(Toy("diary"), Path("a").absolute()):
        print("running", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_is_shown_as_killed(tmp_path, number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LONG_RUN)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    diary = Path("diary")
    wait_until(lambda: diary.exists() and "log_config" in diary.read_text(), "the tracker has the config")
    os.killpg(process.pid, number)
    process.communicate(timeout=HANG)
    wait_until(lambda: '"finish"' in diary.read_text(), "the tracker was told of the end")
    assert pages("diary")[-1] == ["finish", "killed"]
