"""Read a registry in a folder; needs only the standard library, so that serving can follow an alias.

::

    registry/NAME/history.jsonl         source of truth for versions and aliases
    registry/NAME/versions/VERSION/     immutable copy of the run directory
    registry/NAME/.lock                 held by the command that is writing
    registry/NAME/.adding-VERSION/      copy in progress
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
        Alias that resolved to the version; None if the reference names a version.
    run : Path
        Absolute path of its immutable run directory.
    origin : Path
        Run directory that it was copied from.
    """

    name: str
    version: str
    alias: str | None
    run: Path
    origin: Path


def resolve(reference: str, root: Path = DEFAULT) -> Resolved:
    """Return the version that a reference points to now.

    Parameters
    ----------
    reference : str
        ``registry:NAME@VERSION`` or ``registry:NAME@ALIAS``; ``registry:NAME`` means the champion.
    root : Path
        Folder of the registry.

    Returns
    -------
    Resolved
        Only the manifest was compared with the registered one; compare the other files with the manifest when reading.

    Raises
    ------
    RegistryError
        If the model, version or alias is not found or damaged.
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
        If the model is not found or its history is damaged.
    """
    check_name(name)
    entries = read_entries(name, root)
    if not entries:
        raise RegistryError(model_not_found(name, model_names(root), str(root)))
    return state_of(name, entries)


def read_entries(name: str, root: Path) -> list[Entry]:
    """Return the history of a model; empty if the model is not found."""
    path = root / name / HISTORY
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        data = b""
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data and _has_versions(root / name):
        raise RegistryError(
            f"{path} is missing or empty although versions exist: restore it from a backup. Nothing was changed."
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
    """Return the run directory of a version."""
    return root / name / VERSIONS / version


def check_manifest(state: State, version: str, root: Path) -> Path:
    """Return the run directory of a version after comparing its manifest with the registered one.

    Raises
    ------
    RegistryError
        If the directory is missing or reached through a link, or its manifest differs.
    """
    folder = version_folder(state.name, version, root)
    for path in (root / state.name, folder.parent, folder, folder / MANIFEST):
        if path.is_symlink():
            raise RegistryError(
                f"{path} is a symbolic link, whose target could change: replace it with a copy of the target."
            )
    try:
        digest = manifest_digest(folder)
    except FileNotFoundError as error:
        raise RegistryError(
            f"{state.name} {version} not found in {folder}: it is damaged, or its `mlsys registry add` did not finish. "
            f"Run `mlsys registry verify {state.name}`."
        ) from error
    except OSError as error:
        raise RegistryError(f"{folder / MANIFEST} cannot be read: {error.strerror or error}.") from error
    if digest != state.added[version].details.get("manifest"):
        raise RegistryError(
            f"{folder / MANIFEST} differs from the one registered as {state.name} {version}: restore the version from "
            "a backup, or add its run again as a new version."
        )
    return folder.resolve()


def manifest_digest(folder: Path) -> str:
    """Return the digest of a run directory's manifest, which in turn holds the digests of all other files."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def model_not_found(name: str, names: list[str], where: str) -> str:
    """Return the message for a model that is not in the registry, with the models that are."""
    near = closest(name, names)
    available = f"It has {', '.join(names)}" if names else "It is empty"
    return (
        f"Model {name!r} not found in {where}. {available}{f' (closest: {near})' if near else ''}. "
        f"To add it, run `mlsys registry add latest --name {name}`."
    )
