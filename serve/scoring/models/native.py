"""The C libraries of XGBoost and LightGBM, loaded without their Python packages, which import scikit-learn."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mlsys.errors import RunError

LIBRARIES = {"xgboost": "libxgboost", "lightgbm": "lib_lightgbm"}
SUFFIXES = (".so", ".dylib", ".dll")
FOLDERS = ("lib", "bin", "")


@cache
def shared_library(package: str) -> ctypes.CDLL:
    """Return a package's shared library, loaded.

    Parameters
    ----------
    package : str
        A key of `LIBRARIES`.

    Raises
    ------
    RunError
        If the package is not installed or has no such library.
    """
    spec = find_spec(package)  # without importing the package
    if spec is None or not spec.submodule_search_locations:
        raise RunError(f"The model needs the package {package}, which is not installed: install it.")
    root = Path(next(iter(spec.submodule_search_locations)))
    names = [root / folder / f"{LIBRARIES[package]}{suffix}" for folder in FOLDERS for suffix in SUFFIXES]
    for path in names:
        if path.is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                raise RunError(f"Cannot load {path}: {error}. Reinstall {package}.") from error
    raise RunError(f"Not found: {LIBRARIES[package]} of {package} in {root}. Reinstall {package} from a wheel.")
