"""Silences trial fits, whose failures mlsys reports itself."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, our own about few rows, and what C++ code writes to standard error.

    Examples
    --------
    >>> with quiet():
    ...     warnings.warn("few rows", stacklevel=1)
    """
    package = logging.getLogger("mlsys.pipeline")
    level = package.level
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        package.setLevel(logging.ERROR)
        with open(os.devnull, "wb") as nowhere, warnings.catch_warnings():  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 2)
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        package.setLevel(level)
