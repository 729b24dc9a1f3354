"""Values as JSON text: the same bytes for the same values, and no NaN that other programs cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from mlsys.errors import RunError

Json: TypeAlias = Any  # what json.loads and yaml.load return: mappings, lists, text, numbers, booleans, None


def json_text(value: object, name: str) -> str:
    """Return ``value`` as indented JSON, keys in the order given, floats in their shortest exact form.

    Parameters
    ----------
    value : object
        Mappings with text keys, lists, tuples, text, numbers (NumPy scalars too), booleans, None.
    name : str
        The file that it is for, named in errors.

    Raises
    ------
    RunError
        If it holds NaN, infinity or anything that JSON has no form for; names every such place.

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
            + "\nGive finite numbers, text, booleans, lists and mappings; write None where there is no value."
        )
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object, where: str, problems: list[str]) -> Json:
    """Return ``value`` in Python's own types; append what is wrong with it to ``problems``."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            problems.append(f"{where} is {float(value)!r}")
        return float(value)
    if isinstance(value, Mapping):
        problems.extend(f"{where} has the key {key!r}, which is no text" for key in value if not isinstance(key, str))
        return {key: _plain(item, f"{where}.{key}", problems) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", problems) for index, item in enumerate(value)]
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:  # a NumPy scalar; NumPy itself need not be imported
        return _plain(item(), where, problems)
    problems.append(f"{where} is a {type(value).__module__}.{type(value).__qualname__}")
    return None
