"""What a sweep's report says, in sentences and tables; the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from mlsys.errors import RunError
from mlsys.evaluation.formats import bounds, count, point
from mlsys.evaluation.metric_table import find_metric
from mlsys.redaction import without_password
from mlsys.runs import Run
from mlsys.sweep.analysis import Parameter, SweepAnalysis, plain
from mlsys.sweep.commands import dashboard_command, resume_command
from mlsys.sweep.report.leaderboard import Link, Row, leaderboard, link_to
from mlsys.sweep.report.verdict import objective_text, verdict
from mlsys.sweep.trials import reasons
from mlsys.text import counted

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

MOST_ROWS = 1000  # of the leaderboard; trials.parquet has all
MOST_NAMED = 30  # trials of one reason to fail


@dataclass(frozen=True)
class Winner:
    """The run directory that ``best`` points at.

    Attributes
    ----------
    number : int
        The trial that was refitted.
    tried : int or None
        How many were finished then.
    page : str
        Where its report lies from the sweep's, or its folder.
    overall : dict
        Its metrics; empty where it is no run of mlsys.
    holdout_folds : int
        How many folds they are means of that no trial saw.
    """

    number: int
    selected_from: int | None
    page: str
    overall: dict[str, Any]
    holdout_folds: int


@dataclass(frozen=True)
class SweepSummary:
    """Everything that the report says beside its pictures."""

    title: str
    subtitle: str
    lead: str
    tiles: list[tuple[str, str, str]]
    verdict: list[str]
    caveats: list[str]
    winner: Winner | None
    measured: list[tuple[str, str, str, str]]
    columns: list[tuple[str, bool]]
    rows: list[Row]
    left_out: int
    failures: list[tuple[str, list[Link], int]]
    space: list[tuple[str, str, str, str, str]]
    settings: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def summarise_sweep(results: SweepResults) -> SweepSummary:
    """Say what a sweep found.

    Parameters
    ----------
    results : RunResults
        Of a sweep at any stage: not begun, interrupted, done.
    """
    found, winner = results.findings, winner_of(results)
    columns, rows = leaderboard(results, winner.number if winner else None)
    return SweepSummary(
        title=_title(results),
        subtitle=_subtitle(results),
        lead=_lead(results),
        tiles=list(_tiles(results, winner)),
        verdict=list(verdict(results)),
        caveats=list(_caveats(results, winner)),
        winner=winner,
        measured=_measured(results, winner),
        columns=columns,
        rows=rows[:MOST_ROWS],
        left_out=max(len(rows) - MOST_ROWS, 0),
        failures=[
            (reason, [link_to(results, number) for number in numbers[:MOST_NAMED]], len(numbers))
            for reason, numbers in reasons(results.trials).items()
        ],
        space=_space(results, found),
        settings=list(_settings(results)),
        commands=list(_commands(results, winner)),
    )


def winner_of(results: SweepResults) -> Winner | None:
    """Return what ``best`` points at; None where the link was not made yet."""
    link = results.folder_of_best
    if link is None:
        return None
    number = int(link.resolve().name)
    page = f"{link.name}/report.html" if (link / "report.html").exists() else f"{link.name}/"
    try:
        run = Run.open(link, verify=False)
    except RunError:  # of another program than ours
        return Winner(number, None, page, {}, 0)
    search = run.config.get("search") or {}
    return Winner(number, search.get("selected_from"), page, run.metrics["overall"], search.get("holdout_folds", 0))


def _choice(results: SweepResults, group: str) -> str | None:
    found = OmegaConf.select(results.sweep.config, "hydra.runtime.choices", default={}).get(group)
    return None if found is None else str(found)


def _title(results: SweepResults) -> str:
    data = OmegaConf.select(results.sweep.config, "data.name", default=None)
    return f"Search of {_choice(results, 'search') or results.study.study_name}" + (f" on {data}" if data else "")


def _subtitle(results: SweepResults) -> str:
    import mlsys

    ends = [trial.datetime_complete for trial in results.findings.trials if trial.datetime_complete]
    return " · ".join([*([f"{max(ends):%Y-%m-%d}"] if ends else []), f"mlsys {mlsys.__version__}"])


def _lead(results: SweepResults) -> str:
    found, folds = results.findings, OmegaConf.select(results.sweep.config, "search.folds", default=None)
    aims = [
        f"the {'lowest' if direction == 'minimize' else 'highest'} {objective_text(name)}"
        for name, direction in zip(found.objectives, found.directions, strict=True)
    ]
    over = f", each a mean over {count(folds)} folds" if folds else ""
    return f"{counted(len(found.trials), 'trial')} looked for {' and '.join(aims)}{over}."


def _tiles(results: SweepResults, winner: Winner | None) -> Iterator[tuple[str, str, str]]:
    found, wanted = results.findings, results.sweep.settings.n_trials
    best = results.best
    for place, (name, direction) in enumerate(zip(found.objectives, found.directions, strict=True)):
        if best is not None:
            value = found.losses[:, place].min() * found.signs[place]
            number = found.complete[int(found.losses[:, place].argmin())].number
            note = f"trial {number}; {'lower' if direction == 'minimize' else 'higher'} is better"
            yield f"Best {objective_text(name)}", f"{value:.4g}", note
    if winner is not None and winner.holdout_folds:
        for name in found.objectives:
            value, ends = point(winner.overall.get(name)), bounds(winner.overall.get(name))
            if value is not None:
                interval = f"95% interval {ends[0]:.3g} to {ends[1]:.3g}" if ends else "no interval"
                yield f"{find_metric(name).title} on unseen folds", f"{value:.4g}", f"trial {winner.number}; {interval}"
    ended = (
        f"{count(len(found.complete))} complete, {count(len(found.pruned))} pruned, {count(len(found.failed))} failed"
    )
    yield f"Trials of {count(wanted)}", count(len(found.trials)), ended


def _caveats(results: SweepResults, winner: Winner | None) -> Iterator[str]:
    found, selected_from = results.findings, len(results.findings.trials)
    if results.best is not None:
        yield (
            f"The best of {count(selected_from)} trials was partly lucky: on new data expect it to do worse. The more "
            "trials, the larger this effect."
            if selected_from > 1
            else "One trial is no search."
        )
        yield from _honest_number(results, winner)
    if len(found.complete) > 1:
        yield (
            "Neighbours in the leaderboard rarely differ by more than chance. Among near equals take the simpler or "
            "faster one."
        )
    if found.pruned:
        yield "A pruned trial saw a part of the folds only. It has no value to compare, and is marked, not ranked."


def _honest_number(results: SweepResults, winner: Winner | None) -> Iterator[str]:
    search, settings = OmegaConf.select(results.sweep.config, "search", default=None), results.sweep.settings
    if winner is None and search is None:
        yield "Measure the winner on data that the search did not see."
    elif winner is None and search.get("holdout_folds"):
        when = "when all trials are finished" if settings.refit else "with hydra.sweeper.refit=true"
        yield (
            f"The winner was not refitted yet. It is, {when}, and then measured on the {count(search.holdout_folds)} "
            "latest folds, which no trial saw."
        )
    elif winner is not None and winner.holdout_folds:
        yield (
            f"The number to report is that on the {count(winner.holdout_folds)} later folds, which no trial saw. Folds "
            "differ, so not all of the difference between the two is optimism."
        )
    elif search is not None:
        yield "No folds were held out, so no number here is free of that. search.holdout_folds holds some out."
    if winner is not None and results.best is not None and winner.number != results.best.number:
        yield (
            f"“best” is still trial {winner.number}, the best of the first {count(winner.selected_from)} trials. It is "
            "replaced when all trials are finished."
        )


def _measured(results: SweepResults, winner: Winner | None) -> list[tuple[str, str, str, str]]:
    """Return the winner's objectives on the folds of the search and on unseen ones."""
    if winner is None or not winner.holdout_folds:
        return []
    seen, rows = results.trials[winner.number].values, []
    for name, value in zip(results.findings.objectives, seen, strict=True):
        unseen, ends = point(winner.overall.get(name)), bounds(winner.overall.get(name))
        if unseen is not None:  # time is an objective, but no metric
            interval = f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "–"
            rows.append((find_metric(name).title, f"{value:.5g}", f"{unseen:.5g}", interval))
    return rows


def _space(results: SweepResults, found: SweepAnalysis) -> list[tuple[str, str, str, str, str]]:
    """Return each searched parameter: key, condition, range, trials that had it, the value of the best one."""
    space, best = results.sweep.space, results.best
    known = {name: Parameter(name, name, distribution) for name, distribution in space.base.searched.items()}
    conditions = {}
    for condition, parameters in space.conditions.items():
        for key, distribution in parameters.searched.items():
            name = f"{key}@{condition.partition('=')[2]}"
            known[name], conditions[name] = Parameter(name, name, distribution), condition
    known |= {parameter.name: parameter for parameter in found.parameters if parameter.name not in known}
    rows = []
    for name, parameter in known.items():
        had = sum(name in trial.params for trial in found.trials)
        value = parameter.write(best.params[name]) if best is not None and name in best.params else "–"
        rows.append((name.partition("@")[0], conditions.get(name, ""), parameter.describe(), count(had), value))
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
    yield "All trials as a table", "trials.parquet in this folder"


def _component(node: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={plain(value)}" for key, value in node.items() if key != "_target_")
    return f"{str(node['_target_']).rpartition('.')[2]}({arguments})"


def _commands(results: SweepResults, winner: Winner | None) -> Iterator[tuple[str, str]]:
    sweep = results.sweep
    if winner is not None and winner.overall:
        yield "The winner's card", f"mlsys show {sweep.folder / 'best'}"
        yield "Whether the winner can be repeated bit by bit", f"mlsys replay {sweep.folder / 'best'}"
    more = "Go on" if len(results.findings.trials) < sweep.settings.n_trials else "More trials: a higher n_trials with"
    yield more, without_password(resume_command(sweep.folder))
    yield "The study in a browser, also while it runs", dashboard_command(sweep.folder, sweep.settings.storage)
