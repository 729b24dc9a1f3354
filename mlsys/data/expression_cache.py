"""Makes Ibis' cache of comparisons safe to use while Python collects garbage."""

from __future__ import annotations

from ibis.common.bases import Comparable


def repair_expression_cache() -> None:
    """Replace the finalizer with which Ibis 12 removes a dead expression from its cache of comparisons.

    The cache maps the ids of two expressions to whether they are equal. Ibis' own finalizer takes for granted that
    nothing else changes the cache meanwhile. The garbage collector breaks that: it may run in the middle, in any
    thread, and finalize an expression that was compared with this one. The finalizer then fails with a KeyError, and
    leaves results behind that are later taken for those of a new expression at the same address.

    Call it before expressions are made; further calls change nothing.
    """
    Comparable.__del__ = _forget


def _forget(self: Comparable) -> None:
    own, cache = id(self), self.__cache__  # not the global name: at the interpreter's exit globals may be None
    # Each step is a single dict operation, so code that runs in between sees a consistent cache. A partner's dict is
    # kept even if it becomes empty, because its owner may be about to add to it; it is removed with its owner.
    for partner in list(cache.pop(own, ())):
        results = cache.get(partner)
        if results is not None:
            results.pop(own, None)
