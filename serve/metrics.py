"""What Prometheus reads. Labels are bound once: looking them up costs more than counting."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from serve.served_models import LoadedModel

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client looks at it when it is imported
ENDPOINTS = (
    "/predict",
    "/predict/batch",
    "/score",
    "/health",
    "/ready",
    "/metrics",
    "/model/info",
    "/model/reload",
    "/models",
    "/docs",
    "/openapi.json",
    "/",
)
OTHER = "other"
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 10, 100, 1_000, 10_000, 100_000)
SCORES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class ManyHistogram(Histogram):
    """A histogram that takes many values at once: 10,000 calls of ``observe`` are 20 ms."""

    def observe_many(self, values: NDArray[np.float64]) -> None:
        """Count all values."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, values), minlength=len(self._buckets))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(float(values.sum()))


class Metrics:
    """The service's metrics in this process; with several processes, `text` adds them up."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = own = registry or CollectorRegistry()
        self._requests = Counter("mlsys_serve_requests", "Requests answered.", ["endpoint", "status"], registry=own)
        self._latency = ManyHistogram(
            "mlsys_serve_request_seconds",
            "Time from the headers of a request to the end of its answer.",
            ["endpoint"],
            buckets=SECONDS,
            registry=own,
        )
        self._errors = Counter("mlsys_serve_errors", "Requests refused or failed, by kind.", ["kind"], registry=own)
        self.warnings = Counter("mlsys_serve_warnings", "Rows with a value that training did not see.", registry=own)
        self.rows = Histogram("mlsys_serve_batch_rows", "Rows of a batch.", buckets=ROWS, registry=own)
        self.scores = ManyHistogram(
            "mlsys_serve_probability", "Probabilities that were answered.", buckets=SCORES, registry=own
        )
        self.shadow_differences = ManyHistogram(
            "mlsys_serve_shadow_difference",
            "Absolute difference of the shadow's probability from the one answered.",
            buckets=SCORES,
            registry=own,
        )
        self.shadow_failures = Counter(
            "mlsys_serve_shadow_failures", "Rows that the shadow could not score.", registry=own
        )
        self.swaps = Counter("mlsys_serve_model_swaps", "Models swapped in.", registry=own)
        self.swap_failures = Counter(
            "mlsys_serve_model_swap_failures", "Models that could not be swapped in.", registry=own
        )
        self._info = Gauge(
            "mlsys_serve_model_info",
            "1 for the model that is served.",
            ["name", "version", "run", "path"],
            multiprocess_mode="livemax",
            registry=own,
        )
        self.in_flight = self._gauge("mlsys_serve_in_flight", "Requests in work.")
        self.batches = self._gauge("mlsys_serve_batch_queue_depth", "Batches in work or waiting.")
        self.log_depth = self._gauge("mlsys_serve_log_queue_depth", "Predictions waiting to be logged.")
        self.log_lag = Gauge(
            "mlsys_serve_log_lag_seconds",
            "Age of the oldest prediction that waits to be logged.",
            multiprocess_mode="livemax",
            registry=own,
        )
        self.log_dropped = self._gauge("mlsys_serve_log_dropped", "Predictions that were not logged.", "sum")
        self.log_failed = self._gauge("mlsys_serve_log_failed", "Writes to the prediction log that failed.", "sum")
        self._answered: dict[tuple[str, int], Counter] = {}
        self._waiting: list[tuple[float, float]] = []  # seconds and probabilities that `settle` counts
        self._warned = 0
        self._latencies = {name: self._latency.labels(name) for name in (*ENDPOINTS, OTHER)}
        self._shown: tuple[str, ...] | None = None

    def _gauge(self, name: str, text: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, text, multiprocess_mode=mode, registry=self.registry)  # type: ignore[arg-type]

    def predicted(self, seconds: float, probability: float, *, warned: bool) -> None:
        """Count a record that was answered; for `settle` to do, as many at once cost as much as one."""
        self._waiting.append((seconds, probability))
        self._warned += warned

    def settle(self) -> None:
        """Count the records that wait for it; in the thread that calls `predicted`."""
        if not self._waiting:
            return
        seconds, probabilities = np.array(self._waiting).T
        self._child("/predict", 200).inc(len(seconds))
        self._latencies["/predict"].observe_many(seconds)
        self.scores.observe_many(probabilities)
        if self._warned:
            self.warnings.inc(self._warned)
        self._waiting.clear()
        self._warned = 0

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._child(endpoint, status).inc()
        self._latencies[endpoint].observe(seconds)

    def _child(self, endpoint: str, status: int) -> Counter:
        child = self._answered.get((endpoint, status))
        if child is None:
            child = self._answered[endpoint, status] = self._requests.labels(endpoint, str(status))
        return child

    def failed(self, kind: str) -> None:
        """Count a request that got no answer but the reason why."""
        self._errors.labels(kind).inc()

    def batch(self, probabilities: NDArray[np.float64], warned: int) -> None:
        """Count the rows of a batch."""
        self.rows.observe(len(probabilities))
        self.scores.observe_many(probabilities)
        if warned:
            self.warnings.inc(warned)

    def serving(self, served: LoadedModel) -> None:
        """Show a model as the one that is served."""
        if self._shown is not None:
            self._info.labels(*self._shown).set(0)
        self._shown = (*served.model.values(), served.scorer.path)
        self._info.labels(*self._shown).set(1)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, of all processes if there are several."""
        if FOLDER in os.environ:
            together = CollectorRegistry()
            multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self.registry)


def forget(pids: Iterable[int], environment: Mapping[str, str] = os.environ) -> None:
    """Leave out what dead processes said of the present; what they counted stays."""
    for pid in pids:
        multiprocess.mark_process_dead(pid, environment.get(FOLDER))  # type: ignore[no-untyped-call]
