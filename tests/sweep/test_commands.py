"""optuna-dashboard opens the study of a sweep by the command that the sweep prints."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from optuna.trial import TrialState

from mlsys.sweep.commands import dashboard_command
from mlsys.sweep.study import WorkerLock
from tests.waiting import HANG, wait_until


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get_json(url, process):
    """Return a server's JSON response, waiting until it responds."""

    def response():
        try:
            with urllib.request.urlopen(url, timeout=HANG) as body:
                return json.load(body)
        except urllib.error.URLError:
            return None

    return wait_until(response, f"a response from {url}", process=process, pause=0.2)


@pytest.mark.slow
def test_optuna_dashboard_opens_the_study_of_a_running_sweep(open_study):
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.exists():
        pytest.skip("optuna-dashboard is not installed: pip install 'mlsys[dev]'")
    shared = open_study()
    with WorkerLock(shared.folder) as worker:
        for value in (0.5, None, 0.25):
            each = shared.claim(worker.name)
            each.suggest_float("x", 0.0, 1.0)
            shared.study.tell(each, value, TrialState.COMPLETE if value else TrialState.PRUNED)
        shared.claim(worker.name)
        command = shlex.split(dashboard_command(shared.folder))
        port = free_port()
        process = subprocess.Popen(
            [str(program), *command[1:], "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            host = f"http://127.0.0.1:{port}/api/studies"
            (study,) = get_json(host, process)["study_summaries"]
            shown = get_json(f"{host}/{study['study_id']}?after=0", process)["trials"]
        finally:
            process.terminate()
            process.wait()
    assert study["study_name"] == shared.folder.name
    assert [(each["number"], each["state"], each.get("values")) for each in shown] == [
        (0, "Complete", [0.5]), (1, "Pruned", None), (2, "Complete", [0.25]), (3, "Running", None),
    ]  # fmt: skip
