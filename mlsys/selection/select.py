"""Choose a model among the candidates of a run's config; from there on, the run is one of the chosen model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlsys.components import Components, of_candidate
from mlsys.config import TrainConfig, build
from mlsys.data.load import Loaded
from mlsys.errors import ConfigError
from mlsys.evaluation.backtest import BacktestPlan, run_search_folds
from mlsys.evaluation.splits import Fold, selection_and_reported_folds
from mlsys.model_config import CandidatesConfig, Component, SelectionConfig
from mlsys.pipeline.composites import composite_of
from mlsys.prepare import Prepared
from mlsys.recording import config_text
from mlsys.runs.writer import RunWriter
from mlsys.selection.choice import choose
from mlsys.selection.judge import Judge
from mlsys.selection.race import Budget, Entrant, TestedFold, race
from mlsys.selection.record import selection_record
from mlsys.stages import Stopwatch
from mlsys.text import counted, joined

logger = logging.getLogger(__name__)

FILE = "selection.json"


def select(
    prepared: Prepared, loaded: Loaded, writer: RunWriter, clock: Stopwatch
) -> tuple[Prepared, dict[str, Any] | None]:
    """Choose a model, and write what was tried and chosen to the run directory.

    Parameters
    ----------
    prepared : Prepared
        The run. It is returned as it is if its config names a single model.
    loaded : Loaded
        Its data.
    writer : RunWriter
        Writer of ``selection.json``, and of a ``config.yaml`` that names the chosen model.
    clock : Stopwatch
        Started with the run, as the budget is for all of it.

    Returns
    -------
    Prepared
        A run of the chosen model.
    dict or None
        Content of ``selection.json``; None without a choice.

    Raises
    ------
    FitError
        If no candidate can be fitted.
    ConfigError
        If parameters of a candidate refer to columns that the panel does not have.
    """
    config = prepared.config
    if not isinstance(config.model, CandidatesConfig):
        return prepared, None
    with clock("selection"):
        candidates = _Candidates(config, prepared.parts, loaded)
        folds, reported = selection_and_reported_folds(prepared.parts.split, loaded.panel.frame, config.model.folds)
        # The learning curve fits parts of the folds again.
        fits = 1 + sum(config.metrics.learning_curve)
        rows = round(fits * sum(len(fold.train) for fold in reported)) + int(loaded.panel.frame["label_complete"].sum())
        budget = Budget(config.fit.minutes and 60 * config.fit.minutes, lambda: clock.seconds["total"], rows)
        names = list(config.model.nodes)
        logger.info("choosing among %s on %s", joined(names), counted(len(folds), "fold"))
        judge = Judge(config.objectives[0], config.seed, config.metrics.confidence)
        finish = race(candidates.test, names, folds, judge, budget)

        def may_blend(entrants: Sequence[Entrant]) -> bool:
            is_single = all(composite_of(candidates.estimators[entrant.name]) is None for entrant in entrants)
            return is_single and sum(entrant.time_for(rows) for entrant in entrants) <= budget.left()

        choice = choose(finish, judge, may_blend)
        node = candidates.node(choice.members)
        chosen = _chosen(prepared, node, list(choice.members))
    record = selection_record(finish, choice, judge, minutes=config.fit.minutes, seconds=clock.seconds["selection"])
    writer.write_json(FILE, record)
    writer.write_text("config.yaml", config_text(chosen.config.to_dict()))
    logger.info("chosen: %s", " + ".join(choice.members))
    return chosen, record


@dataclass(frozen=True)
class _Candidates:
    """The candidates of a run, ready to be fitted."""

    config: TrainConfig
    parts: Components
    loaded: Loaded

    def __post_init__(self) -> None:
        """Check parameters that refer to columns, of all candidates at once."""
        problems = []
        for name in self.estimators:
            try:
                self._plan(name)
            except ConfigError as error:
                problems += [of_candidate(problem, name) for problem in error.problems]
        if problems:
            raise ConfigError(
                "The config", problems, "Nothing was trained. See docs/models.md for how to write columns."
            )

    @property
    def estimators(self) -> Mapping[str, Any]:
        """Unfitted estimators by name."""
        return self.parts.candidates

    def test(self, name: str, folds: Sequence[Fold]) -> list[TestedFold]:
        """Fit and score a candidate on folds; the fitted models are not kept."""
        results = run_search_folds(self._plan(name), self.loaded.panel, folds)
        return [TestedFold(each.predictions, len(each.fold.train)) for each in results]

    def node(self, members: Mapping[str, float]) -> dict[str, Any]:
        """Return the config of the chosen model."""
        assert isinstance(self.config.model, CandidatesConfig)
        nodes = {name: self.config.model.nodes[name].model_dump(by_alias=True) for name in members}
        if len(members) == 1:
            return next(iter(nodes.values()))
        weights = [members[name] for name in nodes]
        return {"_target_": "mlsys.pipeline.models.vote", "weights": weights, "members": nodes}

    def _plan(self, name: str) -> BacktestPlan:
        spec = self.parts.with_estimator(self.estimators[name]).pipeline_spec(self.loaded.panel)
        return BacktestPlan.of(self.config, spec, self.loaded)


def _chosen(prepared: Prepared, node: dict[str, Any], names: list[str]) -> Prepared:
    request = prepared.config.model
    assert isinstance(request, CandidatesConfig)
    model = Component.model_validate(node)
    selection = SelectionConfig(folds=request.folds, candidates=request.candidates, chosen=names)
    config = prepared.config.model_copy(update={"model": model, "selection": selection})
    return replace(prepared, config=config, parts=prepared.parts.with_estimator(build(model, "model")))
