"""Fits and scores every fold, and the final model on all complete rows, side by side in threads."""

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
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlsys.data.panel import Panel
from mlsys.errors import FitError
from mlsys.evaluation.metric_table import PREDICT_MS
from mlsys.evaluation.metrics import fold_metrics
from mlsys.evaluation.splits import Fold, Rows, split_off_latest
from mlsys.pipeline.fitting import Fitted, PipelineSpec, Training, fit
from mlsys.pipeline.stopping import IterationCallback

logger = logging.getLogger(__name__)

Objective = float | None | tuple[float | None, ...]


@dataclass(frozen=True)
class BacktestPlan:
    """How every fit gets its rows and its threads.

    Attributes
    ----------
    recipe : PipelineSpec
    horizon_days : int
        The embargo inside the training rows, between earlier and latest ones.
    seed : int
    threads : int
        Of the whole; fits run side by side and share them, so that none waits for another's synchronisation.
    watch : callable or None
        Gives what follows the trees of a fold, by its number.
    """

    recipe: PipelineSpec
    horizon_days: int
    seed: int
    threads: int
    watch: Callable[[int], IterationCallback] | None = None


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave."""

    fold: Fold
    fitted: Fitted
    predictions: pd.DataFrame
    seconds: float
    measured: dict[tuple[int, ...], dict[str, float | None]] = field(default_factory=dict, repr=False, compare=False)

    def metrics(self, top_k: Sequence[int]) -> dict[str, float | None]:
        """Return the fold's metrics, which are computed once.

        Parameters
        ----------
        top_k : sequence of int
            The list lengths k of the top-k metrics.
        """
        if (key := tuple(top_k)) not in self.measured:
            rows = self.predictions
            self.measured[key] = fold_metrics(rows["label"], rows["probability"], rows["value"], top_k=top_k)
        return self.measured[key]

    @property
    def scoring_ms(self) -> float:
        """Milliseconds that scoring 1,000 rows took."""
        return 1e6 * self.seconds / len(self.predictions)


@dataclass(frozen=True)
class BacktestResult:
    """What all folds gave, and the model to keep.

    Attributes
    ----------
    folds : list of FoldResult
        In the order of the folds.
    final : Fitted
        The model fitted on all rows with complete labels.
    final_rows : ndarray of int64
        Those rows' positions in the panel.
    """

    folds: list[FoldResult]
    final: Fitted
    final_rows: Rows

    @property
    def predictions(self) -> pd.DataFrame:
        """All folds' rows, see :func:`out_of_fold`."""
        return out_of_fold(self.folds)

    def calibration_errors(self) -> dict[str, dict[str, float | None]]:
        """Return the calibration error (ece) of raw scores and of probabilities, each the mean over the folds."""
        errors = {}
        for when, column in (("before", "score"), ("after", "probability")):
            values = [
                fold_metrics(rows["label"], rows[column], None, top_k=[1])["ece"]
                for rows in (result.predictions for result in self.folds)
            ]
            known = [value for value in values if value is not None]
            errors[when] = {"ece": float(np.mean(known)) if known else None}
        return errors


def out_of_fold(results: Sequence[FoldResult]) -> pd.DataFrame:
    """Out-of-fold rows: id, as_of, fold, label, label_complete, value, activity, score, probability, prevalence."""
    return pd.concat([result.predictions for result in results], ignore_index=True)


def objective_values(results: Sequence[FoldResult], objectives: Sequence[str], top_k: Sequence[int]) -> Objective:
    """Return what a Hydra job returns for its sweep: one value where there is one objective, else a tuple.

    See :func:`mean_objectives` for the parameters and the values.
    """
    means = mean_objectives(results, objectives, top_k)
    return means[0] if len(means) == 1 else means


def mean_objectives(
    results: Sequence[FoldResult], objectives: Sequence[str], top_k: Sequence[int]
) -> tuple[float | None, ...]:
    """Return each objective's mean over the folds, as in metrics.json; None where one is undefined on all folds.

    Parameters
    ----------
    results : sequence of FoldResult
    objectives : sequence of str
        Names of metrics, or ``predict_ms``.
    top_k : sequence of int
        The list lengths k of the top-k metrics.
    """
    folds = [result.metrics(top_k) | {PREDICT_MS: result.scoring_ms} for result in results]
    known = [[value for fold in folds if (value := fold[name]) is not None] for name in objectives]
    return tuple(float(np.mean(values)) if values else None for values in known)


def scoring_ms(results: Sequence[FoldResult]) -> float:
    """Return the milliseconds that scoring 1,000 rows took, the mean over folds."""
    return float(np.mean([result.scoring_ms for result in results]))


def run_folds(protocol: BacktestPlan, panel: Panel, folds: Sequence[Fold]) -> BacktestResult:
    """Fit and score each fold, and fit the final model on all rows with complete labels.

    Raises
    ------
    FitError
        Naming the fold that could not be fitted.
    """
    everything = np.flatnonzero(panel.frame["label_complete"].to_numpy())
    shared = _shared(protocol, len(folds) + 1)
    with _workers(protocol, shared) as pool:
        # The final fit has the most rows, so it starts first and the others fill the remaining threads.
        final = pool.submit(_fit_rows, shared, panel, everything, "the final model")
        scored = [pool.submit(_run_fold, shared, panel, fold) for fold in folds]
        _raise_first_error([*scored, final])
        return BacktestResult([job.result() for job in scored], final.result(), everything)


def score_folds(protocol: BacktestPlan, panel: Panel, folds: Sequence[Fold]) -> NDArray[np.float64]:
    """Return out-of-fold scores of another panel by the same protocol, in the order of folds and their test rows.

    Raises
    ------
    FitError
        Naming the fold that could not be fitted.
    """
    return out_of_fold(run_search_folds(protocol, panel, folds))["score"].to_numpy()


def run_search_folds(
    protocol: BacktestPlan, panel: Panel, folds: Sequence[Fold], then: Callable[[FoldResult], None] | None = None
) -> list[FoldResult]:
    """Fit and score each fold, without a final model.

    Parameters
    ----------
    then : callable, optional
        Called with each result, in the order of the folds, as soon as it is there. What it raises ends the whole: what
        has not begun is left out, and nothing is still running afterwards.

    Raises
    ------
    FitError
        Naming the fold that could not be fitted.
    """
    shared, coming = _shared(protocol, len(folds)), iter(folds)
    results: list[FoldResult] = []
    with _workers(protocol, shared) as pool:
        # No more under way than there are threads: with one, nothing has begun when ``then`` ends the whole.
        jobs = deque(pool.submit(_run_fold, shared, panel, fold) for fold in islice(coming, protocol.threads))
        try:
            while jobs:
                results.append(jobs.popleft().result())
                if then is not None:
                    then(results[-1])
                jobs.extend(pool.submit(_run_fold, shared, panel, fold) for fold in islice(coming, 1))
        except Exception:  # raised again when nothing runs any more; not so Ctrl-C, for which nobody waits
            wait(jobs)
            raise
    return results


def _shared(protocol: BacktestPlan, jobs: int) -> BacktestPlan:
    return replace(protocol, recipe=replace(protocol.recipe, threads=max(protocol.threads // jobs, 1)))


@contextmanager
def _workers(protocol: BacktestPlan, shared: BacktestPlan) -> Iterator[ThreadPoolExecutor]:
    """Give threads to fit in; on an error or Ctrl-C nobody waits for them, and what has not begun never does."""
    # What NumPy sums in how many threads must not depend on the machine. OpenMP keeps its limit per thread.
    limit_openmp = partial(threadpool_limits, shared.recipe.threads, "openmp")
    with threadpool_limits(1, "blas"):
        pool = ThreadPoolExecutor(protocol.threads, thread_name_prefix="fit", initializer=limit_openmp)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _raise_first_error(jobs: Sequence[Future[Any]]) -> None:
    """Wait until all jobs are done, or one has failed: then raise its error."""
    done = wait(jobs, return_when=FIRST_EXCEPTION).done
    for job in jobs:
        if job in done:
            job.result()


def _run_fold(protocol: BacktestPlan, panel: Panel, fold: Fold) -> FoldResult:
    name = f"fold {fold.number}" + (f" (as-of {fold.as_of:%Y-%m-%d})" if fold.as_of is not None else "")
    if protocol.watch is not None:
        protocol = replace(protocol, recipe=replace(protocol.recipe, watch=protocol.watch(fold.number)))
    fitted = _fit_rows(protocol, panel, fold.train, name)
    rows = panel.frame.iloc[fold.test]
    inputs = rows[panel.names]
    start = time.perf_counter()
    scores = fitted.scores(inputs)
    seconds = time.perf_counter() - start
    keys = rows[["id", "as_of", "label", "label_complete", "value", "activity"]].reset_index(drop=True)
    keys.insert(2, "fold", fold.number)
    predictions = keys.assign(
        score=scores,
        probability=fitted.calibration.apply(scores),
        prevalence=float(panel.frame["label"].to_numpy()[fold.train].mean()),
    )
    logger.info(
        "%s: %s training rows, %s test rows%s", name, f"{len(fold.train):,}", f"{len(fold.test):,}", _trees(fitted)
    )
    return FoldResult(fold, fitted, predictions, seconds)


def _fit_rows(protocol: BacktestPlan, panel: Panel, rows: Rows, name: str) -> Fitted:
    labels = panel.frame["label"].to_numpy()[rows].astype(np.int8)
    early = validation = None
    if protocol.recipe.needs_validation:
        share = protocol.recipe.validation_fraction
        early, validation = split_off_latest(
            panel.frame, rows, share=share, horizon_days=protocol.horizon_days, seed=protocol.seed
        )
    try:
        return fit(protocol.recipe, Training(panel.inputs.iloc[rows], labels, validation, early))
    except FitError as error:
        raise FitError(f"{name}: {error}") from error


def _trees(fitted: Fitted) -> str:
    return "" if fitted.trees is None else f", {fitted.trees} trees"
