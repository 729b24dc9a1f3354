"""What to do first: the sentence, and how often it is wrong by chance."""

import numpy as np
import pandas as pd
import pytest

from mlsys.evaluation.metrics import evaluate
from mlsys.evaluation.report.recommendation import recommend

BETTER = {"value": 0.1, "low": 0.05, "high": 0.15}
WORSE = {"value": -0.1, "low": -0.15, "high": -0.05}
SAME = {"value": 0.05, "low": -0.05, "high": 0.15}
NOTHING = {"value": 0.0, "low": 0.0, "high": 0.0}


def sentence(roc_auc=None, average_precision=None, *, audit=None, overall=None):
    versus = {"roc_auc": roc_auc, "average_precision": average_precision}
    metrics = {
        "overall": overall or {"roc_auc": 0.889, "average_precision": 0.187},
        "baselines": {"activity": {"roc_auc": 0.834, "average_precision": 0.112}},
        "versus_activity": {name: entry for name, entry in versus.items() if entry},
        "folds": [{"positives": 20}, {"positives": 22}],
    }
    return recommend(metrics, audit or {}, "converters", "90%")


def test_a_model_like_activity():
    assert sentence(SAME, SAME) == (
        "The model cannot be told apart from ranking by activity (ROC-AUC 0.889 vs 0.834 and average precision 0.187 "
        "vs 0.112, 42 converters in 2 folds): rank by activity, or test on more data, before you deploy a model."
    )


@pytest.mark.parametrize(
    ("entries", "start"),
    [
        (
            (BETTER, SAME),
            "The model ranks better than activity (ROC-AUC +0.100, 90% interval +0.050 to +0.150): compare",
        ),
        ((SAME, BETTER), "The model ranks better than activity (average precision +0.100, 90% interval"),
        ((WORSE, SAME), "The model ranks worse than activity (ROC-AUC −0.100, 90% interval −0.150 to −0.050): rank by"),
        (
            (BETTER, WORSE),
            "The model is better than ranking by activity in some metrics and worse in others (ROC-AUC +",
        ),
        ((NOTHING, NOTHING), "This run ranks by activity itself: train a model"),
    ],
)
def test_a_model_compared_with_activity(entries, start):
    assert sentence(*entries).startswith(start)


@pytest.mark.parametrize(
    ("entry", "start"),
    [
        (
            {"value": 0.7, "low": 0.6, "high": 0.8},
            "The model ranks better than chance (ROC-AUC 0.700, 90% interval 0.6",
        ),
        (
            {"value": 0.6, "low": 0.4, "high": 0.8},
            "The model cannot be told apart from chance (ROC-AUC 0.600, 90% inte",
        ),
        ({"value": 0.6, "low": None, "high": None, "too_few": True}, "Too few converters to tell whether"),
        ({"value": 0.6, "low": None, "high": None}, "Without intervals nobody can tell"),
    ],
)
def test_without_activity_the_model_is_compared_with_chance(entry, start):
    assert sentence(overall={"roc_auc": entry}).startswith(start)


@pytest.mark.parametrize(
    ("entry", "start"),
    [
        ({"value": 0.3, "low": 0.2, "high": 0.4}, "The model ranks worse than chance (ROC-AUC 0.300"),
        ({"value": 0.5, "low": 0.5, "high": 0.5}, "This run ranks by chance: train a model"),
    ],
)
def test_a_model_that_is_no_better_than_chance(entry, start):
    assert sentence(overall={"roc_auc": entry}).startswith(start)


@pytest.mark.parametrize("entries", [(BETTER, SAME), (None, None)])
def test_warnings_of_the_audit_come_before_a_promotion(entries):
    audit = {"checks": [{"name": "too_good", "status": "warn"}, {"name": "groups", "status": "pass"}]}
    overall = {"roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95}}
    text = sentence(*entries, overall=overall, audit=audit)
    assert "look at the audit's warning first (too good), then compare it with" in text
    assert "promote" not in text
    assert text.replace("look at the audit's warning first (too good), then ", "").endswith(".")
    assert "then promote it." in sentence(*entries, overall=overall)


def test_a_leak_comes_first():
    checks = [{"name": "embargo", "status": "fail"}, {"name": "too_good", "status": "warn"}]
    assert sentence(BETTER, BETTER, audit={"checks": checks}) == (
        "Fix the leak first: the audit failed (embargo), so the metrics are too good to be true."
    )


def test_a_model_as_good_as_activity_is_rarely_called_better():
    """Of models exactly as good as activity, about 1 in 20 is called better and 1 in 20 worse: two metrics decide."""
    said = [recommend(_null(seed), {}, "converters", "95%") for seed in range(60)]
    assert sum("ranks better" in text or "ranks worse" in text for text in said) <= 12
    assert sum("cannot be told apart" in text for text in said) >= 45


def _null(seed):
    generator = np.random.default_rng(seed)
    parts = []
    for fold in range(3):
        strength = generator.normal(size=200)
        label = (generator.random(200) < 1 / (1 + np.exp(2 - strength))).astype(int)
        first, second = (strength + generator.normal(size=200) for _ in range(2))
        parts.append(
            pd.DataFrame({"id": np.arange(200), "as_of": pd.Timestamp("2024-01-01"), "fold": fold, "label": label})
            .assign(label_complete=True, value=np.nan, activity=np.exp(second), score=first)
            .assign(probability=1 / (1 + np.exp(-first)))
        )
    frame = pd.concat(parts, ignore_index=True)
    return evaluate(frame, top_k=[10], bootstrap_resamples=100, confidence=0.95, seed=seed)
