"""The model card: what a run found, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mlsys.errors import PrunedError
from mlsys.evaluation.backtest import FoldResult, objective_values
from mlsys.evaluation.pages import templates
from mlsys.evaluation.summary import Facts, Numbers, summarise


def render_card(
    *,
    config: Numbers,
    metrics: Numbers,
    audit: Numbers,
    threshold: Numbers | None,
    facts: Facts,
    top_leads: pd.DataFrame | None = None,
) -> str:
    """Write the model card.

    Parameters
    ----------
    config : mapping
        The resolved config; ``choices`` (group to option) and ``seed`` are read.
    metrics, audit : mapping
        The shapes of ``metrics.json`` (with ``versus_activity``) and ``audit.json``.
    threshold : mapping or None
        The operating threshold: threshold, method, parameters, precision, recall, ….
    facts : Facts
        What else is known of the run.
    top_leads : DataFrame, optional
        Columns id, as_of, probability and label: the rows ranked first in the latest fold.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> card = render_card(config={"choices": {"model": "catboost"}}, metrics={}, audit={}, threshold=None,
    ...                    facts={"data": "demo"})
    >>> card.splitlines()[0]
    '# Model card: catboost on demo'
    """
    summary = summarise(
        config=config, metrics=metrics, audit=audit, threshold=threshold, facts=facts, top_leads=top_leads
    )
    return templates().get_template("card.md.j2").render(summary=summary)


def trial_card(
    config: Numbers,
    objectives: Sequence[str],
    results: Sequence[FoldResult],
    at: Sequence[int],
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
    at : sequence of int
        The list lengths k of the top-k metrics.
    pruned : PrunedError, optional
        Why the trial was given up.
    """
    choices = config["choices"]
    rows = [
        (str(result.fold.number), result.fold.as_of, objective_values([result], objectives, at)) for result in results
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
