"""Whether a run directory still holds what its manifest says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlsys.errors import RunError
from mlsys.runs.files import MANIFEST, FileEntry, checked_name, digest, digest_file, run_files
from mlsys.runs.manifest import Manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a run directory.

    Raises
    ------
    RunError
        If there is none (the run was killed, or still runs), it was damaged, or is of another format version.
    """
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise RunError(f"{path} is a symbolic link, which a run directory must not hold: put a copy there.")
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        what = f"is incomplete: no {MANIFEST} (its run was killed, failed while writing, or still runs)"
        reason = what if folder.is_dir() else "does not exist"
        raise RunError(f"{folder} {reason}. `mlsys runs` lists the runs that are complete.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore it from a copy, or train again.") from error
    return Manifest.from_text(text, str(path))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a run directory with the manifest.

    Raises
    ------
    RunError
        If files were changed, are missing or were added; names all of them.
    """
    problems = changes(folder, manifest)
    if problems:
        raise RunError(_message(folder, problems))


def file_states(folder: Path) -> dict[str, os.stat_result]:
    """Return size and times of every file that is part of a run directory, by its name."""
    return {name: os.stat(f"{folder}/{name}") for name in run_files(folder)}  # noqa: PTH116 - for thousands of runs


def changes(folder: Path, manifest: Manifest, states: Mapping[str, os.stat_result] | None = None) -> list[str]:
    """Return what differs between a run directory and its manifest, a line for each file.

    Parameters
    ----------
    folder : Path
    manifest : Manifest
    states : mapping, optional
        As `file_states` returned them. Then only files that were touched after the manifest, which a run writes last,
        are read, and of the others the sizes compared: quick, but blind to whoever sets back a file's time.
    """
    for name in manifest.files:
        checked_name(name)
    found = set(run_files(folder)) if states is None else states.keys()
    problems = [f"missing: {name}" for name in manifest.files if name not in found]
    problems += [f"extra:   {name}" for name in sorted(found - manifest.files.keys())]
    written = (folder / MANIFEST).stat().st_mtime_ns if states is not None else 0
    for name in sorted(found & manifest.files.keys()):
        expected = manifest.files[name]
        if states is None or states[name].st_mtime_ns > written:
            change = _change(digest_file(folder / name), expected)
        else:
            size = states[name].st_size
            change = None if size == expected.bytes else _size_change(size, expected)
        problems += [f"changed: {name} ({change})"] if change else []
    return problems


def read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    """Return the content of one file, which is what the manifest says or not returned at all.

    Raises
    ------
    RunError
        If the run has no such file, or the file was changed.
    """
    if name not in manifest.files:
        held = ", ".join(manifest.files) or "nothing"
        raise RunError(f"{folder} has no {name} (its status is {manifest.status}). It holds: {held}.")
    path = folder / checked_name(name)
    if any(part.is_symlink() for part in (path, *path.parents) if part != folder and part.is_relative_to(folder)):
        raise RunError(
            f"{path} is reached through a symbolic link, which a run directory must not hold: put a copy there."
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(_message(folder, [f"missing: {name}"])) from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    if change := _change(digest(data), manifest.files[name]):
        raise RunError(_message(folder, [f"changed: {name} ({change})"]))
    return data


def _change(got: FileEntry, expected: FileEntry) -> str | None:
    if got == expected:
        return None
    if got.bytes != expected.bytes:
        return _size_change(got.bytes, expected)
    return f"sha256 {got.sha256[:12]}… instead of {expected.sha256[:12]}…"


def _size_change(size: int, expected: FileEntry) -> str:
    return f"{size} bytes instead of {expected.bytes}"


def _message(folder: Path, problems: list[str]) -> str:
    found = "\n  ".join(problems)
    return (
        f"{folder} is not as its run left it:\n  {found}\n"
        f"Restore these files from a copy, or train again; do not edit {MANIFEST}."
    )
