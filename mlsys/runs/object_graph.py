"""Walk over the objects of a fitted model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LEAVES = (str, bytes, bytearray, int, float, complex, type(None), type)


def walk_objects(model: object) -> Iterator[Any]:
    """Yield ``model`` and every object below it, each once, parents before children.

    Follows attributes, mappings, lists, tuples, sets and object arrays; numbers and strings are not yielded.

    Examples
    --------
    >>> [type(item).__name__ for item in walk_objects({"steps": [("a", 1)]})]
    ['dict', 'list', 'tuple']
    """
    seen: set[int] = set()
    stack = [model]
    while stack:
        item = stack.pop()
        if isinstance(item, LEAVES) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        stack.extend(_children(item))


def _children(item: object) -> Iterator[Any]:
    if isinstance(item, dict):
        yield from item.values()
    elif isinstance(item, list | tuple | set):
        yield from item
    elif getattr(getattr(item, "dtype", None), "hasobject", False):
        yield from getattr(item, "flat", ())
    yield from getattr(item, "__dict__", {}).values()
