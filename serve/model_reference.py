"""Which run is meant: a run directory, `latest`, or a version of the registry."""

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
    """A run that can be served.

    Attributes
    ----------
    reference : str
        What the user asked for; asked again, it may lead to another run.
    name : str
        The registered name, or what stands for it.
    version : str
        The registered version; of a plain run directory the start of its manifest's digest.
    path : str
        The run directory, absolute.
    run : str
        What the run was called where it was trained: the last two parts of its path.
    """

    reference: str
    name: str
    version: str
    path: str
    run: str

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def resolve_model(reference: str, registry: Path) -> ResolvedModel:
    """Return the run that a reference leads to now.

    Raises
    ------
    MlsysError
        If there is none; names the nearest.
    """
    if reference.startswith(REGISTRY):
        from mlsys.registry.folder import resolve

        found = resolve(reference, registry)
        return ResolvedModel(reference, found.name, found.version, str(Path(found.run).resolve()), _short(found.origin))
    from mlsys.runs import find_run

    path = find_run(reference)
    try:
        digest = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path / MANIFEST} cannot be read: {error.strerror}.") from error
    return ResolvedModel(reference, _short(path), digest[:12], str(path), _short(path))


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])


def shadow_reference(shadow: str, served: str) -> str:
    """Return what ``--shadow`` refers to: beside a registered model, a plain word is another alias of the same name.

    Examples
    --------
    >>> shadow_reference("challenger", "registry:conversion@champion")
    'registry:conversion@challenger'
    >>> shadow_reference("latest", "outputs/2026-11-20/10-15-00")
    'latest'
    """
    if not served.startswith(REGISTRY) or shadow.startswith(REGISTRY) or "/" in shadow:
        return shadow
    name = served.removeprefix(REGISTRY).partition("@")[0]
    return f"{REGISTRY}{name}@{shadow}"
