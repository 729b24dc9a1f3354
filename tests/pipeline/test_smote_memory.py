"""The memory of SMOTE: estimated, and refused before it starts where there is not enough."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, SMOTENC

from mlsys.errors import RowsError
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.sampling import resample
from mlsys.pipeline.smote import SmoteMixed
from mlsys.pipeline.smote_memory import available_bytes, check_memory, needed_bytes, new_rows

LEVELS = 50


def mixed(rows, positives):
    rng = np.random.default_rng(0)
    plan = pd.Categorical(rng.integers(0, LEVELS, rows).astype(str))
    frame = pd.DataFrame({"users": rng.normal(size=rows), "seats": rng.normal(size=rows), "plan": plan})
    return frame, (np.arange(rows) < positives).astype(np.int8)


def test_the_estimate_is_near_what_is_needed():
    X, y = mixed(6_000, 500)
    sampler = SmoteMixed(random_state=0)
    sampler.fit_resample(X, y)  # imports
    tracemalloc.start()
    sampler.fit_resample(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / 2 < needed_bytes(sampler, X, y) < 3 * peak


def test_what_does_not_fit_is_refused_with_numbers_and_the_way_out():
    X, y = mixed(40_000, 4_000)
    message = r"about 0\.\d GB to add 32,000 rows to 4,000 positive rows among 40,000, but 0\.1 GB are free"
    with pytest.raises(RowsError, match=message) as refused:
        check_memory(SmoteMixed(), X, y, free=1e8)
    assert "sampler.max_minority=20000" in str(refused.value)
    check_memory(SmoteMixed(max_minority=1_000), X, y, free=2e8)
    with pytest.raises(RowsError, match=r"smaller sampler\.sampling_strategy"):
        check_memory(SmoteMixed(max_minority=1_000), X, y, free=1e6)
    check_memory(SMOTE(), X[["users", "seats"]].to_numpy(), y, free=0)  # has no categories


def test_distances_between_categories_count():
    X, y = mixed(40_000, 4_000)
    assert needed_bytes(SmoteMixed(), X[["plan"]], y) > 8 * 4_000**2
    assert needed_bytes(SmoteMixed(max_minority=500), X[["plan"]], y) < 8 * 4_000**2


@pytest.mark.parametrize(("strategy", "added"), [("auto", 80), (0.5, 35), ({1: 30}, 20), (0.05, 0)])
def test_new_rows(strategy, added):
    assert new_rows(SmoteMixed(sampling_strategy=strategy), np.repeat([0, 1], [90, 10]).astype(np.int8)) == added


def test_samplers_are_checked_before_they_start(monkeypatch):
    monkeypatch.setattr("mlsys.pipeline.smote_memory.available_bytes", lambda: 0.0)
    X, y = mixed(200, 20)
    outputs = [Output("users", False), Output("seats", False), Output("plan", True)]
    for sampler in (SmoteMixed(), SMOTENC("auto")):
        with pytest.raises(RowsError, match=r"but 0\.0 GB are free"):
            resample(sampler, X, y, outputs)


def test_this_machine_has_memory():
    assert 1e7 < available_bytes() < 1e15
