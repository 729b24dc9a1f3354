"""Coverage of the intervals: how often they contain the expected value, by simulation, beside the promise.

Run with ``python benchmarks/coverage.py``. Accounts come from a known process, so that the expected value of each
metric (its mean over future folds of the same size) is known from many simulated tables; then the intervals of other
tables are counted that contain it. Differences are between two models that are equally good, so that 0 is the expected
value: the rest are false verdicts "better" and "worse".
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from mlsys.data.negatives import NegativeSample
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.metrics import compare_scores, evaluate, fold_metrics

TOP_K = (10, 50)
SIGNAL = 1.6  # coefficient of the observed feature, a standard normal variable
PERSISTENCE = 0.7  # correlation of an account's feature between folds
PROCESSES = ("independent", "clustered", "drifting")
PROCESS = "clustered"  # of samples of negatives
KINDS = ("value", "difference", "too few")
Observed = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Case:
    """Accounts, folds, the mean number of positives in a fold, and list lengths."""

    accounts: int
    folds: int
    positives: float
    top_k: tuple[int, ...] = TOP_K


CASES = {
    "A: 6 folds of 7.7 positives": Case(3300, 6, 7.7),
    "B: 1 fold of 7.9 positives": Case(3300, 1, 7.9),
    "C: 6 folds of 78 positives": Case(3300, 6, 78.0),
    "D: 6 folds of 5 positives": Case(3300, 6, 5.0),
}


def draw(case: Case, process: str, generator: np.random.Generator) -> pd.DataFrame:
    """Return predictions with the columns of `evaluate`, and two more scores, ``a`` and ``b``, that are equally good.

    Parameters
    ----------
    case : Case
    process : {"independent", "clustered", "drifting"}
        Whether each fold has other accounts, the same ones, or the same ones with a prevalence that grows fourfold.
    generator : numpy Generator
    """
    rate = case.positives / case.accounts
    trait, revenue = _account(case, generator)
    parts = []
    for fold in range(case.folds):
        ids = np.arange(case.accounts)
        if process == "independent":
            trait, revenue = _account(case, generator)
            ids = ids + fold * case.accounts
        noise = generator.normal(size=case.accounts)
        feature = PERSISTENCE * trait + np.sqrt(1 - PERSISTENCE**2) * noise
        growth = 0.4 + 1.2 * fold / max(case.folds - 1, 1) if process == "drifting" else 1.0
        positive = generator.random(case.accounts) < expit(_intercept(rate * growth) + SIGNAL * feature)
        score = _intercept(rate) + 0.9 * SIGNAL * feature  # slightly miscalibrated
        scores = {name: expit(score + generator.normal(size=case.accounts)) for name in "ab"}
        label, value = positive.astype(int), np.where(positive, revenue, np.nan)
        part = pd.DataFrame({"id": ids, "as_of": pd.Timestamp("2024-01-01"), "fold": fold, "label": label})
        parts.append(part.assign(label_complete=True, probability=expit(score), value=value, **scores))
    return pd.concat(parts, ignore_index=True)


def _account(case: Case, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return what persists of each account: a trait and its revenue."""
    return generator.normal(size=case.accounts), np.exp(generator.normal(5, 0.8, size=case.accounts))


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Return all rows of a table."""
    return rows


@lru_cache
def _intercept(rate: float) -> float:
    """Return the intercept at which this fraction of accounts is positive."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    low, high = logit(rate) - 5, logit(rate) + 5
    for _ in range(60):
        middle = (low + high) / 2
        share = (weights * expit(middle + SIGNAL * nodes)).sum() / weights.sum()
        low, high = (middle, high) if share < rate else (low, middle)
    return float(middle)


def expected_values(case: Case, process: str, *, tables: int, seed: int) -> dict[str, float]:
    """Return the mean of each metric over simulated tables."""
    generator = np.random.default_rng([seed, 0])
    values = defaultdict(list)
    for _ in range(tables):
        rows = draw(case, process, generator)
        folds = [
            fold_metrics(part["label"], part["probability"], part["value"], top_k=case.top_k)
            for _, part in rows.groupby("fold")
            if part["label"].any()
        ]
        for name in folds[0] if folds else ():
            values[name].append(np.nanmean([fold[name] for fold in folds]))
    return {name: float(np.mean(found)) for name, found in values.items()}


def hits(
    seed: int, case: Case, process: str, expected: dict[str, float], resamples: int, observed: Observed = whole
) -> Iterator[tuple[str, str, bool]]:
    """Yield metric, kind of interval, and whether it contains the expected value, for one table."""
    rows = observed(draw(case, process, np.random.default_rng([seed, 1])))
    options = {"top_k": case.top_k, "bootstrap_resamples": resamples, "seed": seed}
    if rows["label"].sum() == 0:
        return
    for name, entry in evaluate(rows, **options)["overall"].items():
        if entry["low"] is not None:
            yield name, "value", entry["low"] <= expected[name] <= entry["high"]
        elif entry["value"] is not None:
            yield name, "too few", True
    for name, entry in compare_scores(rows, ["a", "b"], **options)["b"].difference.items():
        if entry["low"] is not None:
            yield name, "difference", entry["low"] <= 0 <= entry["high"]


def coverage(
    case: Case,
    process: str,
    *,
    tables: int,
    resamples: int,
    seed: int,
    workers: int = 1,
    observed: Observed = whole,
) -> dict[str, dict[str, float]]:
    """Return, by metric, the fraction of intervals with the expected value, of a value and of a difference.

    Parameters
    ----------
    case : Case
    process : str
        See `draw`.
    tables : int
        Tables whose intervals are counted; five times as many give the expected values.
    resamples : int
        Bootstrap resamples of each table.
    seed : int
    workers : int
        Processes.
    observed : callable
        Returns the rows of a table that are evaluated; by default all.
    """
    expected = expected_values(case, process, tables=5 * tables, seed=seed)
    one = partial(_hits, case=case, process=process, expected=expected, resamples=resamples, observed=observed)
    seeds = range(seed * tables, (seed + 1) * tables)
    if workers == 1:
        found = list(map(one, seeds))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(one, seeds, chunksize=10))
    counts: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in expected}
    for table in found:
        for name, kind, covered in table:
            counts[name][kind].append(covered)
    return {
        name: {
            "value": _mean(kinds["value"]),
            "difference": _mean(kinds["difference"]),
            "too few": len(kinds["too few"]) / tables,
        }
        for name, kinds in counts.items()
    }


def sampled(rows: pd.DataFrame, fraction: float, seed: int = 0) -> pd.DataFrame:
    """Return all converters and a sample of the other rows of a table, with their weights."""
    sample = NegativeSample(fraction, seed)
    kept, weights = sample.of_labels(rows["label"].to_numpy(np.int8), rows["id"], rows["fold"])
    return rows.iloc[kept].assign(**{SAMPLING_WEIGHT: weights[SAMPLING_WEIGHT]}).reset_index(drop=True)


def values(rows: pd.DataFrame, top_k: tuple[int, ...]) -> dict[str, float]:
    """Return the mean of each metric over the folds; NaN where it is undefined."""
    folds = [
        fold_metrics(part["label"], part["probability"], part["value"], top_k=top_k, weight=part.get(SAMPLING_WEIGHT))
        for _, part in rows.groupby("fold")
    ]
    return {
        name: float(np.mean([np.nan if (value := fold[name]) is None else value for fold in folds]))
        for name in folds[0]
    }


def bias(case: Case, fraction: float, *, tables: int, seed: int) -> pd.DataFrame:
    """Return, by metric, the mean on whole tables, and how much that on samples of them differs, relative to it.

    Parameters
    ----------
    case : Case
    fraction : float
        Of the negatives.
    tables : int
    seed : int

    Returns
    -------
    DataFrame
        Columns whole, bias, and error, the standard error of the simulation.
    """
    pairs = []
    for number in range(tables):
        rows = draw(case, PROCESS, np.random.default_rng([seed, 2, number]))
        pairs.append(tuple(values(each, case.top_k) for each in (rows, sampled(rows, fraction, number))))
    whole, part = (pd.DataFrame([pair[side] for pair in pairs]) for side in (0, 1))
    difference, mean = part - whole, whole.mean()
    error = difference.std() / np.sqrt(tables) / mean
    return pd.DataFrame({"whole": mean, "bias": difference.mean() / mean, "error": error})


def _hits(seed: int, **settings: object) -> list[tuple[str, str, bool]]:
    return list(hits(seed, **settings))  # type: ignore[arg-type]  # for a pool, which cannot pickle generators


def _mean(found: Sequence[bool]) -> float:
    return float(np.mean(found)) if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=400, help="simulated tables for each case and process")
    parser.add_argument("--resamples", type=int, default=300, help="bootstrap resamples of each table")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    letters, cases = [title[0] for title in CASES], "; ".join(CASES)
    parser.add_argument("--cases", nargs="+", default=letters, choices=letters, metavar="LETTER", help=cases)
    arguments = parser.parse_args()
    for title, case in CASES.items():
        if title[0] not in arguments.cases:
            continue
        found = {
            process: coverage(
                case,
                process,
                tables=arguments.tables,
                resamples=arguments.resamples,
                seed=number,
                workers=arguments.workers,
            )
            for number, process in enumerate(PROCESSES)
        }
        error = np.sqrt(0.95 * 0.05 / arguments.tables)
        print(f"\n{title}. Promised: 0.950 (standard error of the simulation: {error:.3f})")
        columns = {(kind, process): found[process] for kind in KINDS for process in PROCESSES}
        table = {column: {name: row[column[0]] for name, row in rows.items()} for column, rows in columns.items()}
        print(pd.DataFrame(table).to_string(float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    main()
