"""The terminal summary of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mlsys.evaluation.formats import MISSING
from mlsys.evaluation.report.metric_rows import MetricRow
from mlsys.evaluation.report.selection_rows import SelectionText
from mlsys.evaluation.report.summary import Summary
from mlsys.terminal import Terminal
from mlsys.text import counted

MAX_CANDIDATES = 5
AUDIT_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def show(
    console: Terminal, summary: Summary, audit: Mapping[str, Any], threshold: Mapping[str, Any], folder: Path
) -> None:
    """Print the headline metrics, the operating threshold, audit findings, what to do first and the run directory.

    Parameters
    ----------
    console : Terminal
    summary : Summary
        Content of the card.
    audit, threshold : mapping
        Content of audit.json and threshold.json.
    folder : Path
        The run directory, printed on the last line.
    """
    if summary.selection is not None:
        console.print(candidate_table(summary.selection))
        console.print(summary.selection.in_short)
        console.print()
    console.print(metric_table(summary.headline, folds=len(summary.folds), level=summary.level))
    console.print()
    if summary.calibration:
        console.print(summary.calibration)
    method = [threshold["method"], *(f"{name}={value:.6g}" for name, value in threshold.get("parameters", {}).items())]
    console.print(f"Threshold: {threshold['threshold']:.3g} ({', '.join(method)})")
    console.print(Text.assemble("Leakage audit: ", (audit["status"], AUDIT_STYLES[audit["status"]])))
    findings = Table.grid(padding=(0, 1))
    for check in audit["checks"]:
        if check["status"] != "pass":
            status = Text(f"  {check['status']}", AUDIT_STYLES[check["status"]])
            findings.add_row(status, Text(f"{check['name']}: {check['message']}"))
    if findings.row_count:
        console.print(findings)
    if summary.cap_warning:
        console.print(summary.cap_warning, style="yellow")
    console.print()
    console.print(summary.recommendation, style="bold")
    if hidden := len(summary.metrics) - len(summary.headline):
        console.print_line(f"{counted(hidden, 'more metric')}: mlsys show {shlex.quote(summary.run)} --all")
    console.print_line(str(folder))


def metric_table(rows: Sequence[MetricRow], *, folds: int, level: str) -> Table:
    """Return a table of metrics and their baselines.

    Parameters
    ----------
    rows : sequence of MetricRow
        The metrics to show.
    folds : int
        Number of folds that the values are means of.
    level : str
        Confidence level of the intervals, such as "95%".
    """
    has_activity = any(row.activity != MISSING for row in rows)
    table = Table(
        title=f"Mean of {counted(folds, 'fold')}", title_justify="left", title_style="", box=None, pad_edge=False
    )
    columns = ["metric", "value", f"{level} interval", *(["activity"] if has_activity else []), "chance"]
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", style="bold" if name == "value" else None)
    for row in rows:
        cells = [row.value, row.interval, *([row.activity] if has_activity else []), row.chance]
        table.add_row(row.name, *("" if cell == MISSING else cell for cell in cells))
    return table


def candidate_table(selection: SelectionText) -> Table:
    """Return a table of the candidates of model=auto that got furthest."""
    hidden = len(selection.rows) - MAX_CANDIDATES
    caption = f"{counted(hidden, 'more candidate')} in report.html" if hidden > 0 else None
    table = Table(title="Candidates", caption=caption, title_justify="left", caption_justify="left", box=None)
    table.title_style, table.caption_style, table.pad_edge = "", "", False
    names = ("candidate", selection.metric, f"minus {selection.best}", "folds", "weight")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    for row in selection.rows[:MAX_CANDIDATES]:
        interval = f" ({row.interval})" if row.interval else ""
        difference = "" if row.difference == MISSING else f"{row.difference}{interval}"
        table.add_row(row.name, row.value, difference, row.folds, row.weight, style="bold" if row.weight else None)
    return table
