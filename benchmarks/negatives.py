"""What a sample of the negatives costs: bias of the estimates, coverage and width of the intervals, by simulation.

Run with ``python benchmarks/negatives.py``. Tables come from the process of ``coverage.py``, whose expected values are
those of whole tables. Each table is then evaluated on all converters and a sample of the other rows, with weights. At
last, models are fitted on samples and on whole tables, and tested on other whole ones.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import pandas as pd
from coverage import PROCESS, Case, bias, coverage, draw, sampled
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from mlsys.data.negatives import NegativeSample
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.metrics import evaluate, fold_metrics
from mlsys.pipeline.calibration import Auto
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training

CASES = {
    "A: 3 folds of 1,000 converters among 20,000, 0.1 of the others": (Case(20_000, 3, 1_000.0, (10, 100, 500)), 0.1),
    "B: 3 folds of 200 converters among 20,000, 0.5 of the others": (Case(20_000, 3, 200.0, (10, 100, 500)), 0.5),
    "C: 3 folds of 200 converters among 20,000, 0.1 of the others": (Case(20_000, 3, 200.0, (10, 100, 500)), 0.1),
}


def widths(case: Case, fraction: float, *, tables: int, resamples: int, seed: int) -> pd.Series[float]:
    """Return, by metric, the mean width of intervals on samples, relative to that on whole tables."""
    ratios = []
    for number in range(tables):
        rows = draw(case, PROCESS, np.random.default_rng([seed, 3, number]))
        options = {"top_k": case.top_k, "bootstrap_resamples": resamples, "seed": seed}
        wide, narrow = (evaluate(each, **options)["overall"] for each in (sampled(rows, fraction, number), rows))
        ratios.append({name: _width(wide[name]) / _width(narrow[name]) for name in narrow})
    return pd.DataFrame(ratios).mean()


def _width(entry: dict[str, float]) -> float:
    return entry["high"] - entry["low"] if entry["low"] is not None else np.nan


def probabilities(fraction: float, *, tables: int, rows: int, seed: int) -> pd.DataFrame:
    """Return, for models of whole tables and of samples, metrics and the mean probability on other whole tables."""
    models = {"logistic": LogisticRegression(C=0.1, max_iter=1000), "xgboost": _xgboost()}
    found = []
    for number in range(tables):
        generator = np.random.default_rng([seed, 4, number])
        train, test = _table(generator, rows), _table(generator, rows)
        kept, weights = NegativeSample(fraction, number).of_labels(
            train.labels, np.arange(len(train.labels)), [""] * len(train.labels)
        )
        few = Training(train.inputs.iloc[kept], train.labels[kept], weights=weights[SAMPLING_WEIGHT])
        for name, model in models.items():
            spec = PipelineSpec(Native(), None, model, Auto(), list(train.inputs), [], stop_after=None)
            for name_of_rows, training in (("whole", train), ("sample", few)):
                fitted = fit(spec, training)
                probability = fitted.calibration.apply(fitted.scores(test.inputs))
                metrics = fold_metrics(test.labels, probability, None, top_k=[1])
                shown = {each: metrics[each] for each in ("roc_auc", "average_precision", "log_loss", "ece")}
                ratio = probability.mean() / test.labels.mean()
                found.append({"model": name, "fitted on": name_of_rows, "predicted / observed": ratio, **shown})
    return pd.DataFrame(found).groupby(["model", "fitted on"], sort=False).mean()


def _xgboost() -> object:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=100, max_depth=3, learning_rate=0.1)


def _table(generator: np.random.Generator, rows: int) -> Training:
    columns = generator.normal(size=(rows, 4))
    log_odds = -5.5 + columns[:, 0] + 0.8 * np.maximum(columns[:, 1], 0) + 0.5 * columns[:, 2] * columns[:, 3]
    labels = (generator.random(rows) < expit(log_odds)).astype(np.int8)
    return Training(pd.DataFrame(columns, columns=list("abcd")), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=100, help="simulated tables of each case")
    parser.add_argument("--resamples", type=int, default=300, help="bootstrap resamples of each table")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--cases", default="".join(name[0] for name in CASES), help="letters of the cases, such as AC")
    parser.add_argument("--rows", type=int, default=100_000, help="of the tables that models are fitted on")
    arguments = parser.parse_args()
    tables, resamples = arguments.tables, arguments.resamples
    for number, (title, (case, fraction)) in enumerate(CASES.items()):
        if title[0] not in arguments.cases:
            continue
        found = bias(case, fraction, tables=tables, seed=number)
        observed = partial(sampled, fraction=fraction)
        options = {"tables": tables, "resamples": resamples, "seed": number, "workers": arguments.workers}
        rows = coverage(case, PROCESS, **options, observed=observed)
        found["coverage"] = [rows[name]["value"] for name in found.index]
        found["of differences"] = [rows[name]["difference"] for name in found.index]
        found["width"] = widths(case, fraction, tables=max(tables // 10, 3), resamples=resamples, seed=number)
        print(f"\n{title}. bias: relative to the whole table; width: of intervals, relative to theirs")
        print(found.to_string(float_format="{:.4f}".format), flush=True)
    print("\nModels fitted on whole tables and on 0.1 of the negatives, tested on other whole tables")
    print(
        probabilities(0.1, tables=max(tables // 10, 2), rows=arguments.rows, seed=0).to_string(
            float_format="{:.4f}".format
        )
    )


if __name__ == "__main__":
    main()
