"""Log a run's model for MLflow to serve: files of the run directory and their reader, no pickle, no training code."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlsys
from mlsys.runs import Run, pyfunc
from mlsys.runs.manifest import package_versions
from mlsys.runs.model_io import MODEL_FILE, libraries
from mlsys.runs.model_outputs import more_names

NAME = "model"
TYPES = {"float64": "double", "string": "string"}


def log_model(run_id: str, folder: Path, registered: str | None) -> None:
    """Log the model of a run directory to an MLflow run, and register it if a name is given."""
    import mlflow

    run = Run.open(folder, verify=False)
    with tempfile.TemporaryDirectory(prefix="mlsys-model-") as scratch, mlflow.start_run(run_id):
        files, code = Path(scratch, "files"), Path(scratch, mlsys.__name__)
        _copy(run.path, files, pyfunc.FILES)
        _copy(Path(mlsys.__file__).parent, code, pyfunc.CODE)
        mlflow.pyfunc.log_model(
            name=NAME,
            loader_module=pyfunc.__name__,
            data_path=str(files),
            code_paths=[str(code)],
            signature=signature(run),
            pip_requirements=requirements(run),
            registered_model_name=registered,
        )


def signature(run: Run) -> Any:  # noqa: ANN401 - MLflow's ModelSignature
    """Return the signature: all inputs of schema.json are required, and what `RunModel.predict` returns."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs: list[Any] = [
        ColSpec(TYPES[column["dtype"]], column["name"], required=True) for column in run.schema["inputs"]
    ]
    outputs: list[Any] = [ColSpec("double", name) for name in ("score", "probability", *more_names(run.schema))]
    return ModelSignature(Schema(inputs), Schema(outputs))


def requirements(run: Run) -> list[str]:
    """Return the packages needed to predict, pinned to the versions used in training."""
    packages = {*pyfunc.PACKAGES, *libraries(run.read_bytes(MODEL_FILE))}
    versions = {**package_versions(tuple(packages)), **run.manifest.packages}
    return [f"{name}=={versions[name]}" for name in sorted(packages)]


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source / name, path)
