"""The terminal summary of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mlsys.evaluation.metric_table import METRICS
from mlsys.terminal import Terminal
from mlsys.text import counted

AUDIT_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def show(
    console: Terminal,
    metrics: Mapping[str, Any],
    audit: Mapping[str, Any],
    threshold: Mapping[str, Any],
    folder: Path,
) -> None:
    """Print metrics with their baselines, the operating threshold, audit findings and the run directory.

    Parameters
    ----------
    console : Terminal
    metrics, audit, threshold : mapping
        Content of metrics.json, audit.json and threshold.json.
    folder : Path
        The run directory, printed on the last line.
    """
    activity, chance = metrics["baselines"]["activity"], metrics["baselines"]["chance"]
    title = f"Mean of {counted(len(metrics['folds']), 'fold')}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right", style="bold")
    table.add_column("interval", justify="right")
    if activity:
        table.add_column("activity", justify="right")
    table.add_column("chance", justify="right")
    measured = {name: entry for name, entry in metrics["overall"].items() if entry["value"] is not None}
    for name, entry in measured.items():
        low, high = number(entry.get("low")), number(entry.get("high"))
        cells = [name, number(entry["value"]), f"{low} – {high}" if low else ""]
        cells += [number((activity.get(name) or {}).get("value"))] if activity else []
        table.add_row(*cells, number((chance.get(name) or {}).get("value")))
    console.print(table)
    console.print()
    before, after = (((metrics.get("calibration") or {}).get(when) or {}).get("ece") for when in ("before", "after"))
    if before is not None and number(before) != number(after):
        console.print(f"{METRICS['ece'].title}: {number(after)} ({number(before)} before calibration)", highlight=False)
    method = [threshold["method"], *(f"{name}={value:.6g}" for name, value in threshold.get("parameters", {}).items())]
    console.print(f"Threshold: {number(threshold['threshold'])} ({', '.join(method)})", highlight=False)
    console.print(Text.assemble("Leakage audit: ", (audit["status"], AUDIT_STYLES[audit["status"]])))
    findings = Table.grid(padding=(0, 1))
    for check in audit["checks"]:
        if check["status"] != "pass":
            status = Text(f"  {check['status']}", AUDIT_STYLES[check["status"]])
            findings.add_row(status, Text(f"{check['name']}: {check['message']}"))
    if findings.row_count:
        console.print(findings)
    console.print(str(folder), soft_wrap=True, highlight=False, markup=False)


def number(value: float | None) -> str:
    """Format a number with three significant digits; an empty string for None.

    Examples
    --------
    >>> number(0.90311), number(0.05), number(54.74), number(1234.5), number(1e-17), number(None)
    ('0.903', '0.0500', '54.7', '1,234', '0', '')
    """
    if value is None:
        return ""
    if abs(value) < 1e-9:  # zero, except for rounding error
        return "0"
    if abs(value) >= 100:  # revenue, not a rate
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0.1 <= abs(value) < 9.9995 else f"{value:#.3g}"
