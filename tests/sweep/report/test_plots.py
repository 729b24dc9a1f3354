"""Axes of a sweep's plots."""

from __future__ import annotations

import pytest

from mlsys.sweep.report.plots import _log_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.01, 0.2, [0.01, 0.02, 0.05, 0.1, 0.2]),
        (1e-4, 10.0, [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]),
        (0.6, 0.9, [0.6, 0.9]),
        (4.0, 64.0, [5.0, 10.0, 20.0, 50.0]),
    ],
)
def test_log_axes_have_round_ticks(low, high, ticks):
    assert _log_ticks(low, high) == pytest.approx(ticks)
