import gc

import ibis
import pytest
from ibis.common.bases import Comparable

from mlsys.data import expression_cache
from mlsys.data.expression_cache import repair_expression_cache


class Cycle:
    """Keeps an object alive until the garbage collector runs."""

    def __init__(self, kept):
        self.kept, self.itself = kept, self


@pytest.fixture
def collect_at_next_allocation():
    """Return a function that makes the garbage collector run at the next allocation."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(1_000_000)
    yield lambda: gc.set_threshold(1)
    gc.set_threshold(*before)


def test_an_expression_can_be_collected_while_an_equal_one_is_finalized(collect_at_next_allocation):
    repair_expression_cache()
    first, second = (ibis.table({"a": "int64"}, name="t").op() for _ in range(2))
    assert first == second
    ids = {id(first), id(second)}
    Cycle(second)
    del second
    collect_at_next_allocation()
    del first  # pytest turns exceptions in finalizers into errors
    gc.collect()
    assert not ids & Comparable.__cache__.keys()
    assert not [results for results in Comparable.__cache__.values() if ids & results.keys()]


def test_comparisons_are_still_cached(monkeypatch):
    repair_expression_cache()
    first, second = (ibis.table({"a": "int64"}, name="t").op() for _ in range(2))
    assert first == second
    monkeypatch.setattr(type(first), "__equals__", lambda *_: pytest.fail("compared again"))
    assert first == second


def test_expressions_may_outlive_the_module_when_python_ends(monkeypatch):
    repair_expression_cache()
    first, second = (ibis.table({"a": "int64"}, name="t").op() for _ in range(2))
    assert first == second
    monkeypatch.setattr(expression_cache, "Comparable", None)  # as Python does with the names of a module
    ids = {id(first), id(second)}
    del first, second
    assert not ids & Comparable.__cache__.keys()
