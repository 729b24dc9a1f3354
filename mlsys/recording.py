"""Records a run in its directory: opens it, shows its progress, and writes the manifest however the run ends."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf._utils import get_omega_conf_dumper

from mlsys.config import TrainConfig
from mlsys.errors import PrunedError, RunError
from mlsys.evaluation.metric_table import PREDICT_MS
from mlsys.launch import source_of
from mlsys.redaction import without_password
from mlsys.runs.writer import RunWriter
from mlsys.stages import Display, StageProgress, Stopwatch
from mlsys.tracking import MultiTracker, Tracker
from mlsys.tracking.client import tracked

if TYPE_CHECKING:
    from mlsys.data.load import Loaded
    from mlsys.data.reader import Reader


@dataclass
class Record:
    """A run directory being written, with values that only the manifest holds.

    Attributes
    ----------
    writer : RunWriter
    fingerprint : str or None
        Fingerprint of the data, once known.
    predict_ms : float or None
        Milliseconds to score 1,000 rows, once measured.
    negatives : mapping or None
        The sample of the negatives, once known, if there is one.
    """

    writer: RunWriter
    fingerprint: str | None = None
    predict_ms: float | None = None
    negatives: Mapping[str, Any] | None = None

    def read(self, data: Reader) -> Loaded:
        """Load the data, and note what the manifest says of them."""
        loaded = data.load()
        self.fingerprint, self.negatives = loaded.fingerprint, loaded.facts.get("negatives")
        return loaded


@contextmanager
def recorded(
    folder: Path,
    config: TrainConfig,
    overrides: list[dict[str, str]],
    clock: Stopwatch,
    tracker: Tracker | MultiTracker,
) -> Iterator[Record]:
    """Open a run directory, write its config, track the run, and close the directory with a manifest.

    If the run raises, its manifest says ``failed`` (``pruned`` if the sweep pruned it) and its log holds the traceback.
    A run that is killed leaves no manifest.
    """
    # Trials are not synced to disk: after a power failure the study repeats them anyway.
    record = Record(RunWriter(folder, sync=not config.is_trial))
    for handler in _log_files(folder):
        # On a full disk, logging would print a traceback for every line; closing the log reports it once.
        handler.handleError = lambda record: None  # type: ignore[method-assign]  # noqa: ARG005
    record.writer.write_text("config.yaml", config_text(config.to_dict()))
    record.writer.write_text("overrides.yaml", config_text(overrides))
    # A sweep shows its own progress.
    shown = nullcontext() if config.is_trial else StageProgress(_progress_bar()).running()
    with tracked(tracker, record.writer.folder), shown:
        try:
            yield record
        except PrunedError as pruned:
            log_to_file(folder, str(pruned))
            _finish(record, config, clock, "pruned")
            raise
        except Exception as error:
            log_to_file(folder, f"the run failed: {error}", error)
            _finish(record, config, clock, "failed")
            raise
        _finish(record, config, clock, "trial" if config.is_trial else "complete")


def _progress_bar() -> Display | None:
    if not sys.stderr.isatty():
        return None
    from mlsys.terminal import ProgressBar

    return ProgressBar()


def config_text(plain: Mapping[str, Any] | Sequence[Any]) -> str:
    r"""Return plain values as the YAML that OmegaConf would write, without the slow step of creating a config.

    Examples
    --------
    >>> config_text({"name": "1e3", "rate": 1e3})
    "name: '1e3'\nrate: 1000.0\n"
    """
    return yaml.dump(
        plain, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=get_omega_conf_dumper()
    )


def override_sources(overrides: Sequence[str], arguments: Sequence[str]) -> list[dict[str, str]]:
    """Return each override and its source, without passwords, as stored in overrides.yaml.

    Parameters
    ----------
    overrides : sequence of str
        The overrides that Hydra applied.
    arguments : sequence of str
        The command line, including the overrides from the environment.
    """
    return [
        {"override": without_password(override), "source": source_of(override, arguments)} for override in overrides
    ]


def discard_log(folder: Path) -> None:
    """Remove the directory that Hydra created for a run that never started, if it holds only the log."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {"train.log"}:
        _close_log(folder)
        (folder / "train.log").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process may have just created a file there
            folder.rmdir()


def _finish(record: Record, config: TrainConfig, clock: Stopwatch, status: str) -> None:
    _close_log(record.writer.folder)
    cost = {} if record.predict_ms is None else {PREDICT_MS: round(record.predict_ms, 3)}
    record.writer.finish(
        seed=config.seed,
        threads=config.thread_count,
        status=status,  # type: ignore[arg-type]
        data_fingerprint=record.fingerprint,
        timing={**clock.seconds, **cost},
        peak_mb=clock.peak_mb,
        negatives=record.negatives,
    )


def _close_log(folder: Path) -> None:
    """Close the log files in the run directory: the manifest holds the digest of the log."""
    for handler in _log_files(folder):
        logging.getLogger().removeHandler(handler)
        try:
            handler.close()
        except OSError as error:
            raise RunError(
                f"Could not write {handler.baseFilename}: {error.strerror or error}. The run directory is incomplete "
                "and cannot be used. Fix the cause (for example, free some disk space), delete it and run again."
            ) from error


def log_to_file(folder: Path, message: str, error: Exception | None = None) -> None:
    """Log an error with its traceback to the run's log file only; the caller reports it on the terminal."""
    details = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, details)
    for handler in _log_files(folder):
        handler.handle(record)


def _log_files(folder: Path) -> list[logging.FileHandler]:
    files = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    return [handler for handler in files if Path(handler.baseFilename).is_relative_to(folder.resolve())]
