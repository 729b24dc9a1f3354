"""Write a run directory: each file atomically, the manifest last."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys.errors import RunError
from mlsys.runs.files import MANIFEST, FileEntry, checked_name, digest_file, run_files, sync_folder, write_atomic
from mlsys.runs.json_format import json_text
from mlsys.runs.manifest import Manifest, Status, new_manifest

if TYPE_CHECKING:
    import pandas as pd

MARKER = ".writing"


def check_free(folder: Path) -> None:
    """Check that a new run can be written to a folder; even a line of log would damage a finished run.

    Raises
    ------
    RunError
        If the folder already has a run, or another process is writing to it or was killed while doing so.
    """
    check_finished(folder)
    if (folder / MARKER).exists():
        raise _taken(folder)


def check_finished(folder: Path) -> None:
    """Check that a folder has no finished run.

    Raises
    ------
    RunError
        If it has one.
    """
    if (folder / MANIFEST).exists():
        raise RunError(
            f"{folder} already has a run, which is never overwritten. "
            "Choose another folder (hydra.run.dir=…), or delete this one."
        )


def _taken(folder: Path) -> RunError:
    return RunError(
        f"Another run is writing to {folder}, or was killed while writing ({MARKER} exists). "
        "Choose another folder (hydra.run.dir=…), or delete this one if no process is writing to it."
    )


class RunWriter:
    """Write the files of one run, then its manifest.

    A directory is written once, by one process. The hidden file ``.writing`` claims it from the start, and is left
    behind if the process is killed; such a directory has no manifest, is listed as incomplete, and is never written
    again, so that the files of two runs are never mixed.

    Parameters
    ----------
    folder : Path or str
        Run directory; created if necessary. Existing files, such as Hydra's log, become part of the run.
    sync : bool, default True
        Whether to flush files to disk, so that a finished run survives a power failure.

    Raises
    ------
    RunError
        If the folder already has a run, or another process is writing to it or was killed while doing so.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> writer = RunWriter(folder.name)
    >>> _ = writer.write_json("metrics.json", {"overall": {}})
    >>> list(writer.finish(seed=1, threads=1).files)
    ['metrics.json']
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path | str, *, sync: bool = True) -> None:
        self.folder = Path(folder).resolve()
        self._sync = sync
        self._finished = False
        self._synced: set[str] = set()
        with self._writing(MARKER):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim()

    def path(self, name: str) -> Path:
        """Return the path for a file that the caller writes; creates its folder.

        Parameters
        ----------
        name : str
            Path relative to the run directory, separated by ``/``.

        Raises
        ------
        RunError
            If the path is outside the directory or hidden, or the run is finished.
        """
        if self._finished:
            raise RunError(f"{self.folder} is finished, so {name} cannot be added: write it before finish().")
        path = self.folder / checked_name(name)
        with self._writing(name):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._synced.discard(name)
        return path

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file and return its path."""
        path = self.path(name)
        with self._writing(name):
            write_atomic(path, data, sync=self._sync)
        self._synced.add(name)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a file as UTF-8 and return its path."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: object) -> Path:
        """Write ``value`` as JSON (see `json_text`) and return its path.

        Raises
        ------
        RunError
            If there is a NaN, an infinity or a value that JSON cannot represent.
        """
        return self.write_text(name, json_text(value, name))

    def write_parquet(self, name: str, frame: pd.DataFrame) -> Path:
        """Write a table as Parquet without its index, deterministically, and return the path."""
        buffer = io.BytesIO()
        plain = frame.reset_index(drop=True)
        plain.attrs = {}  # pandas would store them in the file
        plain.to_parquet(buffer, index=False, engine="pyarrow", compression="zstd")
        return self.write_bytes(name, buffer.getvalue())

    def finish(
        self,
        *,
        seed: int,
        threads: int,
        status: Status = "complete",
        data_fingerprint: str | None = None,
        timing: Mapping[str, float] | None = None,
        peak_mb: Mapping[str, int] | None = None,
        negatives: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Write manifest.json with the digest of every file; the directory must not change afterwards.

        Parameters
        ----------
        seed, threads : int
            Values from the config.
        status : {"complete", "trial", "pruned", "failed"}
            Status of the run.
        data_fingerprint : str, optional
            Digest of the raw tables.
        timing : mapping of str to float, optional
            Seconds per stage.
        peak_mb : mapping of str to int, optional
            Peak memory per stage, in MB.
        negatives : mapping, optional
            The sample of the negatives; see `Manifest`.

        Returns
        -------
        Manifest

        Raises
        ------
        RunError
            If the run is finished already, the directory has a link, or the disk is full.

        Notes
        -----
        Close the handler of train.log first: a line logged later would make the log differ from its digest.
        """
        if self._finished:
            raise RunError(f"{self.folder} is finished already: finish() is called once.")
        manifest = new_manifest(
            status=status,
            seed=seed,
            threads=threads,
            data_fingerprint=data_fingerprint,
            timing=timing or {},
            peak_mb=peak_mb,
            negatives=negatives,
            files=self._digests(),
        )
        with self._writing(MANIFEST):
            write_atomic(self.folder / MANIFEST, manifest.to_text().encode(), sync=self._sync)
            if self._sync:
                sync_folder(self.folder)
            self._finished = True
            (self.folder / MARKER).unlink(missing_ok=True)
        return manifest

    def _claim(self) -> None:
        """Create the marker, which only one process can; then check that there is no manifest."""
        check_free(self.folder)
        try:
            descriptor = os.open(self.folder / MARKER, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError as error:
            raise _taken(self.folder) from error
        os.close(descriptor)
        try:
            check_finished(self.folder)
        except RunError:
            (self.folder / MARKER).unlink()
            raise

    def _digests(self) -> dict[str, FileEntry]:
        digests = {}
        for name in run_files(self.folder):
            with self._writing(name):
                digests[name] = digest_file(self.folder / name, sync=self._sync and name not in self._synced)
        if self._sync:
            with self._writing(MANIFEST):  # directory entries must be on disk before the manifest
                for folder in {(self.folder / name).parent for name in digests}:
                    sync_folder(folder)
        return digests

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"Could not write {name} in {self.folder}: {error.strerror or error}. The directory is incomplete "
                f"(no {MANIFEST}). Fix the cause, for example by freeing disk space, then delete it and run again."
            ) from error
