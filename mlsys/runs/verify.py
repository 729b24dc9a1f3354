"""Compare a run directory with its manifest."""

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
        If it is missing (the run was killed or is still running), damaged or of another format version.
    """
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            raise RunError(f"{path} is a symbolic link, which a run directory must not have: replace it with a copy.")
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        incomplete = f"is incomplete: no {MANIFEST} (its run was killed, failed while writing or is still running)"
        reason = incomplete if folder.is_dir() else "does not exist"
        raise RunError(f"{folder} {reason}. `mlsys runs` lists complete runs.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore it from a backup, or train again.") from error
    return Manifest.from_text(text, str(path))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a run directory with the manifest.

    Raises
    ------
    RunError
        If files were changed, removed or added; lists all of them.
    """
    problems = changes(folder, manifest)
    if problems:
        raise RunError(_message(folder, problems))


def file_states(folder: Path) -> dict[str, os.stat_result]:
    """Return the size and times of every file of a run directory by name."""
    return {name: os.stat(f"{folder}/{name}") for name in run_files(folder)}  # noqa: PTH116 - for thousands of runs


def changes(folder: Path, manifest: Manifest, states: Mapping[str, os.stat_result] | None = None) -> list[str]:
    """Return the differences between a run directory and its manifest, one line per file.

    Parameters
    ----------
    folder : Path
    manifest : Manifest
    states : mapping, optional
        Result of `file_states`. If given, only files modified after the manifest, which a run writes last, are read;
        for the others only the size is compared. This is fast but misses changes that reset a file's time.
    """
    for name in manifest.files:
        checked_name(name)
    existing = set(run_files(folder)) if states is None else states.keys()
    problems = [f"missing: {name}" for name in manifest.files if name not in existing]
    problems += [f"extra:   {name}" for name in sorted(existing - manifest.files.keys())]
    written = (folder / MANIFEST).stat().st_mtime_ns if states is not None else 0
    for name in sorted(existing & manifest.files.keys()):
        expected = manifest.files[name]
        if states is None or states[name].st_mtime_ns > written:
            change = _change(digest_file(folder / name), expected)
        else:
            size = states[name].st_size
            change = None if size == expected.bytes else _size_change(size, expected)
        problems += [f"changed: {name} ({change})"] if change else []
    return problems


def read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    """Return the content of one file after comparing it with the manifest.

    Raises
    ------
    RunError
        If the file is not in the manifest, is missing or was changed.
    """
    if name not in manifest.files:
        available = ", ".join(manifest.files) or "none"
        raise RunError(f"{folder} has no {name} (its status is {manifest.status}). Files: {available}.")
    path = folder / checked_name(name)
    if any(part.is_symlink() for part in (path, *path.parents) if part != folder and part.is_relative_to(folder)):
        raise RunError(
            f"{path} is reached through a symbolic link, which a run directory must not have: replace it with a copy."
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
    listing = "\n  ".join(problems)
    return (
        f"{folder} was changed after its run finished:\n  {listing}\n"
        f"Restore these files from a backup, or train again; do not edit {MANIFEST}."
    )
