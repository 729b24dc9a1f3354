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
from serve.settings import Settings, parse_settings

# Each process computes in one thread: more threads would contend with each other and with those of other processes.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run the command line and return its exit code: 0 stopped on request, 1 cannot serve that model, 2 usage error."""
    try:
        settings = parse_settings(sys.argv[1:], os.environ)
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
    from serve.processes.alias_watcher import resolve_models
    from serve.shared_state import SharedState

    keys = read_keys(Path(settings.keys)) if settings.keys else ()
    models = resolve_models(settings)
    # Imported last, so that a wrong reference is reported before the rest of the service is loaded.
    from serve.processes.supervisor import supervise

    return supervise(settings, SharedState(folder), models, keys)


if __name__ == "__main__":
    sys.exit(main())
