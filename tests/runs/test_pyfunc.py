"""What is logged for MLflow suffices to load every model."""

import shutil
import subprocess
import sys
from pathlib import Path

import mlsys
from mlsys.runs import pyfunc
from mlsys.runs.trusted import MLSYS


def test_the_logged_code_can_load_every_type_of_ours(tmp_path):
    package = tmp_path / "mlsys"
    for name in pyfunc.CODE:
        source, target = Path(mlsys.__file__).parent / name, package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    modules = sorted({name.rpartition(".")[0] for name in MLSYS})
    code = f"import {', '.join(modules)}; print(mlsys.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == package
