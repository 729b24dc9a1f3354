"""The sentences and tables of a sweep's report; the template only lays them out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from mlsys.errors import RunError
from mlsys.evaluation.formats import bounds, confidence_level, count, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.redaction import without_password
from mlsys.runs import Run
from mlsys.sweep.analysis import Parameter, SweepAnalysis, format_value
from mlsys.sweep.commands import dashboard_command, resume_command
from mlsys.sweep.report.leaderboard import LeaderboardRow, Link, leaderboard, link_to
from mlsys.sweep.report.verdict import objective_title, verdict
from mlsys.sweep.trials import failed_trials
from mlsys.text import counted, joined

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

MAX_ROWS = 1000  # of the leaderboard; trials.parquet lists all trials
MAX_LINKS = 30  # links to failed trials per reason


@dataclass(frozen=True)
class Winner:
    """The run that the ``best`` link points at.

    Attributes
    ----------
    number : int
        Number of the refitted trial.
    selected_from : int or None
        Number of finished trials that it was selected from.
    page : str
        Its report, or else its folder, relative to the sweep's report.
    overall : dict
        Its overall metrics; empty if it is not a run of mlsys.
    level : str
        Confidence level of their intervals, such as "95%".
    holdout_folds : int
        Number of folds, unseen by the search, that the metrics are means over.
    """

    number: int
    selected_from: int | None
    page: str
    overall: dict[str, Any]
    level: str
    holdout_folds: int


@dataclass(frozen=True)
class SweepSummary:
    """Everything in the report except its plots."""

    title: str
    subtitle: str
    lead: str
    tiles: list[tuple[str, str, str]]
    verdict: list[str]
    caveats: list[str]
    winner: Winner | None
    holdout: list[tuple[str, str, str, str]]
    columns: list[tuple[str, bool]]
    rows: list[LeaderboardRow]
    n_omitted: int
    failures: list[tuple[str, list[Link], int]]
    space: list[tuple[str, str, str, str, str]]
    settings: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def summarise_sweep(results: SweepResults) -> SweepSummary:
    """Summarise a sweep for its report.

    Parameters
    ----------
    results : SweepResults
        Results of a sweep in any state: not started, interrupted or finished.
    """
    analysis, winner = results.analysis, winner_of(results)
    columns, rows = leaderboard(results, winner.number if winner else None)
    return SweepSummary(
        title=_title(results),
        subtitle=_subtitle(results),
        lead=_lead(results),
        tiles=list(_tiles(results, winner)),
        verdict=list(verdict(results)),
        caveats=list(_caveats(results, winner)),
        winner=winner,
        holdout=_holdout_table(results, winner),
        columns=columns,
        rows=rows[:MAX_ROWS],
        n_omitted=max(len(rows) - MAX_ROWS, 0),
        failures=[
            (reason, [link_to(results, number) for number in numbers[:MAX_LINKS]], len(numbers))
            for reason, numbers in failed_trials(results.trials).items()
        ],
        space=_space(results, analysis),
        settings=list(_settings(results)),
        commands=list(_commands(results, winner)),
    )


def winner_of(results: SweepResults) -> Winner | None:
    """Return the run that ``best`` points at; None if the link does not exist yet."""
    link = results.best_link
    if link is None:
        return None
    number = int(link.resolve().name)
    page = f"{link.name}/report.html" if (link / "report.html").exists() else f"{link.name}/"
    try:
        run = Run.open(link, verify=False)
    except RunError:  # a run of another program
        return Winner(number, None, page, {}, "", 0)
    search = run.config.get("search") or {}
    return Winner(
        number,
        search.get("selected_from"),
        page,
        run.metrics["overall"],
        confidence_level(run.config),
        search.get("holdout_folds", 0),
    )


def _choice(results: SweepResults, group: str) -> str | None:
    option = OmegaConf.select(results.sweep.config, "hydra.runtime.choices", default={}).get(group)
    return None if option is None else str(option)


def _title(results: SweepResults) -> str:
    data = OmegaConf.select(results.sweep.config, "data.name", default=None)
    return f"Search {_choice(results, 'search') or results.study.study_name}" + (f" on {data}" if data else "")


def _subtitle(results: SweepResults) -> str:
    import mlsys

    ends = [trial.datetime_complete for trial in results.analysis.trials if trial.datetime_complete]
    return " · ".join([*([f"{max(ends):%Y-%m-%d}"] if ends else []), f"mlsys {mlsys.__version__}"])


def _lead(results: SweepResults) -> str:
    analysis, folds = results.analysis, OmegaConf.select(results.sweep.config, "search.folds", default=None)
    goals = [
        f"the {'lowest' if direction == 'minimize' else 'highest'} {objective_title(name)}"
        for name, direction in zip(analysis.objectives, analysis.directions, strict=True)
    ]
    over = f", averaged over {counted(folds, 'fold')}" if folds else ""
    return f"{counted(len(analysis.trials), 'trial')} in search of {joined(goals)}{over}."


def _tiles(results: SweepResults, winner: Winner | None) -> Iterator[tuple[str, str, str]]:
    analysis, n_trials = results.analysis, results.sweep.settings.n_trials
    best = results.best
    for index, (name, direction) in enumerate(zip(analysis.objectives, analysis.directions, strict=True)):
        if best is not None:
            value = analysis.losses[:, index].min() * analysis.signs[index]
            number = analysis.complete[int(analysis.losses[:, index].argmin())].number
            note = f"trial {number}; {'lower' if direction == 'minimize' else 'higher'} is better"
            yield f"Best {objective_title(name)}", f"{value:.4g}", note
    if winner is not None and winner.holdout_folds:
        for name in analysis.objectives:
            value, ends = point(winner.overall.get(name)), bounds(winner.overall.get(name))
            if value is not None:
                interval = f"{winner.level} interval {ends[0]:.3g} to {ends[1]:.3g}" if ends else "no interval"
                yield f"{find_metric(name).title} on unseen folds", f"{value:.4g}", f"trial {winner.number}; {interval}"
    yield "Finished trials", f"{count(len(analysis.trials))} of {count(n_trials)}", analysis.outcomes


def _caveats(results: SweepResults, winner: Winner | None) -> Iterator[str]:
    analysis, selected_from = results.analysis, len(results.analysis.trials)
    if results.best is not None:
        yield (
            f"The best of {count(selected_from)} trials was partly lucky: expect it to do worse on new data. The more "
            "trials, the larger this effect."
            if selected_from > 1
            else "A single trial is not a search."
        )
        yield from _holdout_caveats(results, winner)
    if len(analysis.complete) > 1:
        yield (
            "Neighbours in the leaderboard rarely differ by more than chance. Among trials with similar values, prefer "
            "the simpler or faster model."
        )
    if analysis.pruned:
        yield "Pruned trials ran on only some of the folds, so they have no comparable value and no rank."


def _holdout_caveats(results: SweepResults, winner: Winner | None) -> Iterator[str]:
    search, settings = OmegaConf.select(results.sweep.config, "search", default=None), results.sweep.settings
    if winner is None and search is None:
        yield "Evaluate the winner on data that the search did not see."
    elif winner is None and search.get("holdout_folds"):
        when = "when all trials are finished" if settings.refit else "if you resume with hydra.sweeper.refit=true"
        yield (
            f"The winner has not been refitted yet. It will be {when}, and then measured on "
            f"{_the_folds(search.holdout_folds, 'latest')}, which no trial saw."
        )
    elif winner is not None and winner.holdout_folds:
        yield (
            f"Report the number measured on {_the_folds(winner.holdout_folds, 'later')}, which no trial saw. Folds "
            "differ, so the search's optimism does not explain all of the difference between the two numbers."
        )
    elif search is not None:
        yield "No folds were held out, so every number here is optimistic. Set search.holdout_folds to hold some out."
    if winner is not None and results.best is not None and winner.number != results.best.number:
        trials = f", which was selected from {counted(winner.selected_from, 'trial')}" if winner.selected_from else ""
        yield (
            f"The link “best” still points at trial {winner.number}{trials}. It is updated when all trials are "
            "finished."
        )


def _the_folds(number: int, which: str) -> str:
    return f"the {which} fold" if number == 1 else f"the {count(number)} {which} folds"


def _holdout_table(results: SweepResults, winner: Winner | None) -> list[tuple[str, str, str, str]]:
    """Return the winner's objectives on the search folds and on the held-out folds."""
    if winner is None or not winner.holdout_folds:
        return []
    seen, rows = results.trials[winner.number].values, []
    for name, value in zip(results.analysis.objectives, seen, strict=True):
        unseen, ends = point(winner.overall.get(name)), bounds(winner.overall.get(name))
        if unseen is not None:  # predict_ms is an objective, but not a metric of a run
            interval = f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "–"
            rows.append((find_metric(name).title, f"{value:.5g}", f"{unseen:.5g}", interval))
    return rows


def _space(results: SweepResults, analysis: SweepAnalysis) -> list[tuple[str, str, str, str, str]]:
    """Return the searched parameters: key, condition, range, number of trials with it, value in the best trial."""
    space, best = results.sweep.space, results.best
    known = {name: Parameter(name, name, distribution) for name, distribution in space.base.searched.items()}
    conditions = {}
    for condition, parameters in space.conditions.items():
        for key, distribution in parameters.searched.items():
            name = f"{key}@{condition.partition('=')[2]}"
            known[name], conditions[name] = Parameter(name, name, distribution), condition
    known |= {parameter.name: parameter for parameter in analysis.parameters if parameter.name not in known}
    rows = []
    for name, parameter in known.items():
        n_trials = sum(name in trial.params for trial in analysis.trials)
        value = parameter.format(best.params[name]) if best is not None and name in best.params else "–"
        rows.append((name.partition("@")[0], conditions.get(name, ""), parameter.describe(), count(n_trials), value))
    return rows


def _settings(results: SweepResults) -> Iterator[tuple[str, str]]:
    settings, space = results.sweep.settings, results.sweep.space
    yield "Sampler", _component(settings.sampler)
    yield "Pruner", _component(settings.pruner) if settings.pruner else "none"
    fixed = [f"{key}={value}" for key, value in space.base.fixed.items()] + list(space.deletions)
    if fixed:
        yield "Fixed", without_password(" ".join(fixed))
    yield "Study", results.study.study_name
    yield "Storage", without_password(settings.storage) if settings.storage else "study.db in this folder"
    yield "Table of all trials", "trials.parquet in this folder"


def _component(node: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={format_value(value)}" for key, value in node.items() if key != "_target_")
    return f"{str(node['_target_']).rpartition('.')[2]}({arguments})"


def _commands(results: SweepResults, winner: Winner | None) -> Iterator[tuple[str, str]]:
    sweep = results.sweep
    if winner is not None and winner.overall:
        yield "Show the winner's card", f"mlsys show {sweep.folder / 'best'}"
        yield "Check that the winner is reproducible, bit for bit", f"mlsys replay {sweep.folder / 'best'}"
    is_incomplete = len(results.analysis.trials) < sweep.settings.n_trials
    purpose = "Resume the sweep" if is_incomplete else "Add trials: set a higher hydra.sweeper.n_trials in"
    yield purpose, without_password(resume_command(sweep.folder))
    yield "Open the study in a browser, even while it runs", dashboard_command(sweep.folder, sweep.settings.storage)
