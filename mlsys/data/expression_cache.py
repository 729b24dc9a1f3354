"""Makes Ibis's comparison cache safe under garbage collection."""

from __future__ import annotations

from ibis.common.bases import Comparable


def repair_expression_cache() -> None:
    """Replace the finalizer that removes a dead expression from Ibis 12's comparison cache.

    The cache maps the ids of two expressions to whether they are equal. Ibis's finalizer assumes that nothing else
    changes the cache while it runs. Garbage collection violates that assumption: it can run at any point, in any
    thread, and finalize an expression that was compared with this one. Ibis's finalizer then raises KeyError and
    leaves stale results, which are later attributed to a new expression at the same address.

    Call it before creating expressions; repeated calls have no effect.
    """
    Comparable.__del__ = _forget


# The cache is a default argument, because at the interpreter's exit a module's globals may already be None.
def _forget(self: Comparable, cache: dict[int, dict[int, bool]] = Comparable.__cache__) -> None:
    own = id(self)
    # Each step is a single dict operation, so code that runs in between sees a consistent cache. A partner's dict is
    # kept even if it becomes empty, because its owner may be about to add to it; it is removed with its owner.
    for partner in list(cache.pop(own, ())):
        results = cache.get(partner)
        if results is not None:
            results.pop(own, None)
