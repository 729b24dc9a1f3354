"""The code that is logged with a model for MLflow is complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlsys
from mlsys.runs import pyfunc
from mlsys.runs.trusted import MLSYS


def test_the_logged_code_imports_without_the_rest_of_mlsys(tmp_path):
    source = Path(mlsys.__file__).parent
    for name in pyfunc.CODE:
        target = tmp_path / "mlsys" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (source / name).is_dir() else shutil.copyfile)(source / name, target)
    modules = sorted({kind.rpartition(".")[0] for kind in MLSYS} | {pyfunc.__name__})
    code = f"import mlsys, {', '.join(modules)}; print(mlsys.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(tmp_path / "mlsys" / "__init__.py"), done.stderr
