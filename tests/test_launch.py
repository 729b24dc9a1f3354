import subprocess
import sys

import pytest

from mlsys.launch import conf_folder, environment_overrides
from tests.waiting import HANG


def test_environment_names_become_lower_case_keys():
    assert environment_overrides([], {"MLSYS__MODEL__MAX_DEPTH": "3"}) == {
        "model.max_depth=3": "MLSYS__MODEL__MAX_DEPTH"
    }


def test_environment_names_with_lower_case_letters_are_kept():
    assert environment_overrides([], {"MLSYS__model__C": "0.1"}) == {"model.C=0.1": "MLSYS__model__C"}


def test_the_command_line_beats_the_environment():
    environment = {"MLSYS__MODEL": "xgboost", "MLSYS__SEED": "7"}
    assert environment_overrides(["model=catboost", "+x=1"], environment) == {"seed=7": "MLSYS__SEED"}


def test_other_variables_are_ignored():
    assert environment_overrides([], {"MLSYS": "1", "MLSYS_SEED": "2", "HOME": "/"}) == {}


def test_the_config_groups_are_there():
    assert (conf_folder() / "train.yaml").is_file()


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('in words')", 1, "in words\n"),
        ("raise ValueError('odd')", 1, "ValueError: odd\n"),
    ],
)
def test_a_quick_exit_runs_exit_handlers_and_keeps_the_exit_code(end, code, said):
    program = f"""
import atexit, sys
from mlsys.launch import quick_exit
class Late:
    def __del__(self):
        print("tidied up")
late = Late()
late.itself = late
with quick_exit():
    atexit.register(print, "an exit handler")
    print("done", end=", ")
    {end}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=HANG)
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert done.stdout.startswith("done, an exit handler\n")
    assert ("tidied up" in done.stdout) is bool(said)
