"""Coverage of the intervals of uplift metrics: how often they contain the expected value, by simulation.

Run with ``python benchmarks/uplift_coverage.py``. Half of the accounts are treated at random, and the effect on each
is known only through a noisy prediction. The expected value of each metric is its mean over many simulated tables.
With ``null`` no effect differs between accounts, so that the rest to 1 of the Qini coefficient's coverage is how often
a model is said to find whom to contact, or whom not to, although nobody could.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from mlsys.evaluation.metric_table import uplift_metrics
from mlsys.evaluation.uplift import evaluate_uplift, fold_uplift_metrics

PROCESSES = ("varied", "null", "clustered")
KINDS = ("value", "chance", "too few")


@dataclass(frozen=True)
class Case:
    """Accounts in each fold, folds, and the fraction of accounts that convert without treatment."""

    accounts: int
    folds: int
    rate: float


CASES = {
    "A: 5 folds of 1,000 accounts, 15% convert": Case(1000, 5, 0.15),
    "B: 5 folds of 300 accounts, 15% convert": Case(300, 5, 0.15),
    "C: 1 fold of 1,000 accounts, 15% convert": Case(1000, 1, 0.15),
    "D: 6 folds of 3,300 accounts, 0.5% convert": Case(3300, 6, 0.005),
}


def draw(case: Case, process: str, generator: np.random.Generator) -> pd.DataFrame:
    """Return predictions with the columns of `evaluate_uplift`.

    Parameters
    ----------
    case : Case
    process : {"varied", "null", "clustered"}
        Whether effects differ between accounts, are all the same, or differ and every account is in every fold.
    generator : numpy Generator
    """
    parts = []
    trait = generator.normal(size=(2, case.accounts))
    for fold in range(case.folds):
        ids = np.arange(case.accounts)
        if process != "clustered":
            trait = generator.normal(size=(2, case.accounts))
            ids = ids + fold * case.accounts
        treated = generator.random(case.accounts) < 0.5
        effect = 0.4 + (0.0 if process == "null" else 0.6) * trait[1]
        odds = logit(case.rate) + 0.8 * trait[0] + effect * treated
        part = pd.DataFrame({"id": ids, "fold": fold, "treated": treated.astype(int)})
        part["label"] = (generator.random(case.accounts) < expit(odds)).astype(int)
        parts.append(part.assign(uplift=trait[1] + generator.normal(size=case.accounts)))
    return pd.concat(parts, ignore_index=True)


def expected_values(case: Case, process: str, *, tables: int, seed: int) -> dict[str, float]:
    """Return the mean of each metric over simulated tables, and of the average effect, as ``chance``."""
    generator = np.random.default_rng([seed, 0])
    values = defaultdict(list)
    for _ in range(tables):
        for _, part in draw(case, process, generator).groupby("fold"):
            rates = part.groupby("treated")["label"].mean()
            for name, value in (fold_uplift_metrics(part) | {"chance": rates[1] - rates[0]}).items():
                values[name].append(np.nan if value is None else value)
    return {name: float(np.nanmean(found)) for name, found in values.items()}


def hits(
    seed: int, case: Case, process: str, expected: dict[str, float], resamples: int
) -> Iterator[tuple[str, str, bool]]:
    """Yield metric, kind of interval, and whether it contains the expected value, for one table."""
    rows = draw(case, process, np.random.default_rng([seed, 1]))
    results = evaluate_uplift(rows, bootstrap_resamples=resamples, seed=seed, confidence=0.95)
    for name, entry in results.overall.items():
        if entry["low"] is None:
            yield name, "too few", True
        else:
            yield name, "value", entry["low"] <= expected[name] <= entry["high"]
    average = results.chance["uplift_top_30"]
    if average["low"] is not None:
        yield "uplift_top_30", "chance", average["low"] <= expected["chance"] <= average["high"]


def coverage(
    case: Case, process: str, *, tables: int, resamples: int, seed: int, workers: int = 1
) -> dict[str, dict[str, float]]:
    """Return, by metric, the fraction of intervals with the expected value.

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
    """
    expected = expected_values(case, process, tables=5 * tables, seed=seed)
    one = partial(_hits, case=case, process=process, expected=expected, resamples=resamples)
    seeds = range(seed * tables, (seed + 1) * tables)
    if workers == 1:
        found = list(map(one, seeds))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(one, seeds, chunksize=10))
    counts: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for table in found:
        for name, kind, covered in table:
            counts[name, kind].append(covered)
    return {
        metric.name: {
            "value": _mean(counts[metric.name, "value"]),
            "chance": _mean(counts[metric.name, "chance"]),
            "too few": len(counts[metric.name, "too few"]) / tables,
        }
        for metric in uplift_metrics()
    }


def _hits(seed: int, **settings: object) -> list[tuple[str, str, bool]]:
    return list(hits(seed, **settings))  # type: ignore[arg-type]  # for a pool, which cannot pickle generators


def _mean(found: list[bool]) -> float:
    return float(np.mean(found)) if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=400, help="simulated tables for each case and process")
    parser.add_argument("--resamples", type=int, default=300, help="bootstrap resamples of each table")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    letters, cases = [title[0] for title in CASES], "; ".join(CASES).replace("%", "%%")
    parser.add_argument("--cases", nargs="+", default=letters, choices=letters, metavar="LETTER", help=cases)
    arguments = parser.parse_args()
    for title, case in CASES.items():
        if title[0] not in arguments.cases:
            continue
        settings = {name: getattr(arguments, name) for name in ("tables", "resamples", "workers")}
        found = {process: coverage(case, process, seed=number, **settings) for number, process in enumerate(PROCESSES)}
        error = np.sqrt(0.95 * 0.05 / arguments.tables)
        print(f"\n{title}. Promised: 0.950 (standard error of the simulation: {error:.3f})")
        columns = {(kind, process): found[process] for kind in KINDS for process in PROCESSES}
        table = {column: {name: row[column[0]] for name, row in rows.items()} for column, rows in columns.items()}
        print(pd.DataFrame(table).to_string(float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    main()
