"""Serve a run directory over HTTP.

Examples
--------
python -m serve latest
python -m serve registry:conversion@champion --follow --workers 2
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from mlsys.errors import MlsysError
from serve.errors import ServeError
from serve.settings import Settings, settings_from

# One thread computes in each process: more of them wait for each other, and for those of other processes.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run the command line; exit codes: 0 stopped as asked, 1 it cannot serve that model, 2 wrong usage."""
    try:
        settings = settings_from(sys.argv[1:], os.environ)
    except ServeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="mlsys-serve-") as folder:
            return _serve(settings, Path(folder))
    except MlsysError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(settings: Settings, folder: Path) -> int:
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    metrics = folder / "metrics"
    metrics.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)  # before prometheus_client is imported
    from serve.http.auth import read_keys
    from serve.processes.alias_watcher import find_models
    from serve.shared_state import SharedState

    keys = read_keys(Path(settings.keys)) if settings.keys else ()
    models = find_models(settings)
    from serve.processes.supervisor import (
        supervise,  # the rest of the service: a wrong reference is said before it is imported
    )

    return supervise(settings, SharedState(folder), models, keys)


if __name__ == "__main__":
    sys.exit(main())
