"""Small synthetic runs to audit."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.data.panel import Panel
from mlsys.evaluation.audit import AuditSubject
from mlsys.evaluation.splits import Backtest, GroupKFold
from mlsys.features.base import FeatureInfo

HORIZON = 30
BACKTEST = Backtest(folds=3, horizon_days=HORIZON)
KEYS = ["id", "as_of", "label", "label_complete", "value", "activity", "group", "days_to_outcome", "days_known"]


@dataclass(frozen=True)
class Attributes:
    """A fake Rebuild that only has attributes."""

    features_by_attribute: dict[str, list[str]]


def accounts(count=150, as_ofs=8, seed=0):
    """Return the rows of a panel: converters are active and leave afterwards; two features are weakly predictive."""
    generator = np.random.default_rng(seed)
    parts, present = [], np.ones(count, dtype=bool)
    propensity = generator.normal(size=count)
    for number in range(as_ofs):
        activity = np.floor(np.exp(generator.normal(size=count) + 0.5 * propensity))
        converts = present & (generator.random(count) < 0.03 * activity * np.exp(propensity))
        part = pd.DataFrame(
            {
                "id": np.arange(count) + 1,
                "as_of": pd.Timestamp("2020-01-06") + pd.Timedelta(days=28 * number),
                "label": converts.astype(np.int8),
                "label_complete": True,
                "value": np.where(converts, np.round(generator.gamma(2, 100, count)), np.nan),
                "activity": activity,
                "group": np.arange(count) + 1,
                "days_to_outcome": np.where(converts, 1 + np.arange(count) % HORIZON, np.nan),
                "days_known": 1_000.0,
                "usage": activity + generator.normal(size=count),
                "size": np.round(np.exp(3 + 0.3 * propensity + generator.normal(size=count)), 2),
                "sector": np.array(["retail", "health", "finance"])[generator.integers(0, 3, count)],
            }
        )
        parts.append(part[present])
        present &= ~converts
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"as_of": "datetime64[us]"})


def leads(count=600, seed=0, **features):
    """Return the rows of a flat table without time; one feature is predictive."""
    generator = np.random.default_rng(seed)
    size = generator.normal(size=count)
    label = generator.random(count) < 1 / (1 + np.exp(1 - size))
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "as_of": pd.Series(pd.NaT, index=range(count), dtype="datetime64[us]"),
            "label": label.astype(np.int8),
            "label_complete": True,
            "value": np.nan,
            "activity": np.nan,
            "group": np.arange(count),
            "days_to_outcome": np.nan,
            "days_known": np.nan,
            "size": size,
            "source": np.array(["web", "fair"])[generator.integers(0, 2, count)],
            **features,
        }
    )


def audited(frame, *, split=BACKTEST, folds=None, score="size", **changes):
    """Return the subject of an audit, with one column as the score."""
    names = [name for name in frame.columns if name not in KEYS]
    kinds = ["number" if pd.api.types.is_numeric_dtype(frame[name]) else "category" for name in names]
    infos = tuple(FeatureInfo(name, kind, name) for name, kind in zip(names, kinds, strict=True))
    folds = split.split(frame) if folds is None else folds
    tested = np.concatenate([fold.test for fold in folds])
    scores = frame[score].to_numpy() if isinstance(score, str) else np.asarray(score)
    predictions = frame.iloc[tested][["id", "as_of", "label", "label_complete"]].assign(score=scores[tested])
    facts = {
        "horizon_days": HORIZON if frame["as_of"].notna().all() else 0,
        "rebuild": None,
        "refit": None,
        "forbidden": {},
        "seed": 0,
    }
    return AuditSubject(panel=Panel(frame, infos), folds=folds, predictions=predictions, **facts | changes)


def flat(frame, **changes):
    """Return the subject of an audit of a flat table, split at random by group."""
    return audited(frame, split=GroupKFold(folds=3), **changes)
