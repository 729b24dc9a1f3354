"""The card of a trial: short, and written without what renders pages, which workers then need not load."""

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
    """Write the card of a trial: what it was judged on, and that it has no model.

    Parameters
    ----------
    config : mapping
        The resolved config.
    objectives : sequence of str
    results : sequence of FoldResult
        Of the folds that were fitted.
    top_k : sequence of int
        The list lengths k of the top-k metrics.
    pruned : PrunedError, optional
        Why the trial was given up.
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
    end = f"Given up: {pruned}" if pruned else "Judged on every fold of the search."
    return (
        f"# Trial {config['search']['trial']}: {choices.get('model', 'model')} on {config['data']['name']}\n\n"
        f"{end} A trial keeps its numbers and no model; the sweep's `best` is a complete run.\n\n{head}{table}"
    )
