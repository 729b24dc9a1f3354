"""A registry in a folder, as it is read; only the standard library is needed, so that serving can follow an alias.

::

    registry/NAME/history.jsonl         what was done: versions and aliases are what it says
    registry/NAME/versions/VERSION/     a copy of the run directory, never changed
    registry/NAME/.lock                 held by the one command that may write
    registry/NAME/.adding-VERSION/      a copy under way
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mlsys.errors import RegistryError, closest
from mlsys.registry.history import Entry, State, from_lines, state_of
from mlsys.registry.names import NAME, Reference, check_name

HISTORY = "history.jsonl"
VERSIONS = "versions"
MANIFEST = "manifest.json"
DEFAULT = Path("registry")


@dataclass(frozen=True)
class Resolved:
    """A registered version.

    Attributes
    ----------
    name, version : str
    alias : str or None
        By which it was found.
    run : Path
        Its run directory, absolute; never changes.
    origin : Path
        The run directory that it is a copy of.
    """

    name: str
    version: str
    alias: str | None
    run: Path
    origin: Path


def resolve(reference: str, root: Path = DEFAULT) -> Resolved:
    """Return the version that a reference stands for at this moment.

    Parameters
    ----------
    reference : str
        ``registry:NAME@VERSION`` or ``registry:NAME@ALIAS``; ``registry:NAME`` is the champion.
    root : Path
        The registry's folder.

    Returns
    -------
    Resolved
        Its run directory has the manifest that was registered; compare its files with that when you read them.

    Raises
    ------
    RegistryError
        If there is no such model, version or alias, or it is damaged.
    """
    parsed = Reference.parse(reference)
    state = read_state(parsed.name, root)
    version = state.version_of(parsed, state.champion)
    alias = None if parsed.version else parsed.alias or "champion"
    origin = Path(str(state.added[version].details.get("run")))
    return Resolved(parsed.name, version, alias, check_manifest(state, version, root), origin)


def read_state(name: str, root: Path = DEFAULT) -> State:
    """Return the versions and aliases of a model.

    Raises
    ------
    RegistryError
        If there is no such model, or its history is damaged.
    """
    check_name(name)
    entries = read_entries(name, root)
    if not entries:
        raise RegistryError(no_model(name, model_names(root), str(root)))
    return state_of(name, entries)


def read_entries(name: str, root: Path) -> list[Entry]:
    """Return the history of a model; empty where there is no such model."""
    path = root / name / HISTORY
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        data = b""
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data and _has_versions(root / name):
        raise RegistryError(
            f"{path} is missing or empty, although there are versions: restore it from a copy. Nothing was changed."
        )
    return from_lines(data, str(path))


def model_names(root: Path) -> list[str]:
    """Return the names of the models in a registry."""
    if not root.is_dir():
        return []
    named = [entry for entry in root.iterdir() if NAME.fullmatch(entry.name)]
    return sorted(entry.name for entry in named if (entry / HISTORY).exists() or _has_versions(entry))


def _has_versions(model: Path) -> bool:
    return any((model / VERSIONS).glob("*"))


def version_folder(name: str, version: str, root: Path) -> Path:
    """Return where a version is."""
    return root / name / VERSIONS / version


def check_manifest(state: State, version: str, root: Path) -> Path:
    """Return the run directory of a version, once its manifest is the one that was registered.

    Raises
    ------
    RegistryError
        If it is missing, reached through a link, or has another manifest.
    """
    folder = version_folder(state.name, version, root)
    for path in (root / state.name, folder.parent, folder, folder / MANIFEST):
        if path.is_symlink():
            raise RegistryError(
                f"{path} is a symbolic link, which could show other content tomorrow: put a copy there."
            )
    try:
        found = manifest_digest(folder)
    except FileNotFoundError as error:
        raise RegistryError(
            f"{state.name} {version} is not in {folder}: it is damaged, or its `mlsys registry add` did not finish; "
            f"`mlsys registry verify {state.name}` tells."
        ) from error
    except OSError as error:
        raise RegistryError(f"{folder / MANIFEST} cannot be read: {error.strerror or error}.") from error
    if found != state.added[version].details.get("manifest"):
        raise RegistryError(
            f"{folder / MANIFEST} is not the one that was registered as {state.name} {version}: restore the version "
            "from a copy, or add its run again as a new one."
        )
    return folder.resolve()


def manifest_digest(folder: Path) -> str:
    """Return the digest of a run directory's manifest, which holds those of all other files."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def no_model(name: str, names: list[str], where: str) -> str:
    """Say that there is no such model, and what there is."""
    near = closest(name, names)
    have = f"It has {', '.join(names)}" if names else "It is empty"
    return (
        f"There is no model {name!r} in {where}. {have}{f' (closest: {near})' if near else ''}. "
        f"`mlsys registry add latest --name {name}` adds one."
    )
