"""The terminal output of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison
from mlsys.evaluation.comparison.wording import (
    LEVELS,
    bytes_text,
    caveats,
    findings,
    seconds_text,
    setting,
)
from mlsys.evaluation.formats import percent, point
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import METRICS, PREDICT_MS
from mlsys.terminal import Terminal

MAX_SETTINGS = 30  # rows in the table of settings
MAX_DETAILED = 3  # runs for which all metrics are shown; for more, only the headline metrics
STYLES = {"better": "green", "worse": "red", "same": "dim", "": ""}
VERDICTS = {"better": "better", "worse": "worse", "same": "unclear", "": ""}


def show(console: Terminal, comparison: Comparison, metrics: Sequence[str] | None = None) -> None:
    """Print a comparison.

    Parameters
    ----------
    console : Terminal
    comparison : Comparison
    metrics : sequence of str, optional
        Metrics to show; by default all for up to three runs, else the headline metrics.
    """
    chosen = metrics or (comparison.metrics if len(comparison.runs) <= MAX_DETAILED else comparison.headline)
    tables = [_runs(comparison), _numbers(comparison, chosen)]
    tables += [_settings(comparison)] if comparison.settings else []
    tables += [_agreements(comparison)] if comparison.agreements else []
    for table in tables:
        console.print_wide(table)
        console.print()
    for title, lines in (("In short", findings(comparison)), ("Before you rely on it", caveats(comparison))):
        if lines:
            console.print(title, style="bold")
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if comparison.left_out:
        console.print("Left out", style="bold")
        for left in comparison.left_out:
            console.print(f"  {left.path}: {left.reason}", highlight=False, markup=False, soft_wrap=True)


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def _runs(comparison: Comparison) -> Table:
    order = f", best {comparison.sorted_by} first" if comparison.sorted_by else ""
    table = _table(f"Runs{order}", "", "run", "compared on", "fit time", "run time", "1,000 rows", "model size", "path")
    for run in comparison.runs:
        candidate = run.candidate
        times = (
            seconds_text(candidate.fit_seconds),
            seconds_text(candidate.total_seconds),
            METRICS[PREDICT_MS].write(candidate.predict_ms),
        )
        cells = (
            run.key,
            candidate.name,
            LEVELS[run.comparability.level],
            *times,
            bytes_text(candidate.model_bytes),
            candidate.path,
        )
        table.add_row(*cells)
    return table


def _numbers(comparison: Comparison, metrics: Sequence[str]) -> Table:
    key = comparison.reference.key
    interval = f"{comparison.confidence:.0%} interval"
    columns = ("metric", "", "value", interval, f"minus {key}", f"{interval} ", "")
    table = _table("Metrics", *columns, right=("value", f"minus {key}"))
    for name in metrics:
        for run in comparison.runs:
            title = name if run is comparison.reference else ""
            cells = _cells(run, comparison.reference.metric(name), name, title)
            table.add_row(*cells, style=STYLES[run.better(name)])
    return table


def _cells(run: ComparedRun, reference: Metric, name: str, title: str) -> tuple[str, ...]:
    metric, entry, gap = run.metric(name), run.metrics.get(name), run.difference.get(name)
    shown = reference.difference(point(gap)) if gap and run.comparability.level != "reference" else ""
    recorded = (metric.write(point(entry)), metric.interval(entry))
    return title, run.key, *recorded, shown, reference.difference_interval(gap), VERDICTS[run.better(name)]


def _settings(comparison: Comparison) -> Table:
    table = _table("Settings that differ", "key", *(run.key for run in comparison.runs))
    for key, values in list(comparison.settings.items())[:MAX_SETTINGS]:
        table.add_row(key, *map(setting, values))
    if len(comparison.settings) > MAX_SETTINGS:
        table.add_row(f"… and {len(comparison.settings) - MAX_SETTINGS} more; use --html or --json to see all")
    return table


def _agreements(comparison: Comparison) -> Table:
    columns = ["", *(f"top {k} in common" for k in comparison.top_k), "rank correlation"]
    table = _table(f"Agreement with {comparison.reference.key}", *columns, right=columns[1:])
    for (first, second), pair in comparison.agreements.items():
        if first == 0:
            correlation = "" if pair.correlation is None else f"{pair.correlation:.2f}"
            overlaps = [f"{pair.shared[k]:.0%} (chance {percent(pair.chance[k])})" for k in comparison.top_k]
            table.add_row(comparison.runs[second].key, *overlaps, correlation)
    return table
