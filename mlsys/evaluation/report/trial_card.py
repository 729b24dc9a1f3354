"""The card of a trial: short, and rendered without the template engine, so that workers need not import it."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.errors import PrunedError
from mlsys.evaluation.backtest import FoldResult, mean_objectives
from mlsys.evaluation.formats import Numbers


def trial_card(
    config: Numbers,
    objectives: Sequence[str],
    results: Sequence[FoldResult],
    top_k: Sequence[int],
    pruned: PrunedError | None = None,
) -> str:
    """Render the card of a trial: its objectives by fold.

    Parameters
    ----------
    config : mapping
        The resolved config.
    objectives : sequence of str
    results : sequence of FoldResult
        The folds that were evaluated.
    top_k : sequence of int
        The list lengths k of the top-k metrics.
    pruned : PrunedError, optional
        Why the trial was pruned.
    """
    choices = config["choices"]
    rows = [
        (str(result.fold.number), result.fold.as_of, mean_objectives([result], objectives, top_k)) for result in results
    ]
    head = f"| fold | as-of | {' | '.join(objectives)} |\n| --- | --- |{' --- |' * len(objectives)}\n"
    table = "".join(
        f"| {number} | {'' if as_of is None else format(as_of, '%Y-%m-%d')} | "
        + " | ".join("" if value is None else f"{value:.5g}" for value in values)
        + " |\n"
        for number, as_of, values in rows
    )
    reason = str(pruned)
    outcome = f"{reason[:1].upper()}{reason[1:]}." if pruned else "Evaluated on every fold of the search."
    return (
        f"# Trial {config['search']['trial']}: {choices.get('model', 'model')} on {config['data']['name']}\n\n"
        f"{outcome} A trial saves its metrics but no model; the sweep's `best` is a complete run.\n\n{head}{table}"
    )
