"""Small synthetic results of a finished run, in the form that the plots, the card and the report receive."""

import numpy as np
import pandas as pd
import pytest

AS_OFS = ["2020-02-24", "2020-03-23", "2020-04-27"]
NOUNS = {"entities": "accounts", "positives": "converters"}


def entry(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.fixture(scope="session")
def predictions():
    generator = np.random.default_rng(0)
    parts = []
    for fold, as_of in enumerate(AS_OFS):
        probability = generator.beta(0.4, 160, 400)
        label = np.zeros(400, dtype=int)
        label[generator.choice(400, 6, replace=False, p=probability / probability.sum())] = 1
        parts.append(
            pd.DataFrame(
                {
                    "id": np.arange(400) + 1,
                    "as_of": pd.Timestamp(as_of),
                    "fold": fold,
                    "label": label,
                    "label_complete": fold < 2,
                    "score": 80 * probability / (1 + 79 * probability),
                    "probability": probability,
                    "value": 100.0 * label,
                    "activity": generator.poisson(1 + 2 * label).astype(float),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def importances():
    names = [f"users_{product}_{days}d" for product in ("contacts", "deals", "email") for days in range(7, 70, 7)]
    return pd.DataFrame({"feature": names, "importance": np.linspace(0, 9, len(names)) ** 2})


@pytest.fixture(scope="session")
def plots(tmp_path_factory, predictions, importances):
    from mlsys.evaluation.report.plots import write_plots  # not at the top: most tests do not need matplotlib

    folder = tmp_path_factory.mktemp("run") / "plots"
    return write_plots(folder, predictions, importances, numbers()["metrics"], threshold=0.02, **NOUNS)


@pytest.fixture
def run():
    """Return the arguments of `summarise`; tests may modify them."""
    return numbers()


def numbers():
    folds = [
        {"as_of": as_of, "fold": number, "rows": 400, "positives": 6, "label_complete": number < 2}
        | {"roc_auc": 0.9 - 0.01 * number, "average_precision": 0.07, "precision@10": 0.1, "log_loss": 0.0125}
        for number, as_of in enumerate(AS_OFS)
    ]
    metrics = {
        "overall": {
            "roc_auc": entry(0.901, 0.86, 0.94),
            "average_precision": entry(0.0769, 0.05, 0.16),
            "log_loss": entry(0.0125, 0.0102, 0.0148),
            "precision@10": entry(0.0667, 0.0333, 0.1333),
            "revenue@10": entry(None, None, None),
        },
        "folds": folds,
        "baselines": {
            "chance": {"roc_auc": entry(0.5, 0.5, 0.5), "average_precision": 0.0022, "precision@10": 0.0022},
            "activity": {"roc_auc": entry(0.77, 0.7, 0.84), "average_precision": 0.07, "precision@10": 0.1},
        },
        "versus_activity": {"roc_auc": entry(0.131, 0.07, 0.19), "average_precision": entry(0.0069, -0.05, 0.07)},
        "calibration": {"before": {"ece": 0.0512}, "after": {"ece": 0.001}},
    }
    checks = [
        {"name": "time_travel", "status": "pass", "value": 0, "limit": 0, "message": "No feature moved."},
        {"name": "missingness", "status": "warn", "value": 0.096, "limit": 0.05, "message": "EMPLOYEE_RANGE differs."},
    ]
    return {
        "config": {
            "choices": {"data": "hubspot", "sampler": "smotenc", "model": "catboost", "hydra/x": "y"},
            "seed": 7,
        },
        "metrics": metrics,
        "audit": {"status": "warn", "checks": checks},
        "threshold": {
            "threshold": 0.0213,
            "method": "top_k",
            "parameters": {"k": 50},
            "flagged": [50, 48, 52],
            "flagged_mean": 50.0,
            "precision": 0.04,
            "recall": 0.19,
            "expected_gain": None,
        },
        "facts": {
            "run": "outputs/2026-11-20/18-05-42",
            "data": "hubspot",
            "target": "become a paying customer within 30 days",
            "entities": 5188,
            "positives": 18,
            "training_rows": 70432,
            "as_ofs": AS_OFS,
            "train_seconds": 14.2,
            "contract": [
                {"table": "customers", "rule": "mrr", "action": "warn", "count": 4, "message": "MRR <= 0 | kept"}
            ],
        },
        "top_leads": pd.DataFrame(
            {"id": [31, 7], "as_of": pd.Timestamp(AS_OFS[-1]), "probability": [0.098, 0.061], "label": [0, 1]}
        ),
    }


def worse(low, high):
    """Return an entry of by_age or learning_curve in metrics.json."""
    return {
        "value": 0.85,
        "reference": 0.9,
        "difference": {"value": -0.05, "low": None if high is None else low, "high": high},
    }
