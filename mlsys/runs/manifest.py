"""manifest.json: the environment of a run, and the digest of each of its files."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from mlsys import __version__
from mlsys.errors import RunError
from mlsys.runs.files import FileEntry
from mlsys.runs.json_format import json_text

FORMAT_VERSION = 1
Status = Literal["complete", "trial", "pruned", "failed"]

# Packages that can affect the results of a run.
PACKAGES = (
    "catboost",
    "duckdb",
    "hydra-core",
    "ibis-framework",
    "imbalanced-learn",
    "interpret-core",
    "lightgbm",
    "mlsys",
    "numpy",
    "omegaconf",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "xgboost",
)


@dataclass(frozen=True)
class Git:
    """State of the Git checkout that a run was started in; None outside Git.

    Attributes
    ----------
    commit : str or None
        Hash of the commit.
    dirty : bool or None
        Whether there were uncommitted changes or untracked files.
    """

    commit: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Manifest:
    """Content of manifest.json.

    Attributes
    ----------
    format_version : int
        Version of the run directory's format.
    mlsys_version : str
        Version of mlsys that wrote it.
    created : str
        Time when the run finished: ISO 8601, UTC, milliseconds; sorts as text.
    status : {"complete", "trial", "pruned", "failed"}
        Status of the run; a "trial" of a sweep has metrics but no model. A killed run has no manifest.
    git : Git
        Git state of the working folder.
    python, platform : str
        Version of Python, and description of the machine.
    packages : mapping of str to str
        Versions of the installed packages among `PACKAGES`.
    seed, threads : int
        Values from the config.
    data_fingerprint : str or None
        Digest of the raw tables; None if the run failed before reading them.
    timing : mapping of str to float
        Seconds per stage, and ``predict_ms``: milliseconds to score 1,000 rows.
    peak_mb : mapping of str to int
        Peak memory of the process per stage, in MB; empty where it was not measured.
    files : mapping of str to FileEntry
        All other files of the run directory, by relative path.
    negatives : mapping or None
        The sample of the rows without a conversion: its ``fraction`` and ``seed``, the first as-of that keeps all rows
        (``whole_from``), and the ``rows`` and ``positives`` of the whole table. None if all rows were used.
    """

    format_version: int
    mlsys_version: str
    created: str
    status: Status
    git: Git
    python: str
    platform: str
    packages: Mapping[str, str]
    seed: int
    threads: int
    data_fingerprint: str | None
    timing: Mapping[str, float]
    peak_mb: Mapping[str, int]
    files: Mapping[str, FileEntry]
    negatives: Mapping[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds: the stage "total" if there is one, else the sum of all stages."""
        return self.timing.get("total", sum(self.timing.values()))

    def to_text(self) -> str:
        """Return the text of manifest.json, which ends with a digest of itself."""
        return _sealed({name: value for name, value in asdict(self).items() if name != "negatives" or value})

    @classmethod
    def from_text(cls, text: str, where: str) -> Manifest:
        """Parse the text of manifest.json.

        Parameters
        ----------
        text : str
            Content of the file.
        where : str
            Path shown in errors.

        Raises
        ------
        RunError
            If it has another format version, or any byte of it was changed.
        """
        damaged = f"{where} was changed or damaged, so the run directory cannot be trusted: "
        advice = ". Restore it from a backup, or train again."
        try:
            data = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{damaged}it is not JSON ({error}){advice}") from error
        if not isinstance(data, dict) or "format_version" not in data:
            raise RunError(f"{damaged}it has no format_version{advice}")
        _check_format(data, where)
        if _sealed({key: value for key, value in data.items() if key != "self_sha256"}) != text:
            raise RunError(f"{damaged}its self_sha256 does not match{advice}")
        return _from_dict(data, where)


def new_manifest(
    *,
    status: Status,
    seed: int,
    threads: int,
    data_fingerprint: str | None,
    timing: Mapping[str, float],
    files: Mapping[str, FileEntry],
    peak_mb: Mapping[str, int] | None = None,
    negatives: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return a manifest with the current time and environment; see `Manifest` for the parameters."""
    if status not in get_args(Status):
        raise RunError(f"Unknown status {status!r}; expected one of {', '.join(get_args(Status))}.")
    return Manifest(
        format_version=FORMAT_VERSION,
        mlsys_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        status=status,
        git=git_state(Path.cwd()),
        python=platform.python_version(),
        platform=platform.platform(),
        packages=dict(package_versions()),
        seed=seed,
        threads=threads,
        data_fingerprint=data_fingerprint,
        timing=dict(timing),
        peak_mb=dict(peak_mb or {}),
        files=dict(files),
        negatives=negatives,
    )


@cache  # searches the file system, which the trials of a sweep need not repeat
def package_versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed.

    Examples
    --------
    >>> package_versions(("no-such-package",))
    {}
    """
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path, timeout: float = 5.0) -> Git:
    """Return the Git state of a folder; None for both fields if Git fails or takes over ``timeout`` seconds."""
    command = ["git", "status", "--porcelain=v2", "--branch"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # do not interfere with the user's own Git commands
    try:
        answer = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return Git(None, None)
    lines = answer.stdout.splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), None)
    dirty = any(not line.startswith("#") for line in lines)
    return Git(None if commit == "(initial)" else commit, dirty)


def _sealed(data: dict[str, Any]) -> str:
    digest = hashlib.sha256(json_text(data, "manifest.json").encode()).hexdigest()
    return json_text({**data, "self_sha256": digest}, "manifest.json")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _check_format(data: dict[str, Any], where: str) -> None:
    if data["format_version"] != FORMAT_VERSION:
        raise RunError(
            f"{where} has format version {data['format_version']!r}; mlsys {__version__} reads {FORMAT_VERSION}. "
            f"Open it with mlsys {data.get('mlsys_version', 'of the version that wrote it')}, or train again."
        )


def _from_dict(data: dict[str, Any], where: str) -> Manifest:
    try:
        data = {"peak_mb": {}, "negatives": None} | data  # older runs did not measure it, and most sample nothing
        fields = {name: data[name] for name in Manifest.__dataclass_fields__}
        fields["git"] = Git(**data["git"])
        fields["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        _check_types(fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{where} is not a valid manifest ({error!r}): train again.") from error
    return Manifest(**fields)


def _check_types(fields: Mapping[str, Any]) -> None:
    for name, kind in {
        "created": str,
        "seed": int,
        "threads": int,
        "packages": dict,
        "timing": dict,
        "peak_mb": dict,
    }.items():
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is {fields[name]!r}")
    if fields["status"] not in get_args(Status):
        raise TypeError(f"status is {fields['status']!r}")
