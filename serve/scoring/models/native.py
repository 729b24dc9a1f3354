"""The C libraries that models were trained with, called without their Python packages, which import scikit-learn."""

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
        If the package is not installed, or holds no such library.
    """
    spec = find_spec(package)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise RunError(f"The model needs the library {package}, which is not installed: install it.")
    root = Path(next(iter(spec.submodule_search_locations)))
    names = [root / folder / f"{LIBRARIES[package]}{suffix}" for folder in FOLDERS for suffix in SUFFIXES]
    for path in names:
        if path.is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                raise RunError(f"{path} cannot be loaded: {error}. Install {package} again.") from error
    raise RunError(f"{package} in {root} holds no {LIBRARIES[package]}: install it again, from a wheel.")
