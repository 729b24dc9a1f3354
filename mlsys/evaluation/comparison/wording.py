"""The sentences and number formats of a comparison, shared by the terminal and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison
from mlsys.evaluation.formats import MISSING, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.runs.config_diff import ABSENT
from mlsys.text import is_or_are, joined

LEVELS: Mapping[str, str] = {
    "reference": "reference",
    "fully": "all rows",
    "partly": "shared rows",
    "no": "not comparable",
}


def findings(comparison: Comparison) -> list[str]:
    """Return a sentence for each headline metric: which runs are better or worse than the reference."""
    return [sentence for name in comparison.headline if (sentence := _finding(comparison, name))]


def _finding(comparison: Comparison, name: str) -> str:
    verdicts: dict[str, list[ComparedRun]] = {}
    for run in comparison.runs[1:]:
        if verdict := run.better(name):
            verdicts.setdefault(verdict, []).append(run)
    if not verdicts:
        return ""
    parts = []
    for verdict, word in (("better", "is better"), ("worse", "is worse")):
        parts += [f"{run.key} {word} ({_gap(run, comparison, name)})" for run in verdicts.get(verdict, [])[:3]]
        more = len(verdicts.get(verdict, [])) - 3
        parts += [f"{more} more {is_or_are(more)} {verdict}"] if more > 0 else []
    same = [run.key for run in verdicts.get("same", [])]
    if same:
        verb = "does" if len(same) == 1 else "do"
        parts.append(f"{joined(same)} {verb} not clearly differ from {comparison.reference.key}")
    return f"{find_metric(name).title}: {'; '.join(parts)}."


def _gap(run: ComparedRun, comparison: Comparison, name: str) -> str:
    metric, entry = comparison.reference.metric(name), run.difference[name]
    return (
        f"difference {metric.difference(point(entry))}, {comparison.confidence:.0%} interval "
        f"{metric.difference_interval(entry)}"
    )


def caveats(comparison: Comparison) -> list[str]:
    """Return the caveats to keep in mind before acting on the comparison."""
    return list(_caveats(comparison))


def _caveats(comparison: Comparison) -> Iterator[str]:
    for reasons, runs in _by_reasons(comparison, ("no",)).items():
        whose = "its" if len(runs) == 1 else "their"
        yield (
            f"{joined(runs)} cannot be compared with {comparison.reference.key}: {reasons}. Only {whose} own metrics, "
            "settings and costs are shown."
        )
    for reasons, runs in _by_reasons(comparison, ("fully", "partly")).items():
        yield f"{joined(runs)}: {reasons}."
    levels = {_confidence(run) for run in comparison.runs} - {None, comparison.confidence}
    if levels:
        others = joined([f"{level:.0%}" for level in sorted(level for level in levels if level)])
        yield f"Some runs recorded {others} intervals; all other intervals are {comparison.confidence:.0%}."
    compared = sum(run.comparability.level in ("fully", "partly") for run in comparison.runs)
    if comparison.selected_from > 1 and comparison.sorted_by:
        name = find_metric(comparison.sorted_by).in_a_sentence
        yield (
            f"{comparison.reference.key} is the best of {comparison.selected_from} runs by {name} on these same rows: "
            "part of its lead is luck, so expect a smaller one on new data."
        )
    if compared > 2:
        yield (
            f"These are {compared} comparisons per metric: even between equally good runs, about 1 in "
            f"{1 / (1 - comparison.confidence):.0f} shows a clear difference by chance."
        )
    if compared and not comparison.bootstrap_resamples:
        yield "There are no intervals, because there are no bootstrap resamples: any difference may be due to chance."


def _by_reasons(comparison: Comparison, levels: Sequence[str]) -> dict[str, list[str]]:
    """Group the runs with these levels by their reasons."""
    found: dict[str, list[str]] = {}
    for run in comparison.runs[1:]:
        if run.comparability.level in levels and run.comparability.reasons:
            found.setdefault("; ".join(run.comparability.reasons), []).append(run.key)
    return found


def _confidence(run: ComparedRun) -> float | None:
    value = (run.candidate.config.get("metrics") or {}).get("confidence")
    return None if value is None else float(value)


def setting(value: object) -> str:
    """Format a config value.

    Examples
    --------
    >>> setting(0.25), setting(["a", 1]), setting(None), setting("(absent)")
    ('0.25', 'a, 1', 'null', '–')
    """
    if value == ABSENT:
        return MISSING
    if isinstance(value, list) and all(not isinstance(entry, list | dict) for entry in value):
        return ", ".join(map(setting, value)) or "[]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def seconds_text(value: float | None) -> str:
    """Format a duration.

    Examples
    --------
    >>> seconds_text(0.184), seconds_text(12.3), seconds_text(754), seconds_text(None)
    ('0.18 s', '12 s', '13 min', '–')
    """
    if value is None:
        return MISSING
    return f"{value / 60:.0f} min" if value >= 300 else f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def bytes_text(value: int | None) -> str:
    """Format a file size.

    Examples
    --------
    >>> bytes_text(900), bytes_text(71_851), bytes_text(3_456_789)
    ('1 kB', '72 kB', '3.5 MB')
    """
    if value is None:
        return MISSING
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{max(value / 1e3, 1):.0f} kB"
