"""Fit and score every fold, and fit the final model on all complete rows, in parallel threads."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlsys.config import TrainConfig
from mlsys.data.compact import columns_of, take_rows
from mlsys.data.load import Loaded
from mlsys.data.panel import Panel
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import EstimatorError, FitError, OneClassError
from mlsys.evaluation.caps import cap_warning
from mlsys.evaluation.memory_plan import MemoryPlan, memory_plan
from mlsys.evaluation.metric_table import PREDICT_MS
from mlsys.evaluation.metrics import fold_metrics
from mlsys.evaluation.output_columns import output_columns
from mlsys.evaluation.splits import Fold, Rows, in_sample, label_known_at, split_off_latest
from mlsys.evaluation.uplift import fold_uplift_metrics
from mlsys.memory import usable_memory_gb
from mlsys.pipeline.composites import PartialRows, as_known_at
from mlsys.pipeline.fitting import Fitted, fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.probe import check_fit, few_rows, late_advice
from mlsys.pipeline.recency import recency_weights
from mlsys.pipeline.stopping import IterationCallback
from mlsys.pipeline.weights import Weights, mean, taken
from mlsys.ranges import take_values
from mlsys.stages import progress

logger = logging.getLogger(__name__)

Objective = float | None | tuple[float | None, ...]


@dataclass(frozen=True)
class BacktestPlan:
    """What to fit in a backtest, and with which resources.

    Attributes
    ----------
    spec : PipelineSpec
        Pipeline to fit in each fold.
    horizon_days : int
        Days of embargo between the validation set and the earlier training rows.
    seed : int
        Seed for validation sets that are drawn at random, where rows have no time.
    threads : int
        Total number of threads. Small fits share them, because running fits in parallel with few threads each is faster
        than running one after the other with all threads; see `MemoryPlan`.
    make_callback : callable or None
        Function of a fold's number that returns its `IterationCallback`.
    memory_gb : float or None
        Memory that the process may use; None: what is free.
    """

    spec: PipelineSpec
    horizon_days: int
    seed: int
    threads: int
    make_callback: Callable[[int], IterationCallback] | None = None
    memory_gb: float | None = None

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        spec: PipelineSpec,
        loaded: Loaded,
        make_callback: Callable[[int], IterationCallback] | None = None,
    ) -> Self:
        """Return the plan of a run's config for the data that it has loaded."""
        threads, memory_gb = config.thread_count, config.data.memory_gb
        return cls(spec, loaded.horizon_days, config.seed, threads, make_callback, memory_gb)

    def memory(self, panel: Panel, folds: Sequence[Fold]) -> MemoryPlan:
        """Return the memory that the fits of folds need, and how many of them run at once."""
        rows, usable_gb = [len(fold.train) for fold in folds], usable_memory_gb(self.memory_gb)
        return memory_plan(panel, self.spec, rows, threads=self.threads, usable_gb=usable_gb)


@dataclass(frozen=True)
class FoldResult:
    """Fitted pipeline and out-of-fold predictions of one fold.

    Attributes
    ----------
    fold : Fold
    fitted : Fitted
    predictions : DataFrame
        The fold's test rows; see :func:`out_of_fold`.
    seconds : float
        Seconds it took to score the test rows.
    """

    fold: Fold
    fitted: Fitted
    predictions: pd.DataFrame
    seconds: float
    _metrics: dict[tuple[int, ...], dict[str, float | None]] = field(default_factory=dict, repr=False, compare=False)

    def metrics(self, top_k: Sequence[int]) -> dict[str, float | None]:
        """Return the fold's metrics; they are computed only once.

        Parameters
        ----------
        top_k : sequence of int
            List lengths k of the top-k metrics.
        """
        if (key := tuple(top_k)) not in self._metrics:
            rows = self.predictions
            weight = rows.get(SAMPLING_WEIGHT)
            numbers = fold_metrics(rows["label"], rows["probability"], rows["value"], top_k=top_k, weight=weight)
            self._metrics[key] = numbers | fold_uplift_metrics(rows)
        return self._metrics[key]

    @property
    def scoring_ms(self) -> float:
        """Milliseconds per 1,000 scored rows."""
        return 1e6 * self.seconds / len(self.predictions)


@dataclass(frozen=True)
class BacktestResult:
    """Results of all folds, and the final model.

    Attributes
    ----------
    folds : list of FoldResult
        Results in the order of the folds.
    final : Fitted
        Final model, fitted on all rows with complete labels.
    final_rows : ndarray of int64, shape (n_final_rows,)
        Positions of those rows in the panel.
    """

    folds: list[FoldResult]
    final: Fitted
    final_rows: Rows

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold rows of all folds; see :func:`out_of_fold`."""
        return out_of_fold(self.folds)

    @property
    def cap_warning(self) -> str:
        """Warning that boosting ended at its limit of iterations; empty if it did not."""
        return cap_warning([result.fitted.choice for result in self.folds], self.final.choice)

    def calibration_errors(self) -> dict[str, dict[str, float | None]]:
        """Return the expected calibration error before and after calibration, each averaged over the folds."""
        errors = {}
        for stage, column in (("before", "score"), ("after", "probability")):
            values = [
                fold_metrics(rows["label"], rows[column], None, top_k=[1], weight=rows.get(SAMPLING_WEIGHT))["ece"]
                for rows in (result.predictions for result in self.folds)
            ]
            defined = [value for value in values if value is not None]
            errors[stage] = {"ece": float(np.mean(defined)) if defined else None}
        return errors


def out_of_fold(results: Sequence[FoldResult]) -> pd.DataFrame:
    """Return the out-of-fold rows of all folds.

    Returns
    -------
    DataFrame
        Columns id, as_of, fold, label, label_complete, value, activity, score, probability and prevalence; with a
        sample of the negatives, sampling_weight; then those of `output_columns`.
    """
    return pd.concat([result.predictions for result in results], ignore_index=True)


def objective_values(results: Sequence[FoldResult], objectives: Sequence[str], top_k: Sequence[int]) -> Objective:
    """Return the result of a Hydra job: a single value for one objective, a tuple for several.

    See :func:`mean_objectives` for the parameters and the values.
    """
    means = mean_objectives(results, objectives, top_k)
    return means[0] if len(means) == 1 else means


def mean_objectives(
    results: Sequence[FoldResult], objectives: Sequence[str], top_k: Sequence[int]
) -> tuple[float | None, ...]:
    """Return the mean of each objective over the folds, as in metrics.json; None if it is undefined in every fold.

    Parameters
    ----------
    results : sequence of FoldResult
        Results of the folds.
    objectives : sequence of str
        Names of metrics, or ``predict_ms``.
    top_k : sequence of int
        List lengths k of the top-k metrics.
    """
    folds = [result.metrics(top_k) | {PREDICT_MS: result.scoring_ms} for result in results]
    defined = [[value for fold in folds if (value := fold[name]) is not None] for name in objectives]
    return tuple(float(np.mean(values)) if values else None for values in defined)


def scoring_ms(results: Sequence[FoldResult]) -> float:
    """Return the milliseconds per 1,000 scored rows, averaged over the folds."""
    return float(np.mean([result.scoring_ms for result in results]))


def run_folds(plan: BacktestPlan, panel: Panel, folds: Sequence[Fold]) -> BacktestResult:
    """Fit and score each fold, and fit the final model on all rows with complete labels.

    Raises
    ------
    FitError
        If a fold cannot be fitted; the message names it.
    """
    known = panel.frame["label_complete"].to_numpy()
    final_rows = Fold(0, np.flatnonzero(known), np.empty(0, dtype=np.int64), partial=np.flatnonzero(~known))
    final_rows = in_sample([final_rows], panel.frame)[0]
    memory = plan.memory(panel, [*folds, final_rows])
    memory.check()
    _check_first_fold(plan, panel, folds)
    logger.info("memory: %s", memory)
    shared = replace(plan, spec=replace(plan.spec, threads=memory.threads))
    with _workers(memory.at_once, shared) as pool:
        # The final fit has the most rows, so it starts first, and the others fill the remaining threads.
        final = pool.submit(_fit_fold, shared, panel, final_rows, "the final model")
        scored = [pool.submit(_run_fold, shared, panel, fold) for fold in folds]
        with progress("fit", len(folds) + 1, "models") as advance:
            final.add_done_callback(lambda _: advance())
            for job in scored:
                job.add_done_callback(lambda _: advance())
            _raise_first_error([*scored, final])
        result = BacktestResult([job.result() for job in scored], final.result(), final_rows.train)
    if result.cap_warning:
        logger.warning("%s", result.cap_warning)
    return result


def refit_folds(plan: BacktestPlan, panel: Panel, folds: Sequence[Fold]) -> pd.DataFrame:
    """Fit each fold by the same plan on other rows; return the out-of-fold rows, see :func:`out_of_fold`.

    Raises
    ------
    FitError
        If a fold cannot be fitted; the message names it.
    """
    return out_of_fold(_run_in_order(plan, panel, folds))


def run_search_folds(
    plan: BacktestPlan, panel: Panel, folds: Sequence[Fold], on_result: Callable[[FoldResult], None] | None = None
) -> list[FoldResult]:
    """Fit and score each fold, without a final model.

    Parameters
    ----------
    on_result : callable, optional
        Called with each result, in the order of the folds, as soon as it is available. If it raises, no further fold is
        started, and the error is raised once all running folds have finished.

    Raises
    ------
    FitError
        If a fold cannot be fitted; the message names it.
    """
    plan.memory(panel, folds).check()
    _check_first_fold(plan, panel, folds)
    results = _run_in_order(plan, panel, folds, on_result)
    if warning := cap_warning([result.fitted.choice for result in results]):
        logger.warning("%s", warning)
    return results


def _run_in_order(
    plan: BacktestPlan, panel: Panel, folds: Sequence[Fold], on_result: Callable[[FoldResult], None] | None = None
) -> list[FoldResult]:
    memory, remaining = plan.memory(panel, folds), iter(folds)
    shared = replace(plan, spec=replace(plan.spec, threads=memory.threads))
    results: list[FoldResult] = []
    with _workers(memory.at_once, shared) as pool, progress("folds", len(folds), "folds") as advance:
        # At most one fold per thread is in flight: with one thread, none has started when ``on_result`` raises.
        jobs = deque(pool.submit(_run_fold, shared, panel, fold) for fold in islice(remaining, memory.at_once))
        try:
            while jobs:
                results.append(jobs.popleft().result())
                advance()
                if on_result is not None:
                    on_result(results[-1])
                jobs.extend(pool.submit(_run_fold, shared, panel, fold) for fold in islice(remaining, 1))
        except Exception:  # Ctrl-C is not an Exception, so it does not wait for running folds
            wait(jobs)
            raise
    return results


@contextmanager
def _workers(count: int, shared: BacktestPlan) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread pool for fits; on an error or Ctrl-C, cancel pending fits and do not wait for running ones."""
    # Sums of BLAS must not depend on the machine's number of threads. OpenMP keeps its limit per thread.
    limit_openmp = partial(threadpool_limits, shared.spec.threads, "openmp")
    with threadpool_limits(1, "blas"):
        pool = ThreadPoolExecutor(count, thread_name_prefix="fit", initializer=limit_openmp)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _raise_first_error(jobs: Sequence[Future[Any]]) -> None:
    """Wait until all jobs are done or one has failed; raise the error of a failed job."""
    done = wait(jobs, return_when=FIRST_EXCEPTION).done
    for job in jobs:
        if job in done:
            job.result()


def _run_fold(plan: BacktestPlan, panel: Panel, fold: Fold) -> FoldResult:
    name = _name(fold)
    if plan.make_callback is not None:
        plan = replace(plan, spec=replace(plan.spec, callback=plan.make_callback(fold.number)))
    fitted = _fit_fold(plan, panel, fold, name)
    rows = take_rows(panel.frame, fold.test)
    inputs = columns_of(rows, panel.names)
    start = time.perf_counter()
    try:
        scores = fitted.scores(inputs)
    except EstimatorError as error:
        raise FitError(f"{name}: {error} {late_advice(plan.spec, error)}") from error
    seconds = time.perf_counter() - start
    keys = rows[["id", "as_of", "label", "label_complete", "value", "activity"]].reset_index(drop=True)
    keys.insert(2, "fold", fold.number)
    predictions = keys.assign(
        score=scores,
        probability=fitted.calibration.apply(scores),
        prevalence=mean(take_values(panel.frame["label"].to_numpy(), fold.train), taken(panel.weights, fold.train)),
        **({} if (weights := taken(panel.test_weights, fold.test)) is None else {SAMPLING_WEIGHT: weights}),
        **output_columns(fitted, panel, rows),
    )
    logger.info(
        "%s: %s training rows, %s test rows%s", name, f"{len(fold.train):,}", f"{len(fold.test):,}", _chosen(fitted)
    )
    return FoldResult(fold, fitted, predictions, seconds)


def _fit_fold(plan: BacktestPlan, panel: Panel, fold: Fold, name: str) -> Fitted:
    try:
        return fit(plan.spec, _training(plan, panel, fold))
    except EstimatorError as error:
        raise FitError(f"{name}: {error} {late_advice(plan.spec, error)}") from error
    except FitError as error:
        raise FitError(f"{name}: {_with_advice(error, plan, panel)}") from error


def _with_advice(error: FitError, plan: BacktestPlan, panel: Panel) -> str:
    """Return the message of an error, and how to get rows of both classes if that is what it is about."""
    if not isinstance(error, OneClassError):
        return str(error)
    if plan.horizon_days:
        advice = (
            "Increase data.horizon_days, add earlier as-ofs (data.spine.start), test fewer, later ones (split.folds), "
            "or check the outcome."
        )
    elif panel.frame["as_of"].notna().any():
        advice = "Test fewer, later rows (split.folds), add earlier rows of the other class, or check data.target."
    elif panel.frame["group"].is_unique:
        advice = "Add rows of the other class, or check data.target."
    else:
        advice = (
            "The rows of a group (data.group) stay together in one fold: choose groups with rows of both classes, add "
            "groups, leave out data.group, or check data.target."
        )
    return f"{error} {advice}"


def _check_first_fold(plan: BacktestPlan, panel: Panel, folds: Sequence[Fold]) -> None:
    """Check with a few rows of the first fold that the pipeline can be fitted, before any fold is."""
    if not folds:
        return
    rows = folds[0].train
    positions, validation = few_rows(_labels(panel, rows))
    few = rows[positions]
    inputs, details = take_rows(panel.inputs, few), _details(plan, panel, folds[0], few)
    weights = _weights(plan, panel, folds[0], few)
    sample = Training(inputs, _labels(panel, few), validation, ~validation, details, weights=weights)
    try:
        check_fit(plan.spec, sample, lambda: _training(plan, panel, folds[0]))
    except FitError as error:
        raise FitError(f"{_name(folds[0])}: {_with_advice(error, plan, panel)} Nothing was trained.") from error


def _labels(panel: Panel, rows: Rows) -> NDArray[np.int8]:
    return take_values(panel.frame["label"].to_numpy(), rows).astype(np.int8, copy=False)


def _training(plan: BacktestPlan, panel: Panel, fold: Fold) -> Training:
    rows = fold.train
    early = validation = partial = None
    if plan.spec.needs_validation:
        fraction = plan.spec.validation_fraction
        early, validation = split_off_latest(
            panel.frame, rows, fraction=fraction, horizon_days=plan.horizon_days, seed=plan.seed
        )
    if plan.spec.uses_partial_rows:
        younger, known = take_rows(panel.inputs, fold.partial), _details(plan, panel, fold, fold.partial)
        partial = PartialRows(younger, known, _weights(plan, panel, fold, fold.partial))
    inputs, weights = take_rows(panel.inputs, rows), _weights(plan, panel, fold, rows)
    details = _details(plan, panel, fold, rows) if plan.spec.details else None
    return Training(inputs, _labels(panel, rows), validation, early, details, partial, weights)


def _weights(plan: BacktestPlan, panel: Panel, fold: Fold, rows: Rows) -> Weights:
    """Return how much each of a fold's rows counts: the rows that it stands for, times its weight by age."""
    sampled = taken(panel.weights, rows)
    if plan.spec.half_life_days is None:
        return sampled
    times = columns_of(panel.frame, ["as_of"])
    newest = take_rows(times, fold.train)["as_of"].max()
    recent = recency_weights(take_rows(times, rows)["as_of"], newest, plan.spec.half_life_days)
    return recent if sampled is None else sampled * recent


def _details(plan: BacktestPlan, panel: Panel, fold: Fold, rows: Rows) -> pd.DataFrame:
    """Return the details of rows as the fold's test as-of knows them."""
    spec = plan.spec
    names = [name for name in panel.frame.columns if name in (*spec.details, "as_of")]
    frame = take_rows(columns_of(panel.frame, names), rows)
    details = frame.assign(known_at=label_known_at(frame["as_of"], plan.horizon_days))
    if spec.uses_partial_rows and fold.as_of is not None:
        details = as_known_at(details, fold.as_of)
    return details[list(spec.details)]


def _name(fold: Fold) -> str:
    return f"fold {fold.number}" + (f" (as-of {fold.as_of:%Y-%m-%d})" if fold.as_of is not None else "")


def _chosen(fitted: Fitted) -> str:
    chosen = str(fitted.choice)
    return f", {chosen}" if chosen else ""
