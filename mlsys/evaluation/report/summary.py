"""The content of a run's card and report: sentences and tables that someone in sales operations can act on.

The templates of the card (Markdown) and of the report (HTML) only lay it out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import pandas as pd

from mlsys.evaluation.fold_names import fold_name
from mlsys.evaluation.formats import MISSING, Numbers, as_float, confidence_level, count, currency, percent, point
from mlsys.evaluation.metric_table import configured_objectives, find_metric
from mlsys.evaluation.report.by_day_rows import ByDayRow, by_day_rows
from mlsys.evaluation.report.metric_rows import MetricRow, headline_rows, metric_rows
from mlsys.evaluation.report.other_models import OtherModels, older_models, smaller_models
from mlsys.evaluation.report.recommendation import recommend
from mlsys.evaluation.report.sample_text import sample_caveat, sample_text
from mlsys.evaluation.report.selection_rows import SelectionText, chosen_model, selection_text
from mlsys.evaluation.report.threshold_text import threshold_rows, threshold_text
from mlsys.evaluation.report.verdict import calibration_text, verdict
from mlsys.text import counted, joined


class RunFacts(TypedDict, total=False):
    """Information about a run other than its metrics; missing keys are left out of the card.

    Attributes
    ----------
    run : str
        Name of the run on the command line (default ``RUN``).
    data, source, target : str
        Name of the data; the folder, file or database it was read from; the target, as the end of the sentence "This
        model predicts which accounts …".
    entities_name, positives_name : str
        Plural nouns for the rows and for the positive rows (default accounts, converters).
    entities, rows, positives, training_rows, features : int
        Number of entities scored; of out-of-fold rows and the positives among them; of training rows and features of
        the saved model.
    as_ofs : sequence of str
        The test dates; empty if the split is not by time.
    horizon_days : int or None
        Number of days after the as-of in which the outcome counts.
    data_end : str
        Day up to which outcomes are known.
    train_seconds : float
        Run time.
    version, created : str
        mlsys version and date of the run.
    contract : sequence of mapping
        Violations of the data contract: table, rule, action, count, message.
    chosen : str
        What the fit of the saved model chose, such as ``C=0.03``.
    cap_warning : str
        Warning that boosting ended at its limit of iterations; empty if it did not.
    sample : mapping
        The sample of the negatives, as recorded in manifest.json, if there is one.
    """

    run: str
    data: str
    source: str
    target: str
    entities_name: str
    positives_name: str
    entities: int
    rows: int
    positives: int
    training_rows: int
    features: int
    as_ofs: Sequence[str]
    horizon_days: int | None
    data_end: str
    train_seconds: float
    version: str
    created: str
    contract: Sequence[Numbers]
    chosen: str
    cap_warning: str
    sample: Numbers


@dataclass(frozen=True)
class FoldRow:
    """One fold's numbers, as text."""

    name: str
    rows: str
    positives: str
    complete: bool
    values: tuple[str, ...]


@dataclass(frozen=True)
class LeadRow:
    """One of the top-ranked entities, as text; ``bar`` is what it is ranked by, relative to the highest one."""

    id: str
    probability: str
    bar: float
    outcome: str
    uplift: str = ""


@dataclass(frozen=True)
class Summary:
    """The content of the card and the report as plain text, not yet escaped."""

    title: str
    subtitle: str
    purpose: str
    recommendation: str
    verdict: tuple[str, ...]
    calibration: str
    entities: str
    positives: str
    run: str
    metrics: tuple[MetricRow, ...]
    level: str
    headline: tuple[MetricRow, ...]
    has_activity: bool
    fold_metrics: tuple[str, ...]
    folds: tuple[FoldRow, ...]
    by_day: tuple[ByDayRow, ...]
    older: OtherModels
    smaller: OtherModels
    threshold: str
    threshold_rows: tuple[tuple[str, str], ...]
    audit_status: str
    audit: str
    checks: tuple[Mapping[str, str], ...]
    data: tuple[tuple[str, str], ...]
    contract: tuple[Mapping[str, str], ...]
    settings: str
    leads: tuple[LeadRow, ...]
    leads_as_of: str
    cap_warning: str
    caveats: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    walk_forward: bool
    has_horizon: bool
    selection: SelectionText | None


def summarise(
    *,
    config: Numbers,
    metrics: Numbers,
    audit: Numbers,
    threshold: Numbers | None,
    facts: RunFacts,
    top_leads: pd.DataFrame | None = None,
    selection: Numbers | None = None,
) -> Summary:
    """Return the content of the card and the report.

    Parameters
    ----------
    config : mapping
        The resolved config; ``choices`` (group to option) and ``seed`` are read.
    metrics, audit : mapping
        Content of ``metrics.json`` (including ``versus_activity``) and ``audit.json``.
    threshold : mapping or None
        Content of ``threshold.json``.
    facts : RunFacts
        Other information about the run.
    top_leads : DataFrame, optional
        The top-ranked rows of the latest fold, with columns id, as_of, probability and label; also uplift if they are
        ranked by it.
    selection : mapping, optional
        Content of ``selection.json``.

    Returns
    -------
    Summary

    Examples
    --------
    >>> choices = {"choices": {"model": "catboost"}}
    >>> summarise(config=choices, metrics={}, audit={}, threshold=None, facts={"data": "demo"}).title
    'catboost on demo'
    """
    entities, positives = facts.get("entities_name", "accounts"), facts.get("positives_name", "converters")
    choices, level, money = _choices(config), confidence_level(config), currency(config)
    folds = list(metrics.get("folds") or [])
    rows = tuple(metric_rows(metrics, positives, money))
    headline = headline_rows(rows, configured_objectives(config))
    fold_metrics = [row.name for row in headline if any(row.name in fold for fold in folds)]
    checks = tuple(_check(check) for check in audit.get("checks") or [])
    run = facts.get("run", "RUN")
    return Summary(
        title=_title(config, facts),
        subtitle=_subtitle(facts),
        purpose=_purpose(facts, config, entities, positives),
        recommendation=recommend(metrics, audit, positives, level, entities),
        verdict=tuple(verdict(config, metrics, entities, positives, level)),
        calibration=calibration_text(metrics),
        entities=entities,
        positives=positives,
        run=run,
        metrics=rows,
        level=level,
        headline=headline,
        has_activity=any(row.activity != MISSING for row in rows),
        fold_metrics=tuple(find_metric(name, positives).title for name in fold_metrics),
        folds=tuple(_fold_row(fold, fold_metrics, money) for fold in folds),
        by_day=tuple(by_day_rows(metrics)),
        older=older_models(metrics, level),
        smaller=smaller_models(metrics, positives, level),
        threshold=threshold_text(
            threshold, entities, positives, "" if _all_complete(folds) else " with known outcomes"
        ),
        threshold_rows=tuple(threshold_rows(threshold)),
        audit_status=str(audit.get("status") or "not run"),
        audit=_audit(audit, checks),
        checks=checks,
        data=tuple(_data_rows(facts, entities, positives)),
        contract=tuple(_finding(finding) for finding in facts.get("contract") or []),
        settings=" ".join([*(f"{group}={option}" for group, option in choices.items()), *_seed(config)]),
        leads=tuple(_leads(top_leads, folds)),
        leads_as_of=_leads_as_of(top_leads),
        cap_warning=facts.get("cap_warning", ""),
        caveats=tuple(_caveats(metrics, audit, facts, entities, positives)),
        commands=tuple(_commands(run, is_table="target" in facts and not facts.get("horizon_days"))),
        walk_forward=choices.get("split", "backtest") == "backtest",
        has_horizon=bool(facts.get("horizon_days")),
        selection=selection_text(selection, level),
    )


def _title(config: Numbers, facts: RunFacts) -> str:
    data = facts.get("data") or _choices(config).get("data")
    model = chosen_model(config)
    return f"{model} on {data}" if data else model


def _subtitle(facts: RunFacts) -> str:
    parts = [facts.get("created"), f"mlsys {facts['version']}" if "version" in facts else None]
    return " · ".join(part for part in parts if part)


def _choices(config: Numbers) -> dict[str, str]:
    """Return the option of each config group, without Hydra's own groups."""
    options = (config.get("choices") or {}).items()
    return {str(group): str(option) for group, option in options if option and not str(group).startswith("hydra/")}


def _seed(config: Numbers) -> list[str]:
    return [] if config.get("seed") is None else [f"seed={config['seed']}"]


def _purpose(facts: RunFacts, config: Numbers, entities: str, positives: str) -> str:
    choices = _choices(config)
    horizon = facts.get("horizon_days")
    default = f"have the outcome within {counted(horizon, 'day')}" if horizon else f"are {positives}"
    target = facts.get("target") or default
    purpose = f"This model predicts which {entities} {target.rstrip('.')}."
    sampler = choices.get("sampler", "none")
    resampled = f", trained on rows resampled with {sampler}" if sampler != "none" else ""
    return f"{purpose} Estimator: {chosen_model(config)}{resampled}." if "model" in choices else purpose


def _all_complete(folds: Sequence[Numbers]) -> bool:
    return all(fold.get("label_complete", True) for fold in folds)


def _fold_row(fold: Numbers, names: Sequence[str], money: str) -> FoldRow:
    return FoldRow(
        name=fold_name(fold),
        rows=count(fold.get("rows")) + _stands_for(fold),
        positives=count(fold.get("positives")),
        complete=bool(fold.get("label_complete", True)),
        values=tuple(find_metric(name, currency=money).write(point(fold.get(name))) for name in names),
    )


def _stands_for(fold: Numbers) -> str:
    whole = fold.get("stands_for", fold.get("rows"))
    return "" if whole == fold.get("rows") else f" for {count(whole)}"


def _check(check: Numbers) -> Mapping[str, str]:
    numbers = {name: as_float(check.get(name)) for name in ("value", "limit")}
    return {
        "name": str(check.get("name", MISSING)).replace("_", " "),
        "status": str(check.get("status", MISSING)),
        "message": str(check.get("message") or ""),
        **{name: MISSING if value is None else f"{value:.4g}" for name, value in numbers.items()},
    }


def _audit(audit: Numbers, checks: Sequence[Mapping[str, str]]) -> str:
    if not checks:
        return "The leakage audit was not run: do not trust the metrics yet."
    applicable = [check for check in checks if check["status"] != "pass" or check["value"] != MISSING]
    passed = sum(check["status"] == "pass" for check in applicable)
    others = len(checks) - len(applicable)
    skipped = f" ({others} more {'does' if others == 1 else 'do'} not apply)" if others else ""
    meaning = {
        "pass": "no sign that the model used information from the future or from the outcome",
        "warn": "read the warnings before trusting the metrics",
        "fail": "do not trust the metrics until the failures are explained",
    }
    status = str(audit.get("status") or "not run")
    return f"{passed} of {counted(len(applicable), 'check')} passed{skipped}: {meaning.get(status, status)}."


def _data_rows(facts: RunFacts, entities: str, positives: str) -> Iterable[tuple[str, str]]:
    if facts.get("data"):
        yield "Data", " from ".join(part for part in (facts["data"], facts.get("source")) if part)
    for key, name in (
        ("entities", f"{entities.capitalize()} scored"),
        ("rows", "Test rows"),
        ("positives", f"{positives.capitalize()} in the test rows"),
        ("training_rows", "Training rows of the saved model"),
        ("features", "Features"),
    ):
        if key in facts:
            yield name, count(facts.get(key))
    if "sample" in facts:
        yield "Sampled", sample_text(facts["sample"], positives)
    if facts.get("chosen"):
        yield "Chosen for the saved model", facts["chosen"]
    if facts.get("as_ofs"):
        yield "Test dates", ", ".join(facts["as_ofs"])
    if horizon := facts.get("horizon_days"):
        yield "Horizon", f"{counted(horizon, 'day')} after each date"
    if facts.get("data_end"):
        yield "Outcomes known until", facts["data_end"]
    if facts.get("train_seconds") is not None:
        yield (
            "Run time",
            f"{facts['train_seconds']:.0f} s" if facts["train_seconds"] >= 10 else f"{facts['train_seconds']:.1f} s",
        )


def _finding(finding: Numbers) -> Mapping[str, str]:
    texts = {name: str(finding.get(name) or MISSING) for name in ("table", "rule", "action", "message")}
    return {**texts, "count": count(finding.get("count"))}


def _leads(top_leads: pd.DataFrame | None, folds: Sequence[Numbers]) -> Iterable[LeadRow]:
    if top_leads is None or top_leads.empty:
        return
    complete = bool(folds[-1].get("label_complete", True)) if folds else True
    by = "uplift" if "uplift" in top_leads else "probability"
    highest = float(top_leads[by].max()) or 1.0
    for lead in top_leads.to_dict("records"):
        outcome = "yes" if lead["label"] == 1 else "no" if complete else "not yet"
        uplift = find_metric("qini").difference(lead["uplift"]) if by == "uplift" else ""
        bar = max(0.0, float(lead[by]) / highest)
        yield LeadRow(str(lead["id"]), percent(float(lead["probability"])), bar, outcome, uplift)


def _leads_as_of(top_leads: pd.DataFrame | None) -> str:
    if top_leads is None or top_leads.empty or pd.isna(top_leads["as_of"].iloc[0]):
        return ""
    return f"{pd.Timestamp(top_leads['as_of'].iloc[0]):%Y-%m-%d}"


def _caveats(metrics: Numbers, audit: Numbers, facts: RunFacts, entities: str, positives: str) -> Iterable[str]:
    folds = list(metrics.get("folds") or [])
    if facts.get("cap_warning"):
        yield facts["cap_warning"]
    if "sample" in facts and (caveat := sample_caveat(facts["sample"], entities, positives)):
        yield caveat
    for check in audit.get("checks") or []:
        if check.get("status") in ("fail", "warn"):
            name = str(check.get("name", "")).replace("_", " ")
            yield f"Audit check “{name}” ({check['status']}): {check.get('message') or 'no message'}"
    partial = [fold_name(fold) for fold in folds if not fold.get("label_complete", True)]
    if partial:
        young = "used for training only as far as their outcomes are known"
        used = young if metrics.get("by_day") else "never used for training"
        yield (
            f"Outcomes are incomplete in {joined(partial)}: the horizon extends past the end of the data, so not all "
            f"{positives} are known yet. Incomplete rows are {used}."
        )
    total = facts.get("positives", sum(int(fold.get("positives") or 0) for fold in folds))
    if folds and total < 100:
        yield f"Few {positives} in the test rows ({count(total)}): rely on the intervals, not on small differences."
    if metrics.get("uplift_curve"):
        yield (
            "The uplift compares treated with untreated rows, so it is only an effect of the treatment if who was "
            "treated was decided at random, or by nothing that also moves the outcome."
        )
    else:
        yield (
            f"The model predicts which {entities} are likely {positives}, not which ones a call would persuade; "
            "finding that out takes an experiment with a control group, and model=uplift."
        )
    yield "The model has only seen past data: compare new inputs with reference.json before relying on it."


def _commands(run: str, *, is_table: bool) -> Iterable[tuple[str, str]]:
    name = shlex.quote(run)
    yield "Show this card and all metrics", f"mlsys show {name} --all"
    yield "Compare with another run", f"mlsys compare OTHER {name}"
    if is_table:
        yield "Score another table", f"mlsys score {name} TABLE --out scored.csv"
    yield "Serve the model, with a page for lists", f"python -m serve {name}"
    yield "Register the model as a version", f"mlsys registry add {name} --name NAME"
    yield "Check that the run is reproducible", f"mlsys replay {name}"
