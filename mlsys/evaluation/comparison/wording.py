"""What a comparison says, in words: the same on the terminal and on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison
from mlsys.evaluation.formats import MISSING, bounds, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.runs.config_diff import ABSENT

LEVELS: Mapping[str, str] = {
    "reference": "compared with",
    "fully": "on all rows",
    "partly": "in part",
    "no": "not comparable",
}
ROUNDING = 1e-12  # smaller differences are sums in another order


def difference(metric: str, entry: object) -> str:
    """Write a difference with its sign; what is only rounding has none.

    Examples
    --------
    >>> difference("roc_auc", 0.0131), difference("precision@10", {"value": -5e-19, "low": None, "high": None})
    ('+0.013', '0')
    """
    value = point(entry)
    if value is not None and abs(value) < ROUNDING:
        return "0"
    return find_metric(metric).difference(value)


def in_short(comparison: Comparison) -> list[str]:
    """Return a sentence for each metric that matters most: who is better than the reference, who worse."""
    return [sentence for name in comparison.headline if (sentence := _in_short(comparison, name))]


def _in_short(comparison: Comparison, name: str) -> str:
    verdicts: dict[str, list[ComparedRun]] = {}
    for run in comparison.runs[1:]:
        if verdict := run.better(name):
            verdicts.setdefault(verdict, []).append(run)
    if not verdicts:
        return ""
    parts = []
    for verdict, word in (("better", "is better"), ("worse", "is worse")):
        parts += [
            f"{run.key} {word} ({difference(name, run.difference[name])}, {_between(run, name)})"
            for run in verdicts.get(verdict, [])[:3]
        ]
        more = len(verdicts.get(verdict, [])) - 3
        parts += [f"{more} more {'are' if more > 1 else 'is'} {verdict}"] if more > 0 else []
    same = [run.key for run in verdicts.get("same", [])]
    if same:
        parts.append(f"{joined(same)} cannot be told apart from {comparison.reference.key}")
    return f"{find_metric(name).title}: {'; '.join(parts)}."


def _between(run: ComparedRun, name: str) -> str:
    low, high = bounds(run.difference[name]) or (None, None)
    return f"{difference(name, low)} to {difference(name, high)}"


def caveats(comparison: Comparison) -> list[str]:
    """Return what to keep in mind before acting on the comparison."""
    return list(_caveats(comparison))


def _caveats(comparison: Comparison) -> Iterator[str]:
    for reasons, runs in _by_reasons(comparison, ("no",)).items():
        who, whose = joined(runs), "Its" if len(runs) == 1 else "Their"
        yield (
            f"{who} cannot be compared with {comparison.reference.key}: {reasons}. {whose} own numbers, settings and "
            "costs are shown, but no difference."
        )
    for reasons, runs in _by_reasons(comparison, ("fully", "partly")).items():
        yield f"{joined(runs)}: {reasons}."
    shares = {_confidence(run) for run in comparison.runs} - {None, comparison.confidence}
    if shares:
        others = " and ".join(f"{share:.0%}" for share in shares if share)
        yield f"Some runs recorded intervals of {others}, which stand beside those of {comparison.confidence:.0%}."
    compared = sum(run.verdict.level in ("fully", "partly") for run in comparison.runs)
    if comparison.selected_from > 1 and comparison.sorted_by:
        name = find_metric(comparison.sorted_by).in_a_sentence
        yield (
            f"The first is the best of {comparison.selected_from} runs by {name}, on the rows that chose it: its "
            "lead is partly luck, and smaller on new data."
        )
    if compared > 2:
        yield (
            f"These are {compared} comparisons for each metric: of runs that are all alike, about one in twenty would "
            "still look different."
        )
    if compared and not comparison.bootstrap_resamples:
        yield "There are no intervals, since the bootstrap has no draws: which differences are luck cannot be told."


def _by_reasons(comparison: Comparison, levels: Sequence[str]) -> dict[str, list[str]]:
    """Return the runs of some levels by what is said of them."""
    found: dict[str, list[str]] = {}
    for run in comparison.runs[1:]:
        if run.verdict.level in levels and run.verdict.reasons:
            found.setdefault("; ".join(run.verdict.reasons), []).append(run.key)
    return found


def joined(words: Sequence[str]) -> str:
    """Write a list as a sentence does.

    Examples
    --------
    >>> joined(["A"]), joined(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _confidence(run: ComparedRun) -> float | None:
    value = (run.candidate.config.get("metrics") or {}).get("confidence")
    return None if value is None else float(value)


def setting(value: object) -> str:
    """Write one value of a config.

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
    """Write a time.

    Examples
    --------
    >>> seconds_text(0.184), seconds_text(12.3), seconds_text(754), seconds_text(None)
    ('0.18 s', '12 s', '13 min', '–')
    """
    if value is None:
        return MISSING
    return f"{value / 60:.0f} min" if value >= 300 else f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def bytes_text(value: int | None) -> str:
    """Write a size.

    Examples
    --------
    >>> bytes_text(900), bytes_text(71_851), bytes_text(3_456_789)
    ('1 kB', '72 kB', '3.5 MB')
    """
    if value is None:
        return MISSING
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{max(value / 1e3, 1):.0f} kB"
