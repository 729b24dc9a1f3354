"""Read a run directory; every file is compared with its digest."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys.errors import RunError, closest
from mlsys.runs.discover import run_folders
from mlsys.runs.files import MANIFEST
from mlsys.runs.json_format import Json
from mlsys.runs.manifest import Manifest, package_versions
from mlsys.runs.verify import read_manifest, read_verified, verify_files
from mlsys.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from mlsys.runs.calibration import Calibration
    from mlsys.runs.model_io import Classifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A finished run; files are read on demand and compared with their digest each time.

    Open one with `Run.open`.

    Attributes
    ----------
    path : Path
        Absolute path of the run directory.
    manifest : Manifest
        Environment, status and files of the run.
    any_version : bool
        Whether to load the model even if its libraries have other versions than in training; check its golden rows to
        see whether that matters.
    """

    path: Path
    manifest: Manifest
    any_version: bool = False

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True, any_version: bool = False) -> Run:
        """Open a run directory.

        Parameters
        ----------
        path : Path or str
            Run directory, or a link to one (such as a sweep's ``best``).
        verify : bool
            Whether to compare all files with their digests now, rather than each file when it is read.
        any_version : bool
            See the class.

        Raises
        ------
        RunError
            If the directory is incomplete, has another format version, or was changed after the run finished.
        """
        folder = Path(path).resolve()
        manifest = read_manifest(folder)
        if verify:
            verify_files(folder, manifest)
        return cls(folder, manifest, any_version)

    @property
    def name(self) -> str:
        """Last two parts of the path, such as ``2026-11-20/10-15-00`` or ``SWEEP/3``."""
        return "/".join(self.path.parts[-2:])

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file of the run.

        Raises
        ------
        RunError
            If the run has no such file, or the file was changed.
        """
        return read_verified(self.path, name, self.manifest)

    def read_json(self, name: str) -> Json:
        """Return the content of a JSON file of the run."""
        return json.loads(self.read_bytes(name))

    def read_yaml(self, name: str) -> Json:
        """Return the content of a YAML file of the run."""
        return yaml_value(self.read_bytes(name))

    def read_parquet(self, name: str) -> pd.DataFrame:
        """Return the table in a Parquet file of the run."""
        import pandas as pd  # takes half a second, and most commands do not need it

        return pd.read_parquet(io.BytesIO(self.read_bytes(name)), engine="pyarrow")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config (config.yaml)."""
        return dict(self.read_yaml("config.yaml") or {})

    @cached_property
    def overrides(self) -> Json:
        """Overrides and where they came from (overrides.yaml)."""
        return self.read_yaml("overrides.yaml")

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Inputs of the model, and the names of entity, as-of and target (schema.json)."""
        return dict(self.read_json("schema.json"))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Metrics with intervals and baselines (metrics.json)."""
        return dict(self.read_json("metrics.json"))

    @cached_property
    def audit(self) -> dict[str, Any]:
        """The leakage audit (audit.json)."""
        return dict(self.read_json("audit.json"))

    @cached_property
    def threshold(self) -> dict[str, Any]:
        """The operating threshold and how it was chosen (threshold.json)."""
        return dict(self.read_json("threshold.json"))

    @cached_property
    def reference(self) -> dict[str, Any]:
        """Feature distributions to compare later data with (reference.json)."""
        return dict(self.read_json("reference.json"))

    @cached_property
    def card(self) -> str:
        """The model card, in Markdown (card.md)."""
        return self.read_bytes("card.md").decode()

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions: id, as_of, fold, label, label_complete, score, probability (predictions.parquet)."""
        return self.read_parquet("predictions.parquet")

    @cached_property
    def folds(self) -> pd.DataFrame:
        """Metrics of each fold (folds.parquet)."""
        return self.read_parquet("folds.parquet")

    @cached_property
    def golden(self) -> pd.DataFrame:
        """Input rows with the score and probability computed in training (golden.parquet)."""
        return self.read_parquet("golden.parquet")

    @cached_property
    def calibration(self) -> Calibration:
        """The map from the pipeline's scores to probabilities (model/calibration.json)."""
        from mlsys.runs.calibration import Calibration  # needs NumPy

        return Calibration.from_dict(self.read_json("model/calibration.json"))

    @cached_property
    def model(self) -> Classifier:
        """The fitted scikit-learn Pipeline (model/pipeline.skops).

        Raises
        ------
        RunError
            See `model_bytes`; also if the file has untrusted types.
        """
        from mlsys.runs import model_io  # its functions import scikit-learn

        return model_io.model_from_bytes(self.model_bytes(), str(self.path / model_io.MODEL_FILE))

    def model_bytes(self, *, without: Collection[str] = ()) -> bytes:
        """Return the content of model/pipeline.skops after checking the versions of its libraries.

        Parameters
        ----------
        without : collection of str
            Packages that the caller does not need in order to predict.

        Raises
        ------
        RunError
            If the run has no model or one of its libraries is missing; also if the major or minor version of a library
            differs from that in training and `any_version` is False. A different patch version is logged as a warning.
        """
        from mlsys.runs import model_io

        if self.manifest.status in ("trial", "pruned"):
            raise RunError(
                f"{self.path} is a {self.manifest.status} run of a sweep, which has no model: use the sweep's best run "
                "(SWEEP/best), or train with this run's config."
            )
        data = self.read_bytes(model_io.MODEL_FILE)
        _check_versions(self, tuple(name for name in model_io.libraries(data) if name not in without))
        return data


def find_run(name: str | Path, root: Path = Path()) -> Path:
    """Return the run directory that a user names.

    Parameters
    ----------
    name : str or Path
        ``latest`` (the complete run that finished last), or the path of a run directory: absolute, or relative to
        ``root``, ``root/outputs`` or ``root/multirun``.
    root : Path
        Working folder.

    Returns
    -------
    Path
        Directory with a manifest, with symbolic links resolved.

    Raises
    ------
    RunError
        If the run is not found or incomplete, or the folder has several runs; gives the closest match.
    """
    if str(name) == "latest":
        return _latest(root)
    folders = [base / name for base in (root, root / "outputs", root / "multirun")]
    for folder in folders:
        if (folder / MANIFEST).is_file():
            return folder.resolve()
    for folder in folders:
        if folder.is_dir():
            raise RunError(_no_run_in(folder))
    names = [str(folder.relative_to(root)) for folder in run_folders(root)]
    raise RunError(
        f"Run {str(name)!r} not found below {root.resolve()}{_closest_hint(str(name), names)}. "
        "Give the path of a run directory, or `latest`; `mlsys runs` lists runs."
    )


def _latest(root: Path) -> Path:
    complete: dict[Path, str] = {}
    for folder in run_folders(root):
        try:
            manifest = read_manifest(folder)
        except RunError as error:  # one run with an old format, or killed, must not hide the others
            logger.warning("skipped while looking for the latest run: %s", error)
            continue
        if manifest.status == "complete":
            complete[folder] = manifest.created
    if not complete:
        raise RunError(
            f"No complete run found below {root.resolve()}: train one (python -m mlsys.train), or give the path of a "
            "run directory. `mlsys runs` lists incomplete and failed runs too."
        )
    return max(complete, key=lambda folder: complete[folder]).resolve()


def _no_run_in(folder: Path) -> str:
    runs = [run for run in run_folders(folder) if run != folder]
    if runs:
        return f"{folder} is not a run but has {counted(len(runs), 'run')} in it: name one, such as {runs[0]}."
    return f"{folder} is not a complete run: it has no {MANIFEST}. `mlsys runs` lists complete runs."


def _closest_hint(name: str, names: list[str]) -> str:
    by_end = {"/".join(Path(each).parts[-2:]): each for each in names}
    near = closest(name, names) or by_end.get(closest(name, by_end) or "")
    return f" (closest: {near})" if near else ""


def yaml_value(data: bytes) -> Json:
    """Parse YAML into built-in types.

    Examples
    --------
    >>> yaml_value(b"choices: {model: catboost}")
    {'choices': {'model': 'catboost'}}
    """
    import yaml  # takes 50 ms, and commands that read no config do not need it

    try:
        return yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise RunError(f"Invalid YAML: {error}.") from error


def _check_versions(run: Run, packages: tuple[str, ...]) -> None:
    trained, installed = run.manifest.packages, package_versions(packages)
    missing = [name for name in packages if name not in installed]
    patch = [name for name in packages if name in installed and installed[name] != trained.get(name, installed[name])]
    other = [name for name in patch if _minor(installed[name]) != _minor(trained[name])]
    versions = {
        name: f"{name} {installed.get(name, 'missing')} (trained with {trained.get(name, '?')})" for name in packages
    }
    if missing or (other and not run.any_version):
        requirements = " ".join(f"'{name}=={trained[name]}'" for name in missing + other if name in trained)
        raise RunError(
            f"The model of {run.path} needs other versions: {', '.join(versions[name] for name in missing + other)}. "
            f"Install them (pip install {requirements}), train again, or open the run with any_version=True and check "
            "its golden rows to see whether the difference matters."
        )
    for name in patch:
        logger.warning("%s: the model was saved with another version of %s", run.path, versions[name])


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
