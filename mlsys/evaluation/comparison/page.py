"""The comparison as one self-contained HTML page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison
from mlsys.evaluation.comparison.overlay import COLOURS, OTHERS, draw_overlays
from mlsys.evaluation.comparison.wording import (
    LEVELS,
    bytes_text,
    caveats,
    findings,
    seconds_text,
    setting,
)
from mlsys.evaluation.fold_names import fold_name, fold_order
from mlsys.evaluation.formats import MISSING, bounds, count, percent, point
from mlsys.evaluation.metric_table import METRICS, PREDICT_MS, find_metric
from mlsys.evaluation.report.pages import embed, templates
from mlsys.pipeline.weights import mean
from mlsys.text import counted

CAPTIONS: Mapping[str, str] = {
    "gain": "How many of all positives you reach (vertical) by working through the ranked list from the top "
    "(horizontal). Means over folds.",
    "pr": "Moving right reaches more of the positives, but a smaller fraction of the list so far is positive.",
    "roc": "Quality of the rankings, regardless of how rare positives are. The diagonal is random guessing.",
    "calibration": "Well-calibrated probabilities lie on the diagonal. A hollow marker at the bottom is a bin without "
    "positives.",
    "folds": "Each fold is a separate test. A hollow marker is a fold whose outcomes are not all known yet.",
}


@dataclass(frozen=True)
class MetricCell:
    """One metric of one run, as text; the scales have the same numbers scaled to 0 to 1, for drawing."""

    run: ComparedRun
    value: str
    interval: str
    difference: str
    difference_interval: str
    better: str
    scale: Mapping[str, float]
    difference_scale: Mapping[str, float]


@dataclass(frozen=True)
class MetricBlock:
    """One metric for all runs."""

    title: str
    meaning: str
    cells: tuple[MetricCell, ...]


@dataclass(frozen=True)
class FoldLine:
    """One fold: its name, rows and positives, and the first metric of every run, as text."""

    name: str
    rows: str
    positives: str
    complete: bool
    values: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Agreement of each pair of runs: text, and shading of the cell from 0 to 1."""

    title: str
    meaning: str
    rows: tuple[tuple[tuple[str, float], ...], ...]


def render_page(comparison: Comparison) -> str:
    """Render the page.

    Returns
    -------
    str
        An HTML document with embedded images.
    """
    runs = comparison.runs
    pictures = {name: embed(name, data, CAPTIONS.get(name, "")) for name, data in draw_overlays(comparison).items()}
    return (
        templates()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            title=f"Comparison of {counted(len(runs), 'run')}",
            pictures=pictures,
            colours=[COLOURS[number] if number < len(COLOURS) else OTHERS for number in range(len(runs))],
            levels=LEVELS,
            percentage=f"{comparison.confidence:.0%}",
            findings=findings(comparison),
            caveats=caveats(comparison),
            options=[_choices(run, comparison) for run in runs],
            rows=[count(_rows(run)) for run in runs],
            rates=[_rates(run) for run in runs],
            headline=[_block(comparison, name) for name in comparison.headline],
            others=[_block(comparison, name) for name in comparison.metrics if name not in comparison.headline],
            folds=list(_folds(comparison)),
            fold_metric=find_metric(comparison.metrics[0]).title if comparison.metrics else "",
            matrices=list(_matrices(comparison)),
            costs=[_cost(run) for run in runs],
            settings=_settings(comparison),
            command=shlex.join(["mlsys", "compare", *(run.candidate.path for run in runs), "--html", "FILE"]),
        )
    )


def _choices(run: ComparedRun, comparison: Comparison) -> str:
    """Return the options of the config groups that differ between runs, or the model if none does."""
    differ = [key.removeprefix("choices.") for key in comparison.settings if key.startswith("choices.")]
    choices = run.candidate.config.get("choices") or {}
    options = {group: choices.get(group) for group in differ or ["model"]}
    return ", ".join(f"{group}={option}" for group, option in options.items() if option) or MISSING


def _rows(run: ComparedRun) -> int | None:
    return None if run.candidate.predictions is None else len(run.candidate.predictions)


def _rates(run: ComparedRun) -> Sequence[str]:
    """Return the mean prediction, the rate of positives, and their ratio."""
    rows = run.candidate.predictions
    if rows is None:
        return (MISSING, MISSING, MISSING)
    weight = rows[SAMPLING_WEIGHT].to_numpy() if SAMPLING_WEIGHT in rows else None
    predicted, observed = (mean(rows[name].to_numpy(), weight) for name in ("probability", "label"))
    return (percent(predicted), percent(observed), f"{predicted / observed:.2f}" if observed else MISSING)


def _block(comparison: Comparison, name: str) -> MetricBlock:
    text = comparison.reference.metric(name)
    entries = [run.metrics.get(name) for run in comparison.runs]
    differences = [run.difference.get(name) for run in comparison.runs]
    span = _span(entries)
    widest = max((abs(end) for entry in differences for end in bounds(entry) or ()), default=0.0)
    cells = [
        MetricCell(
            run,
            run.metric(name).write(point(entry)),
            run.metric(name).interval(entry),
            text.difference(point(run.difference.get(name))),
            text.difference_interval(run.difference.get(name)),
            run.better(name),
            _scale(entry, *span) if span else {},
            _scale(run.difference.get(name), -widest, widest) | {"chance": 0.5}
            if widest and bounds(run.difference.get(name))
            else {},
        )
        for run, entry in zip(comparison.runs, entries, strict=True)
    ]
    return MetricBlock(text.title, text.explanation, tuple(cells))


def _span(entries: Iterable[object]) -> tuple[float, float] | None:
    """Return the range of the values and intervals of all runs."""
    numbers = [number for entry in entries for number in (point(entry), *(bounds(entry) or ())) if number is not None]
    return (min(numbers), max(numbers)) if numbers and min(numbers) < max(numbers) else None


def _scale(entry: object, low: float, high: float) -> dict[str, float]:
    interval = bounds(entry) or (None, None)
    numbers = {"value": point(entry), "low": interval[0], "high": interval[1]}
    if numbers["value"] is None:
        return {}
    return {name: (number - low) / (high - low) for name, number in numbers.items() if number is not None}


def _folds(comparison: Comparison) -> Iterator[FoldLine]:
    """Yield each fold of any run."""
    if not comparison.metrics:
        return
    name = comparison.metrics[0]
    by_run = [{fold_name(fold): fold for fold in run.candidate.metrics.get("folds") or []} for run in comparison.runs]
    for fold in sorted({fold for folds in by_run for fold in folds}, key=fold_order):
        entry: Mapping[str, Any] = next(folds[fold] for folds in by_run if fold in folds)
        yield FoldLine(
            fold,
            count(entry.get("rows")),
            count(entry.get("positives")),
            bool(entry.get("label_complete", True)),
            tuple(
                run.metric(name).write(point(folds[fold].get(name))) if fold in folds else MISSING
                for run, folds in zip(comparison.runs, by_run, strict=True)
            ),
        )


def _matrices(comparison: Comparison) -> Iterator[Matrix]:
    agreements = comparison.agreements
    if not agreements:
        return
    for k in comparison.top_k:
        chance = next(iter(agreements.values())).chance[k]
        meaning = f"Fraction of the top {k} that two runs have in common; {percent(chance)} by chance."
        yield _matrix(comparison, f"Top {k}", meaning, {pair: each.shared[k] for pair, each in agreements.items()})
    meaning = "Spearman's rank correlation over all rows that two runs share; 1 is the same order."
    correlations = {pair: each.correlation for pair, each in agreements.items()}
    yield _matrix(comparison, "Rank correlation", meaning, correlations, decimals=True)


def _matrix(
    comparison: Comparison,
    title: str,
    meaning: str,
    values: Mapping[tuple[int, int], float | None],
    *,
    decimals: bool = False,
) -> Matrix:
    def cell(row: int, column: int) -> tuple[str, float]:
        if row == column:
            return "", 0.0
        value = values.get((min(row, column), max(row, column)))
        if value is None:
            return MISSING, 0.0
        return (f"{value:.2f}" if decimals else f"{value:.0%}"), max(0.0, value)

    numbers = range(len(comparison.runs))
    return Matrix(title, meaning, tuple(tuple(cell(row, column) for column in numbers) for row in numbers))


def _cost(run: ComparedRun) -> Sequence[str]:
    candidate = run.candidate
    return (
        seconds_text(candidate.fit_seconds),
        seconds_text(candidate.total_seconds),
        METRICS[PREDICT_MS].write(candidate.predict_ms),
        bytes_text(candidate.model_bytes),
    )


def _settings(comparison: Comparison) -> list[tuple[str, list[str]]]:
    return [(key, [setting(value) for value in values]) for key, values in comparison.settings.items()]
