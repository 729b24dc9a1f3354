"""Write values as JSON: deterministic, and without NaN, which other programs cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from mlsys.errors import RunError

Json: TypeAlias = Any  # what json.loads and yaml.load return: mappings, lists, text, numbers, booleans, None


def json_text(value: object, name: str) -> str:
    """Return ``value`` as indented JSON, with keys in their original order and floats in their shortest exact form.

    Parameters
    ----------
    value : object
        Mappings with text keys, lists, tuples, text, numbers (NumPy scalars too), booleans, None.
    name : str
        File name shown in errors.

    Raises
    ------
    RunError
        If there is a NaN, an infinity or a value that JSON cannot represent; lists all of them.

    Examples
    --------
    >>> print(json_text({"roc_auc": 0.9}, "metrics.json"), end="")
    {
      "roc_auc": 0.9
    }
    """
    problems: list[str] = []
    plain = _plain(value, "$", problems)
    if problems:
        raise RunError(
            f"{name} cannot be written as JSON:\n  "
            + "\n  ".join(problems)
            + "\nUse finite numbers, text, booleans, lists and mappings, and None for missing values."
        )
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object, where: str, problems: list[str]) -> Json:
    """Return ``value`` in built-in types; append problems to ``problems``."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            problems.append(f"{where} is {float(value)!r}")
        return float(value)
    if isinstance(value, Mapping):
        problems.extend(f"{where} has the key {key!r}, which is not text" for key in value if not isinstance(key, str))
        return {key: _plain(item, f"{where}.{key}", problems) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", problems) for index, item in enumerate(value)]
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:  # a NumPy scalar, without importing NumPy
        return _plain(item(), where, problems)
    problems.append(f"{where} is a {type(value).__module__}.{type(value).__qualname__}")
    return None
