"""Commands that a sweep prints for the user: how to resume it and how to open its study."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsys.redaction import without_password

DATABASE = "study.db"


def resume_command(folder: Path, arguments: Sequence[str] | None = None) -> str:
    """Return the command line that resumes a sweep.

    Parameters
    ----------
    folder : Path
        The sweep directory.
    arguments : sequence of str, optional
        The command line that started it; by default that of this process.

    Examples
    --------
    >>> resume_command(Path("multirun/a"), ["python", "-m", "mlsys.train", "-m", "search=xgboost"])
    'python -m mlsys.train -m search=xgboost hydra.sweep.dir=multirun/a'
    """
    original = list(sys.orig_argv if arguments is None else arguments)
    kept = [argument for argument in original if not argument.startswith("hydra.sweep.dir=")]
    kept[0] = Path(kept[0]).name
    return shlex.join([*kept, f"hydra.sweep.dir={folder}"])


def study_url(folder: Path, storage: str | None = None) -> str:
    """Return the URL of a study's storage: the configured one, or a file in the sweep directory.

    Examples
    --------
    >>> study_url(Path("/tmp/a"))
    'sqlite:////tmp/a/study.db'
    """
    return storage or f"sqlite:///{folder / DATABASE}"


def dashboard_command(folder: Path, storage: str | None = None) -> str:
    """Return the optuna-dashboard command for a study, without a password: the database driver reads it elsewhere."""
    return shlex.join(["optuna-dashboard", without_password(study_url(folder, storage))])
