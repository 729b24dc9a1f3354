"""The commands that a sweep's reader types next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsys.redaction import without_password

DATABASE = "study.db"


def resume_command(folder: Path, arguments: Sequence[str] | None = None) -> str:
    """Return the command line that goes on with a sweep.

    Examples
    --------
    >>> resume_command(Path("multirun/a"), ["python", "-m", "mlsys.train", "-m", "search=xgboost"])
    'python -m mlsys.train -m search=xgboost hydra.sweep.dir=multirun/a'
    """
    words = list(sys.orig_argv if arguments is None else arguments)
    kept = [word for word in words if not word.startswith("hydra.sweep.dir=")]
    kept[0] = Path(kept[0]).name
    return shlex.join([*kept, f"hydra.sweep.dir={folder}"])


def study_url(folder: Path, storage: str | None = None) -> str:
    """Return where a study is kept, as Optuna takes it.

    Examples
    --------
    >>> study_url(Path("/tmp/a"))
    'sqlite:////tmp/a/study.db'
    """
    return storage or f"sqlite:///{folder / DATABASE}"


def dashboard_command(folder: Path, storage: str | None = None) -> str:
    """Return the command that shows a study in a browser; a password is left to the database's driver."""
    return shlex.join(["optuna-dashboard", without_password(study_url(folder, storage))])
