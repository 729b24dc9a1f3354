"""Resolve a model reference: a run directory, `latest`, or a version or alias in the registry."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlsys.errors import RunError
from mlsys.runs.files import MANIFEST

REGISTRY = "registry:"


@dataclass(frozen=True)
class ResolvedModel:
    """A run that a reference resolved to.

    Attributes
    ----------
    reference : str
        Reference as the user wrote it; it may resolve to another run later.
    name : str
        Registered name, or the short run name of an unregistered run.
    version : str
        Registered version, or the first characters of the manifest's digest for an unregistered run.
    path : str
        Absolute path of the run directory.
    run : str
        Short run name from training: the last two parts of its path.
    """

    reference: str
    name: str
    version: str
    path: str
    run: str

    @property
    def info(self) -> dict[str, str]:
        """Name, version and run, as in responses."""
        return {"name": self.name, "version": self.version, "run": self.run}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        return asdict(self)


def resolve_model(reference: str, registry: Path) -> ResolvedModel:
    """Resolve a reference to the run that it points at now.

    Raises
    ------
    MlsysError
        If it does not exist; the message has the closest match.
    """
    if reference.startswith(REGISTRY):
        from mlsys.registry.folder import resolve

        version = resolve(reference, registry)
        folder = str(Path(version.run).resolve())
        return ResolvedModel(reference, version.name, version.version, folder, _short_name(version.origin))
    from mlsys.runs import find_run

    path = find_run(reference)
    try:
        digest = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path / MANIFEST} cannot be read: {error.strerror}.") from error
    return ResolvedModel(reference, _short_name(path), digest[:12], str(path), _short_name(path))


def _short_name(path: Path) -> str:
    return "/".join(path.parts[-2:])


def shadow_reference(shadow: str, champion: str) -> str:
    """Resolve ``--shadow``: next to a registered model, a plain word is another alias of the same name.

    Examples
    --------
    >>> shadow_reference("challenger", "registry:conversion@champion")
    'registry:conversion@challenger'
    >>> shadow_reference("latest", "outputs/2026-11-20/10-15-00")
    'latest'
    """
    if not champion.startswith(REGISTRY) or shadow.startswith(REGISTRY) or "/" in shadow:
        return shadow
    name = champion.removeprefix(REGISTRY).partition("@")[0]
    return f"{REGISTRY}{name}@{shadow}"
