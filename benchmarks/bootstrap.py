"""Bootstrap intervals of all metrics: mlsys compared with a plain loop over resamples that calls scikit-learn.

Run with ``python benchmarks/bootstrap.py``. Both evaluate the same rows on the same resamples of entities: mlsys on all
of them, the loop on the first few, from which its time is extrapolated. On those the metrics must agree.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from mlsys.evaluation.bootstrap import bootstrap
from mlsys.evaluation.metrics import evaluate, measure
from mlsys.evaluation.weighted_metrics import ScoredFold

TOP_K = (10, 50, 100)


def make_predictions(folds: int, rows: int, positives: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    parts = []
    for fold in range(folds):
        label = (np.arange(rows) < positives).astype(int)
        logit = 2 * generator.normal(size=rows) + 4 * label + np.log(positives / rows) - 2
        parts.append(
            pd.DataFrame(
                {
                    "id": generator.permutation(rows + rows // 50)[:rows],
                    "as_of": pd.Timestamp("2020-02-24") + pd.Timedelta(days=28 * fold),
                    "fold": fold,
                    "label": label,
                    "label_complete": True,
                    "probability": 1 / (1 + np.exp(-logit)),
                    "value": np.where(label == 1, generator.gamma(2, 200, rows), np.nan),
                    "activity": np.floor(np.exp(generator.normal(size=rows) + label)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def plain_metrics(label: np.ndarray, probability: np.ndarray, value: np.ndarray) -> dict[str, float]:
    """Compute metrics with scikit-learn; without ece, whose bins do not depend on the resample in mlsys."""
    metrics = {
        "roc_auc": roc_auc_score(label, probability),
        "average_precision": average_precision_score(label, probability),
        "log_loss": log_loss(label, probability),
        "brier": brier_score_loss(label, probability),
    }
    order = np.argsort(-probability, kind="stable")
    for k in TOP_K:
        hits = label[order[:k]].sum()
        metrics[f"precision@{k}"] = hits / k
        metrics[f"recall@{k}"] = hits / label.sum()
        metrics[f"lift@{k}"] = hits / k / label.mean()
        metrics[f"revenue@{k}"] = np.nansum(value[order[:k]] * label[order[:k]])
    return metrics


def plain_loop(folds: list[pd.DataFrame], weights: list[np.ndarray]) -> list[list[dict[str, float]]]:
    """Build each resample of every fold by repeating rows, and compute its metrics."""
    results = []
    for resample in range(len(weights[0])):
        samples = [fold.loc[fold.index.repeat(weight[resample])] for fold, weight in zip(folds, weights, strict=True)]
        results.append(
            [plain_metrics(*(sample[c].to_numpy() for c in ("label", "probability", "value"))) for sample in samples]
        )
    return results


def largest_difference(
    folds: list[pd.DataFrame], weights: list[np.ndarray], plain: list[list[dict[str, float]]]
) -> float:
    """Return the largest difference between the two implementations, relative to values above 1."""
    worst = 0.0
    for number, fold in enumerate(folds):
        scored = ScoredFold(fold["label"], fold["probability"], fold["value"], top_k=TOP_K)
        ours = measure(scored, weights[number][:, scored.order].astype(float))
        for resample, metrics in enumerate(plain):
            for name, theirs in metrics[number].items():
                worst = max(worst, abs(ours[name][resample] - theirs) / max(1.0, abs(theirs)))
    return worst


def resampled_weights(codes: list[np.ndarray], resamples: int, seed: int) -> list[np.ndarray]:
    samples = bootstrap([lambda weights: {"weights": weights}] * len(codes), codes, resamples=resamples, seed=seed)
    return [sample["weights"].astype(int) for sample in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "folds": 6,
        "rows": 5000,
        "positives": 10,
        "resamples": 1000,
        "loop-resamples": 20,
        "seed": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    options = parser.parse_args()
    frame = make_predictions(options.folds, options.rows, options.positives, options.seed)
    frame["code"] = frame["id"].factorize(sort=True)[0]
    folds = [fold for _, fold in frame.groupby("fold")]

    ours = []
    for part in (frame, frame.drop(columns="activity")):
        start = time.perf_counter()
        evaluate(part, top_k=TOP_K, bootstrap_resamples=options.resamples, seed=options.seed)
        ours.append(time.perf_counter() - start)

    weights = resampled_weights([fold["code"].to_numpy() for fold in folds], options.loop_resamples, options.seed)
    start = time.perf_counter()
    plain = plain_loop(folds, weights)
    loop = (time.perf_counter() - start) / options.loop_resamples * options.resamples
    worst = largest_difference(folds, weights, plain)

    print(
        f"{options.folds} folds of {options.rows:,} rows, {options.positives} positives each, "
        f"{options.resamples:,} resamples"
    )
    print(f"mlsys, model, chance and activity:   {ours[0]:8.2f} s")
    print(f"mlsys, model and chance:             {ours[1]:8.2f} s")
    print(f"plain loop, model only:              {loop:8.2f} s  (extrapolated from {options.loop_resamples} resamples)")
    print(f"ratio, plain loop / mlsys:           {loop / ours[1]:8.0f} times  (model only / model and chance)")
    print(f"largest difference, same resamples:  {worst:8.1e}")


if __name__ == "__main__":
    main()
