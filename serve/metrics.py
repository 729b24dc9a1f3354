"""Prometheus metrics. Labels are bound once, because looking them up costs more than counting."""

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
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it at import
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


class ArrayHistogram(Histogram):
    """Histogram that observes an array of values at once: 10,000 calls of ``observe`` take 20 ms."""

    def observe_array(self, values: NDArray[np.float64]) -> None:
        """Observe every value of an array."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, values), minlength=len(self._buckets))
        for bucket, count in zip(self._buckets, counts.tolist(), strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(float(values.sum()))


class Metrics:
    """Metrics of this process; with several processes, `render` aggregates them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = own = registry or CollectorRegistry()
        self._requests = Counter("mlsys_serve_requests", "Requests handled.", ["endpoint", "status"], registry=own)
        self._latency = ArrayHistogram(
            "mlsys_serve_request_seconds",
            "Time from the request headers to the end of the response.",
            ["endpoint"],
            buckets=SECONDS,
            registry=own,
        )
        self._errors = Counter("mlsys_serve_errors", "Error responses by kind.", ["kind"], registry=own)
        self.warnings = Counter("mlsys_serve_warnings", "Rows with a value not seen in training.", registry=own)
        self.rows = Histogram("mlsys_serve_batch_rows", "Rows per batch.", buckets=ROWS, registry=own)
        self.scores = ArrayHistogram(
            "mlsys_serve_probability", "Predicted probabilities.", buckets=SCORES, registry=own
        )
        self.shadow_differences = ArrayHistogram(
            "mlsys_serve_shadow_difference",
            "Absolute difference between the probabilities of the shadow and the champion.",
            buckets=SCORES,
            registry=own,
        )
        self.shadow_failures = Counter(
            "mlsys_serve_shadow_failures", "Rows that the shadow could not score.", registry=own
        )
        self.swaps = Counter("mlsys_serve_model_swaps", "Model swaps.", registry=own)
        self.swap_failures = Counter("mlsys_serve_model_swap_failures", "Model swaps that failed.", registry=own)
        self._info = Gauge(
            "mlsys_serve_model_info",
            "1 for the model being served.",
            ["name", "version", "run", "path"],
            multiprocess_mode="livemax",
            registry=own,
        )
        self.in_flight = self._gauge("mlsys_serve_in_flight", "Requests in progress.")
        self.batches = self._gauge("mlsys_serve_batch_queue_depth", "Batches in progress or queued.")
        self.log_depth = self._gauge("mlsys_serve_log_queue_depth", "Predictions waiting to be logged.")
        self.log_lag = Gauge(
            "mlsys_serve_log_lag_seconds",
            "Age of the oldest prediction waiting to be logged.",
            multiprocess_mode="livemax",
            registry=own,
        )
        self.log_dropped = self._gauge("mlsys_serve_log_dropped", "Predictions dropped without being logged.", "sum")
        self.log_failed = self._gauge("mlsys_serve_log_failed", "Failed writes to the prediction log.", "sum")
        self._request_counters: dict[tuple[str, int], Counter] = {}
        self._pending: list[tuple[float, float]] = []  # seconds and probabilities that `flush` will count
        self._pending_warnings = 0
        self._latencies = {name: self._latency.labels(name) for name in (*ENDPOINTS, OTHER)}
        self._model_labels: tuple[str, ...] | None = None

    def _gauge(self, name: str, documentation: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, documentation, multiprocess_mode=mode, registry=self.registry)  # type: ignore[arg-type]

    def record_prediction(self, seconds: float, probability: float, *, warned: bool) -> None:
        """Count a single prediction at the next `flush`: counting many at once costs as much as counting one."""
        self._pending.append((seconds, probability))
        self._pending_warnings += warned

    def flush(self) -> None:
        """Count the pending predictions; call it in the thread that calls `record_prediction`."""
        if not self._pending:
            return
        seconds, probabilities = np.array(self._pending).T
        self._request_counter("/predict", 200).inc(len(seconds))
        self._latencies["/predict"].observe_array(seconds)
        self.scores.observe_array(probabilities)
        if self._pending_warnings:
            self.warnings.inc(self._pending_warnings)
        self._pending.clear()
        self._pending_warnings = 0

    def record_request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request and its latency."""
        self._request_counter(endpoint, status).inc()
        self._latencies[endpoint].observe(seconds)

    def _request_counter(self, endpoint: str, status: int) -> Counter:
        counter = self._request_counters.get((endpoint, status))
        if counter is None:
            counter = self._request_counters[endpoint, status] = self._requests.labels(endpoint, str(status))
        return counter

    def record_error(self, kind: str) -> None:
        """Count an error response."""
        self._errors.labels(kind).inc()

    def record_batch(self, probabilities: NDArray[np.float64], warned: int) -> None:
        """Count the rows and probabilities of a batch."""
        self.rows.observe(len(probabilities))
        self.scores.observe_array(probabilities)
        if warned:
            self.warnings.inc(warned)

    def set_model(self, model: LoadedModel) -> None:
        """Report a model as the one being served."""
        if self._model_labels is not None:
            self._info.labels(*self._model_labels).set(0)
        self._model_labels = (*model.info.values(), model.scorer.path)
        self._info.labels(*self._model_labels).set(1)

    def render(self) -> bytes:
        """Return the metrics of all processes in the Prometheus text format."""
        if FOLDER in os.environ:
            aggregate = CollectorRegistry()
            multiprocess.MultiProcessCollector(aggregate)  # type: ignore[no-untyped-call]
            return generate_latest(aggregate)
        return generate_latest(self.registry)


def mark_dead(pids: Iterable[int], environment: Mapping[str, str] = os.environ) -> None:
    """Drop the live gauges of processes that have ended; their counters stay."""
    for pid in pids:
        multiprocess.mark_process_dead(pid, environment.get(FOLDER))  # type: ignore[no-untyped-call]
