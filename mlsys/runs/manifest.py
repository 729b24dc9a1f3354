"""manifest.json: what made a run, and the digest of every file that it left."""

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

# The packages that can change a number in a run.
PACKAGES = (
    "catboost",
    "duckdb",
    "hydra-core",
    "ibis-framework",
    "imbalanced-learn",
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
    """State of the git checkout that a run was started in; None where there is none.

    Attributes
    ----------
    commit : str or None
        Hash of the commit that was checked out.
    dirty : bool or None
        Whether files differed from that commit, untracked ones included.
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
        The mlsys that wrote it.
    created : str
        When the run finished: ISO 8601, UTC, milliseconds. Sorts as text.
    status : {"complete", "trial", "pruned", "failed"}
        How the run ended; "trial" is one of a sweep, with all its numbers and no model. A run that was killed has no
        manifest.
    git : Git
        The working folder's commit.
    python, platform : str
        The interpreter's version, and the machine's description.
    packages : mapping of str to str
        Installed version of every package of `PACKAGES`; those not installed are left out.
    seed, threads : int
        As given in the config.
    data_fingerprint : str or None
        Digest of the raw tables; None if the run failed before it read them.
    timing : mapping of str to float
        Seconds for each stage, and ``predict_ms``: milliseconds that scoring 1,000 rows took.
    files : mapping of str to FileEntry
        Every other file of the run directory, by its path relative to it.
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
    files: Mapping[str, FileEntry]

    @property
    def seconds(self) -> float:
        """Seconds that the run took: its stage "total" if it has one, else the sum of its stages."""
        return self.timing.get("total", sum(self.timing.values()))

    def to_text(self) -> str:
        """Return the text of manifest.json, whose last key is the digest of all before it."""
        return _sealed(asdict(self))

    @classmethod
    def from_text(cls, text: str, where: str) -> Manifest:
        """Read the text of a manifest.json.

        Parameters
        ----------
        text : str
            Its content.
        where : str
            Its path, for errors.

        Raises
        ------
        RunError
            If it is of another format version, or any byte of it was changed.
        """
        damaged = f"{where} was changed or damaged, so nothing in its directory can be trusted: "
        advice = ". Restore it from a copy, or train again."
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
) -> Manifest:
    """Return a manifest of this moment, interpreter, machine and working folder; see `Manifest` for the parameters."""
    if status not in get_args(Status):
        raise RunError(f"A run's status is one of {', '.join(get_args(Status))}, not {status!r}.")
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
        files=dict(files),
    )


@cache  # a search for files that a trial of a sweep need not repeat
def package_versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the installed version of each package, leaving out those that are not installed.

    Examples
    --------
    >>> package_versions(("no-such-package",))
    {}
    """
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path, timeout: float = 5.0) -> Git:
    """Return the commit that ``folder`` is at, or Nones outside git, without git, or past ``timeout`` seconds."""
    command = ["git", "status", "--porcelain=v2", "--branch"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # a training run must not disturb the user's own git
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
    raise ValueError(f"{name} is no JSON")


def _check_format(data: dict[str, Any], where: str) -> None:
    if data["format_version"] != FORMAT_VERSION:
        raise RunError(
            f"{where} has format version {data['format_version']!r}; mlsys {__version__} reads {FORMAT_VERSION}. "
            f"Open it with mlsys {data.get('mlsys_version', 'of its own version')}, or train again with this one."
        )


def _from_dict(data: dict[str, Any], where: str) -> Manifest:
    try:
        fields = {name: data[name] for name in Manifest.__dataclass_fields__}
        fields["git"] = Git(**data["git"])
        fields["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        _check_types(fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{where} lacks what a manifest must have ({error!r}): train again.") from error
    return Manifest(**fields)


def _check_types(fields: Mapping[str, Any]) -> None:
    for name, kind in {"created": str, "seed": int, "threads": int, "packages": dict, "timing": dict}.items():
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is {fields[name]!r}")
    if fields["status"] not in get_args(Status):
        raise TypeError(f"status is {fields['status']!r}")
