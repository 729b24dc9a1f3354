"""How much memory the fits of a backtest need, estimated before the first one, and how many of them run at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mlsys.data.disk_frame import DiskFrame
from mlsys.data.panel import Panel
from mlsys.errors import DataError
from mlsys.memory import GB
from mlsys.pipeline.memory import bytes_per_value
from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.traits import traits_of
from mlsys.text import counted

logger = logging.getLogger(__name__)

# Larger fits of models that use several threads run one at a time: copies in parallel would cost more than they gain.
LARGE_FIT_GB = 0.5
PARALLEL_SHARE = 0.7  # of the memory may be taken by fits in parallel, as it is an estimate
PROCESS_GB = 0.4  # the interpreter and its libraries
# Of a fit whose rows are on disk: bins and quantiles of some rows and columns at a time, the histograms of each column,
# and of each row its labels, gradients and predictions; measured by benchmarks/external_memory.py.
DISK_FIT_GB, DISK_FIT_BYTES_PER_COLUMN, DISK_FIT_BYTES_PER_ROW = 0.06, 100_000, 160


@dataclass(frozen=True)
class MemoryPlan:
    """What the fits hold at once.

    Attributes
    ----------
    rows, columns : int
        Rows of the panel and number of its features.
    panel_gb : float
        Size of the panel.
    on_disk : bool
        Whether it is on disk instead of in memory.
    fit_gb : float
        Peak of the largest fit, beyond the panel.
    at_once : int
        Number of fits that run in parallel.
    threads : int
        Number of threads of each.
    usable_gb : float
        What the process may use.
    """

    rows: int
    columns: int
    panel_gb: float
    on_disk: bool
    fit_gb: float
    at_once: int
    threads: int
    usable_gb: float

    @property
    def total_gb(self) -> float:
        """The estimated peak."""
        return PROCESS_GB + (0 if self.on_disk else self.panel_gb) + self.at_once * self.fit_gb

    def __str__(self) -> str:
        place = " on disk" if self.on_disk else ""
        return (
            f"{self.rows:,} rows × {counted(self.columns, 'feature')} take {self.panel_gb:.2g} GB{place}, and a fit up "
            f"to {self.fit_gb:.2g} GB, {self.at_once} at once: about {self.total_gb:.2g} of {self.usable_gb:.2g} GB"
        )

    def check(self) -> None:
        """Raise DataError if the fits need more memory than there is."""
        if self.total_gb > self.usable_gb:
            smaller = (
                "fewer columns (features=minimal), a model that needs less (model=catboost, model=xgboost) or the disk "
                "(model=xgboost fit.external_memory=true), "
            )
            raise DataError(
                f"The fits do not fit in memory: {self}. Use a sample of the negatives (data.negatives=auto), "
                "fewer as-ofs (data.spine.every_days, data.spine.start), "
                f"{'' if self.on_disk else smaller}or set data.memory_gb if more is free. Nothing was trained."
            )


def memory_plan(panel: Panel, spec: PipelineSpec, fits: Sequence[int], *, threads: int, usable_gb: float) -> MemoryPlan:
    """Estimate the memory that fits need.

    Parameters
    ----------
    panel : Panel
    spec : PipelineSpec
    fits : sequence of int
        Number of training rows of each fit.
    threads : int
        Number of threads of all fits together.
    usable_gb : float
        What the process may use, in GB.
    """
    columns = len(panel.features)
    # Not deep: the texts of object columns would take longer to measure than to fit.
    panel_gb = float(panel.frame.memory_usage().sum()) / GB
    most, on_disk = max(fits, default=0), isinstance(panel.frame, DiskFrame)
    if on_disk:
        fit_gb = DISK_FIT_GB + (columns * DISK_FIT_BYTES_PER_COLUMN + most * DISK_FIT_BYTES_PER_ROW) / GB
    else:
        fit_gb = most * columns * bytes_per_value(spec) / GB
    fits_gb = PARALLEL_SHARE * usable_gb - PROCESS_GB - (0 if on_disk else panel_gb)
    parallel = max(min(threads, len(fits)), 1)
    alone = fit_gb > LARGE_FIT_GB and traits_of(spec.estimator).threads is not None
    at_once = 1 if alone else min(parallel, max(int(fits_gb / fit_gb), 1)) if fit_gb else parallel
    # Not by the free memory: the last digits of some libraries depend on the number of threads.
    each = threads if alone else threads // max(len(fits), 1)
    return MemoryPlan(len(panel.frame), columns, panel_gb, on_disk, fit_gb, at_once, max(each, 1), usable_gb)
