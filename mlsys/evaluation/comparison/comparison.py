"""Runs side by side: metrics with intervals, paired differences, settings, and how far their rankings agree."""

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
from mlsys.evaluation.comparison.rows import Alignment, IntArray
from mlsys.evaluation.formats import bounds, point
from mlsys.evaluation.metric_table import greater_is_better, metric_names, split_name, table_position
from mlsys.evaluation.metrics import Entry, ScoreComparison, compare_scores
from mlsys.runs.config_diff import differing_keys

DEFAULT_RESAMPLES = 1000  # of the bootstrap, where the reference has none of its own
KEYS = string.ascii_uppercase


@dataclass(frozen=True)
class MetricSettings:
    """How metrics are measured: list lengths, and the bootstrap."""

    top_k: list[int]
    bootstrap_resamples: int
    seed: int
    confidence: float

    def __call__(self, rows: pd.DataFrame, scores: Sequence[str]) -> dict[str, ScoreComparison]:
        """Measure scores beside the first of them."""
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
    """One run beside the reference.

    Attributes
    ----------
    key : str
        The letter that stands for it.
    candidate : Candidate
    verdict : Comparability
    metrics : dict of str to {"value", "low", "high"}
        On all rows that it scored: as it recorded them, and measured now where it did not.
    difference : dict of str to {"value", "low", "high"}
        Its metrics minus the reference's on the rows that both scored; empty where they cannot be compared.
    on_shared : dict of str to {"value", "low", "high"}
        Its own metrics on those rows.
    """

    key: str
    candidate: Candidate
    verdict: Comparability
    metrics: dict[str, Entry]
    difference: dict[str, Entry] = field(default_factory=dict)
    on_shared: dict[str, Entry] = field(default_factory=dict)

    def better(self, metric: str) -> str:
        """Return whether it is better or worse than the reference, or cannot be told apart; empty if not compared."""
        ends = bounds(self.difference.get(metric))
        if self.verdict.level == "reference" or ends is None:
            return ""
        if ends[0] <= 0 <= ends[1]:
            return "same"
        return "better" if (ends[0] > 0) == greater_is_better(metric) else "worse"


@dataclass(frozen=True)
class Comparison:
    """Several runs, the reference first.

    Attributes
    ----------
    runs : list of ComparedRun
    left_out : list of LeftOut
    metrics : list of str
        Of all runs, those that people look at first first.
    headline : list of str
        The first of them.
    settings : dict of str to list
        Config keys that differ, with each run's value.
    agreements : dict of (int, int) to Agreement
        For each two runs that share rows and can be compared.
    top_k : list of int
        The list lengths k.
    common : dict of int to ndarray of int
        For each run that can be compared, the rows that all such runs share; empty where there are none.
    sorted_by : str or None
    tried, draws : int
    confidence : float
        Share of the draws inside an interval.
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

    @property
    def reference(self) -> ComparedRun:
        """The run that all others are compared with."""
        return self.runs[0]

    @property
    def is_whole(self) -> bool:
        """Whether every run that was named is compared."""
        return all(run.verdict.level != "no" for run in self.runs) and not any(left.named for left in self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
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
            | _ends(run.metrics.get(metric))
            | {f"difference{'_' if part else ''}{part}": value for part, value in _difference(run, metric).items()}
            | {"verdict": run.better(metric), "comparable": run.verdict.level}
            for metric in self.metrics
            for run in self.runs
        ]


def compare(gathered: Gathered, *, bootstrap_resamples: int | None = None) -> Comparison:
    """Compare runs with the first of them.

    Parameters
    ----------
    gathered : Gathered
        At least two candidates.
    bootstrap_resamples : int, optional
        Samples of the bootstrap clustered on entity; by default as many as the reference's own config says.
    """
    candidates = gathered.candidates
    measure = _measuring(candidates, bootstrap_resamples)
    known = [index for index, candidate in enumerate(candidates) if candidate.predictions is not None]
    place = {index: position for position, index in enumerate(known)}
    frames = [frame for candidate in candidates if (frame := candidate.predictions) is not None]
    alignment = Alignment(frames) if len(frames) > 1 else None
    verdicts = [check_comparable(candidates, index, alignment, place) for index in range(len(candidates))]
    beside = _side_by_side(candidates, verdicts, measure)
    runs = [
        ComparedRun(
            KEYS[index],
            candidate,
            verdict,
            _metrics(candidate, measure, beside.get(index) if verdict.level == "fully" else None),
            beside[index].difference if index in beside else {},
            beside[index].overall if index in beside else {},
        )
        for index, (candidate, verdict) in enumerate(zip(candidates, verdicts, strict=True))
    ]
    metrics = _ordered([name for run in runs for name in run.metrics], candidates[0].config)
    usable = [index for index in known if verdicts[index].level != "no"]
    return Comparison(
        runs=runs,
        left_out=gathered.left_out,
        metrics=metrics,
        headline=_headline(metrics),
        settings=differing_keys([candidate.config for candidate in candidates]),
        agreements=_agreements(candidates, usable, alignment, place, measure.top_k),
        top_k=measure.top_k,
        common=_common(usable, alignment, place),
        sorted_by=gathered.sorted_by,
        selected_from=gathered.selected_from,
        bootstrap_resamples=measure.bootstrap_resamples,
        confidence=measure.confidence,
    )


def _measuring(candidates: Sequence[Candidate], bootstrap_resamples: int | None) -> MetricSettings:
    config = candidates[0].config
    options = config.get("metrics") or {}
    number = (
        int(options.get("bootstrap_resamples") or DEFAULT_RESAMPLES)
        if bootstrap_resamples is None
        else bootstrap_resamples
    )
    top_k = sorted({k for candidate in candidates for k in _at(candidate.metrics)})
    return MetricSettings(top_k, number, int(config.get("seed") or 0), float(options.get("confidence") or 0.95))


def _side_by_side(
    candidates: Sequence[Candidate], verdicts: Sequence[Comparability], measure: MetricSettings
) -> dict[int, ScoreComparison]:
    """Measure each comparable run beside the reference; those that share the same rows with it in one go."""
    reference = candidates[0].predictions
    groups: dict[bytes, list[int]] = {}
    for index, verdict in enumerate(verdicts):
        if verdict.shared is not None:
            groups.setdefault(verdict.shared.first.tobytes(), []).append(index)
    found: dict[int, ScoreComparison] = {}
    for members in groups.values():
        assert reference is not None
        rows = _scores(reference, candidates, verdicts, members)
        measured = measure(rows, ["0", *map(str, members)])
        found |= {index: measured[str(index)] for index in members}
    return found


def _scores(
    reference: pd.DataFrame, candidates: Sequence[Candidate], verdicts: Sequence[Comparability], members: Sequence[int]
) -> pd.DataFrame:
    """Return the rows that some runs share with the reference, with everybody's probability in a column of its own."""
    first = verdicts[members[0]].shared
    assert first is not None
    columns = [name for name in ("id", "fold", "label", "value") if name in reference]
    rows = reference.iloc[first.first][columns].reset_index(drop=True)
    scores = {"0": reference["probability"].to_numpy()[first.first]}
    for index in members:
        theirs, shared = candidates[index].predictions, verdicts[index].shared
        assert theirs is not None
        assert shared is not None
        scores[str(index)] = theirs["probability"].to_numpy()[shared.second]
    return rows.assign(**scores)


def _metrics(candidate: Candidate, measure: MetricSettings, measured: ScoreComparison | None) -> dict[str, Entry]:
    """Return what a run recorded, and what is missing there: intervals of a trial, the list lengths of others.

    ``measured`` is what is known of all its rows already.
    """
    overall: dict[str, Entry] = {name: _entry(value) for name, value in candidate.metrics.get("overall", {}).items()}
    wanted = [name for name in metric_names(measure.top_k) if bounds(overall.get(name)) is None]
    if candidate.predictions is None or not any(_can_be_measured(name, overall) for name in wanted):
        return overall
    found = measured or measure(candidate.predictions, ["probability"])["probability"]
    return overall | {name: found.overall[name] for name in wanted if name in found.overall}


def _can_be_measured(name: str, overall: Mapping[str, Entry]) -> bool:
    """Return whether measuring could add something: a metric that the run found undefined stays so."""
    return name not in overall or point(overall[name]) is not None


def _entry(value: object) -> Entry:
    ends = bounds(value) or (None, None)
    return {"value": point(value), "low": ends[0], "high": ends[1]}


def _at(metrics: Mapping[str, Any]) -> set[int]:
    return {k for name in metrics.get("overall", {}) if (k := split_name(name)[1]) is not None}


def _ordered(names: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Order metrics: what was optimised first, then the headline metrics, both in the order of the table."""
    objective = config.get("objective")
    first = [objective] if isinstance(objective, str) else list(objective or [])

    def place(name: str) -> tuple[int, bool, tuple[int, int]]:
        wanted = first.index(name) if name in first else len(first)
        return wanted, not split_name(name)[0].headline, table_position(name)

    return sorted(dict.fromkeys(names), key=place)


def _headline(metrics: Sequence[str]) -> list[str]:
    """Return the metrics to show first: the objective and the headline metrics, of a top-k metric the first k."""
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
    place: Mapping[int, int],
    top_k: Sequence[int],
) -> dict[tuple[int, int], Agreement]:
    found = {}
    for first, second in combinations(usable, 2):
        assert alignment is not None
        ours, theirs = candidates[first].predictions, candidates[second].predictions
        shared = alignment.shared(place[first], place[second])
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


def _common(usable: Sequence[int], alignment: Alignment | None, place: Mapping[int, int]) -> dict[int, IntArray]:
    if alignment is None or len(usable) < 2:
        return {}
    rows = alignment.common([place[index] for index in usable])
    return dict(zip(usable, rows, strict=True)) if len(rows[0]) else {}


def _run_dict(run: ComparedRun) -> dict[str, Any]:
    candidate = run.candidate
    return {
        "key": run.key,
        "name": candidate.name,
        "path": candidate.path,
        "status": candidate.status,
        "choices": dict(candidate.config.get("choices") or {}),
        "comparable": run.verdict.level,
        "reasons": list(run.verdict.reasons),
        "rows": None if candidate.predictions is None else len(candidate.predictions),
        "shared_rows": None if run.verdict.shared is None else len(run.verdict.shared),
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


def _ends(entry: object) -> dict[str, float | None]:
    low, high = bounds(entry) or (None, None)
    return {"value": point(entry), "low": low, "high": high}


def _difference(run: ComparedRun, metric: str) -> dict[str, float | None]:
    found = _ends(run.difference.get(metric))
    return {"": found["value"], "low": found["low"], "high": found["high"]}
