"""Scratch folders end with their use, also if the process is killed."""

import signal
import subprocess
import sys

import pytest

from mlsys.data.scratch import scratch_folder

HOLD = "import sys, time; from pathlib import Path; from mlsys.data.scratch import scratch_folder\n"
HOLD += "with scratch_folder(Path(sys.argv[1])) as f: (f / 'x').touch(); print('held', flush=True); time.sleep(600)"


def test_a_folder_is_removed_at_the_end_also_on_an_error(tmp_path):
    def fail():
        with scratch_folder(tmp_path) as folder:
            (folder / "page").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_killed_processes_are_removed_by_others(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        (held,) = tmp_path.glob("fit-*/")
        with scratch_folder(tmp_path):
            assert (held / "x").exists()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with scratch_folder(tmp_path) as own:
        assert list(tmp_path.glob("fit-*/")) == [own]
    assert list(tmp_path.iterdir()) == []
