"""Comparison of runs: metrics with intervals, paired differences, settings, and agreement of the rankings."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mlsys.evaluation.comparison.candidates import Candidate, Gathered, LeftOut
from mlsys.evaluation.comparison.comparability import Comparability, check_comparable
from mlsys.evaluation.comparison.overlap import Agreement, agreement
from mlsys.evaluation.comparison.rows import Alignment, FloatArray, IntArray, joint_weights, with_weights
from mlsys.evaluation.formats import bounds, currency, point
from mlsys.evaluation.metric import Metric, Verdict
from mlsys.evaluation.metric_table import configured_objectives, find_metric, metric_names, split_name, table_order
from mlsys.evaluation.metrics import Entry, ScoreComparison, compare_scores
from mlsys.runs.config_diff import differing_keys

DEFAULT_RESAMPLES = 1000  # of the bootstrap, if the config of the reference does not set it
KEYS = string.ascii_uppercase


@dataclass(frozen=True)
class MetricSettings:
    """How to compute metrics: list lengths and bootstrap settings."""

    top_k: list[int]
    bootstrap_resamples: int
    seed: int
    confidence: float

    def __call__(self, rows: pd.DataFrame, scores: Sequence[str]) -> dict[str, ScoreComparison]:
        """Compute the metrics of scores, and their differences from the first score."""
        return compare_scores(
            rows,
            scores,
            top_k=self.top_k,
            bootstrap_resamples=self.bootstrap_resamples,
            seed=self.seed,
            confidence=self.confidence,
        )


@dataclass(frozen=True)
class ComparedRun:
    """One run, compared with the reference.

    Attributes
    ----------
    key : str
        Letter that identifies the run.
    candidate : Candidate
    comparability : Comparability
    metrics : dict of str to {"value", "low", "high"}
        Metrics on all its rows: as recorded, or computed now where not recorded.
    difference : dict of str to {"value", "low", "high"}
        Its metrics minus the reference's, on the rows that both scored; empty if they cannot be compared.
    on_shared : dict of str to {"value", "low", "high"}
        Its metrics on those rows.
    """

    key: str
    candidate: Candidate
    comparability: Comparability
    metrics: dict[str, Entry]
    difference: dict[str, Entry] = field(default_factory=dict)
    on_shared: dict[str, Entry] = field(default_factory=dict)

    def metric(self, name: str) -> Metric:
        """Return the row of a metric, which writes amounts in the run's currency."""
        return find_metric(name, "positives", currency(self.candidate.config))

    def better(self, metric: str) -> Verdict:
        """Return whether a metric is better or worse than the reference's, or the same; empty if not compared."""
        is_reference = self.comparability.level == "reference"
        return "" if is_reference else split_name(metric)[0].verdict(self.difference.get(metric))


@dataclass(frozen=True)
class Comparison:
    """Several runs, the reference first.

    Attributes
    ----------
    runs : list of ComparedRun
    left_out : list of LeftOut
    metrics : list of str
        Metrics of any run, headline metrics first.
    headline : list of str
        Metrics to show first.
    settings : dict of str to list
        Config keys that differ, with each run's value.
    agreements : dict of (int, int) to Agreement
        For each pair of runs that share rows and can be compared.
    top_k : list of int
        The list lengths k.
    common : dict of int to ndarray of int
        For each comparable run, the positions of the rows that all comparable runs share; empty if there are none.
    sorted_by : str or None
        See `Gathered`.
    selected_from : int
        See `Gathered`.
    bootstrap_resamples : int
    confidence : float
        Confidence level of the intervals.
    common_weights : ndarray of float64 or None
        How many rows each of the rows in `common` stands for; see `joint_weights`.
    """

    runs: list[ComparedRun]
    left_out: list[LeftOut]
    metrics: list[str]
    headline: list[str]
    settings: dict[str, list[Any]]
    agreements: dict[tuple[int, int], Agreement]
    top_k: list[int]
    common: Mapping[int, IntArray]
    sorted_by: str | None
    selected_from: int
    bootstrap_resamples: int
    confidence: float
    common_weights: FloatArray | None = None

    @property
    def reference(self) -> ComparedRun:
        """The run that all others are compared with."""
        return self.runs[0]

    @property
    def is_complete(self) -> bool:
        """Whether all runs that the user named could be compared."""
        comparable = all(run.comparability.level != "no" for run in self.runs)
        return comparable and not any(left.named for left in self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON."""
        return {
            "reference": self.reference.candidate.path,
            "runs": [_run_dict(run) for run in self.runs],
            "left_out": [asdict(left) for left in self.left_out],
            "settings": {
                key: {run.key: value for run, value in zip(self.runs, values, strict=True)}
                for key, values in self.settings.items()
            },
            "agreement": [
                {"first": self.runs[first].key, "second": self.runs[second].key, **asdict(found)}
                for (first, second), found in self.agreements.items()
            ],
            "sorted_by": self.sorted_by,
            "selected_from": self.selected_from,
            "bootstrap_resamples": self.bootstrap_resamples,
            "confidence": self.confidence,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each metric and run, for CSV."""
        return [
            {"metric": metric, "run": run.key, "name": run.candidate.name, "path": run.candidate.path}
            | _entry(run.metrics.get(metric))
            | {f"difference{'_' if part else ''}{part}": value for part, value in _difference(run, metric).items()}
            | {"verdict": run.better(metric), "comparable": run.comparability.level}
            for metric in self.metrics
            for run in self.runs
        ]


def compare(gathered: Gathered, *, bootstrap_resamples: int | None = None) -> Comparison:
    """Compare runs with the first one.

    Parameters
    ----------
    gathered : Gathered
        At least two candidates.
    bootstrap_resamples : int, optional
        Number of resamples of the bootstrap clustered on entity; by default that of the reference's config.
    """
    candidates = gathered.candidates
    measure = _metric_settings(candidates, bootstrap_resamples)
    known = [index for index, candidate in enumerate(candidates) if candidate.predictions is not None]
    positions = {index: position for position, index in enumerate(known)}
    frames = [frame for candidate in candidates if (frame := candidate.predictions) is not None]
    alignment = Alignment(frames) if len(frames) > 1 else None
    checks = [check_comparable(candidates, index, alignment, positions) for index in range(len(candidates))]
    paired = _paired_comparisons(candidates, checks, measure)
    measured = [
        _metrics(candidate, measure, paired.get(index) if check.level == "fully" else None)
        for index, (candidate, check) in enumerate(zip(candidates, checks, strict=True))
    ]
    runs = [
        ComparedRun(
            KEYS[index],
            candidate,
            check,
            measured[index],
            _in_both(paired[index].difference, measured[0], measured[index]) if index in paired else {},
            paired[index].overall if index in paired else {},
        )
        for index, (candidate, check) in enumerate(zip(candidates, checks, strict=True))
    ]
    metrics = _ordered([name for run in runs for name in run.metrics], candidates[0].config)
    usable = [index for index in known if checks[index].level != "no"]
    common = _common(usable, alignment, positions)
    return Comparison(
        runs=runs,
        left_out=gathered.left_out,
        metrics=metrics,
        headline=_headline(metrics),
        settings=differing_keys([candidate.config for candidate in candidates]),
        agreements=_agreements(candidates, usable, alignment, positions, measure.top_k),
        top_k=measure.top_k,
        common=common,
        common_weights=_shared_weights(candidates, common),
        sorted_by=gathered.sorted_by,
        selected_from=gathered.selected_from,
        bootstrap_resamples=measure.bootstrap_resamples,
        confidence=measure.confidence,
    )


def _metric_settings(candidates: Sequence[Candidate], bootstrap_resamples: int | None) -> MetricSettings:
    config = candidates[0].config
    options = config.get("metrics") or {}
    number = (
        int(options.get("bootstrap_resamples") or DEFAULT_RESAMPLES)
        if bootstrap_resamples is None
        else bootstrap_resamples
    )
    top_k = sorted({k for candidate in candidates for k in _list_lengths(candidate.metrics)})
    return MetricSettings(top_k, number, int(config.get("seed") or 0), float(options.get("confidence") or 0.95))


def _paired_comparisons(
    candidates: Sequence[Candidate], checks: Sequence[Comparability], measure: MetricSettings
) -> dict[int, ScoreComparison]:
    """Compare each comparable run with the reference; runs that share the same rows with it are computed together."""
    reference = candidates[0].predictions
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    weights: dict[int, FloatArray | None] = {}
    for index, check in enumerate(checks):
        if check.shared is not None:
            positions = {0: check.shared.first, index: check.shared.second}
            found_weights = weights[index] = _shared_weights(candidates, positions)
            key = (check.shared.first.tobytes(), b"" if found_weights is None else found_weights.tobytes())
            groups.setdefault(key, []).append(index)
    found: dict[int, ScoreComparison] = {}
    for members in groups.values():
        assert reference is not None
        rows = with_weights(_scores(reference, candidates, checks, members), weights[members[0]])
        measured = measure(rows, ["0", *map(str, members)])
        found |= {index: measured[str(index)] for index in members}
    return found


def _scores(
    reference: pd.DataFrame, candidates: Sequence[Candidate], checks: Sequence[Comparability], members: Sequence[int]
) -> pd.DataFrame:
    """Return the rows that some runs share with the reference, with one column of probabilities per run."""
    first = checks[members[0]].shared
    assert first is not None
    columns = [name for name in ("id", "fold", "label", "value") if name in reference]
    rows = reference.iloc[first.first][columns].reset_index(drop=True)
    scores = {"0": reference["probability"].to_numpy()[first.first]}
    for index in members:
        theirs, shared = candidates[index].predictions, checks[index].shared
        assert theirs is not None
        assert shared is not None
        scores[str(index)] = theirs["probability"].to_numpy()[shared.second]
    return rows.assign(**scores)


def _shared_weights(candidates: Sequence[Candidate], positions: Mapping[int, IntArray]) -> FloatArray | None:
    """Return how many rows each of the rows stands for that some runs share; see `joint_weights`."""
    runs = [(candidates[index], rows) for index, rows in positions.items()]
    shared = [run.predictions.iloc[rows] for run, rows in runs if run.predictions is not None]
    return joint_weights(shared, [run.sample_seed for run, _ in runs if run.predictions is not None])


def _metrics(candidate: Candidate, measure: MetricSettings, measured: ScoreComparison | None) -> dict[str, Entry]:
    """Return the recorded metrics, plus missing ones: intervals of a trial, and list lengths that other runs have.

    ``measured`` has the metrics on all rows if they were computed already.
    """
    overall: dict[str, Entry] = {name: _entry(value) for name, value in candidate.metrics.get("overall", {}).items()}
    missing = [name for name in metric_names(measure.top_k) if bounds(overall.get(name)) is None]
    if candidate.predictions is None or not any(_can_be_measured(name, overall) for name in missing):
        return overall
    found = measured or measure(candidate.predictions, ["probability"])["probability"]
    return overall | {name: found.overall[name] for name in missing if name in found.overall}


def _in_both(difference: dict[str, Entry], ours: Mapping[str, Entry], theirs: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the differences of metrics that both runs have: revenue may be unknown to one of them."""
    return {
        name: entry
        for name, entry in difference.items()
        if point(ours.get(name)) is not None and point(theirs.get(name)) is not None
    }


def _can_be_measured(name: str, overall: Mapping[str, Entry]) -> bool:
    """Return whether a metric can be computed: one recorded as undefined stays undefined."""
    return name not in overall or point(overall[name]) is not None


def _entry(value: object) -> Entry:
    low, high = bounds(value) or (None, None)
    return {"value": point(value), "low": low, "high": high}


def _list_lengths(metrics: Mapping[str, Any]) -> set[int]:
    return {k for name in metrics.get("overall", {}) if (k := split_name(name)[1]) is not None}


def _ordered(names: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Sort metrics: objectives first, then headline metrics, then the rest in the order of the metric table."""
    first = configured_objectives(config)

    def order(name: str) -> tuple[int, bool, tuple[int, int]]:
        position = first.index(name) if name in first else len(first)
        return position, not split_name(name)[0].headline, table_order(name)

    return sorted(dict.fromkeys(names), key=order)


def _headline(metrics: Sequence[str]) -> list[str]:
    """Return the metrics to show first: objective and headline metrics; a top-k metric with its first k only."""
    chosen: dict[str, str] = {}
    for number, name in enumerate(metrics):
        row, _ = split_name(name)
        if number == 0 or row.headline:
            chosen.setdefault(row.name, name)
    return list(chosen.values())


def _agreements(
    candidates: Sequence[Candidate],
    usable: Sequence[int],
    alignment: Alignment | None,
    positions: Mapping[int, int],
    top_k: Sequence[int],
) -> dict[tuple[int, int], Agreement]:
    found = {}
    for first, second in combinations(usable, 2):
        assert alignment is not None
        ours, theirs = candidates[first].predictions, candidates[second].predictions
        shared = alignment.shared(positions[first], positions[second])
        if not len(shared) or ours is None or theirs is None:
            continue
        fold = ours["fold"].to_numpy()[shared.first]
        scores = [
            rows["probability"].to_numpy(dtype=np.float64)[where]
            for rows, where in ((ours, shared.first), (theirs, shared.second))
        ]
        parts = [[column[fold == number] for number in np.unique(fold)] for column in scores]
        found[first, second] = agreement(parts[0], parts[1], top_k)
    return found


def _common(usable: Sequence[int], alignment: Alignment | None, positions: Mapping[int, int]) -> dict[int, IntArray]:
    if alignment is None or len(usable) < 2:
        return {}
    rows = alignment.common([positions[index] for index in usable])
    return dict(zip(usable, rows, strict=True)) if len(rows[0]) else {}


def _run_dict(run: ComparedRun) -> dict[str, Any]:
    candidate = run.candidate
    return {
        "key": run.key,
        "name": candidate.name,
        "path": candidate.path,
        "status": candidate.status,
        "choices": dict(candidate.config.get("choices") or {}),
        "comparable": run.comparability.level,
        "reasons": list(run.comparability.reasons),
        "rows": None if candidate.predictions is None else len(candidate.predictions),
        "shared_rows": None if run.comparability.shared is None else len(run.comparability.shared),
        "metrics": run.metrics,
        "difference": run.difference,
        "on_shared_rows": run.on_shared,
        "folds": list(candidate.metrics.get("folds") or []),
        "cost": {
            "fit_seconds": candidate.fit_seconds,
            "total_seconds": candidate.total_seconds,
            "predict_ms_per_1000_rows": candidate.predict_ms,
            "model_bytes": candidate.model_bytes,
        },
    }


def _difference(run: ComparedRun, metric: str) -> dict[str, float | None]:
    found = _entry(run.difference.get(metric))
    return {"": found["value"], "low": found["low"], "high": found["high"]}
