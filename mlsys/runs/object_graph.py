"""The objects that a fitted model is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LEAVES = (str, bytes, bytearray, int, float, complex, type(None), type)


def walk_objects(model: object) -> Iterator[Any]:
    """Yield ``model`` and every object below it, each once, an owner before what it holds.

    Goes through attributes, mappings, lists, tuples, sets and object arrays; numbers and text are not yielded.

    Examples
    --------
    >>> [type(part).__name__ for part in parts({"steps": [("a", 1)]})]
    ['dict', 'list', 'tuple']
    """
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, LEAVES) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(_held(part))


def _held(part: object) -> Iterator[Any]:
    if isinstance(part, dict):
        yield from part.values()
    elif isinstance(part, list | tuple | set):
        yield from part
    elif getattr(getattr(part, "dtype", None), "hasobject", False):
        yield from getattr(part, "flat", ())
    yield from getattr(part, "__dict__", {}).values()
