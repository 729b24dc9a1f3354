"""The model card: a run's results as Markdown."""

from __future__ import annotations

import pandas as pd

from mlsys.evaluation.formats import Numbers
from mlsys.evaluation.report.pages import templates
from mlsys.evaluation.report.summary import RunFacts, summarise


def render_card(
    *,
    config: Numbers,
    metrics: Numbers,
    audit: Numbers,
    threshold: Numbers | None,
    facts: RunFacts,
    top_leads: pd.DataFrame | None = None,
) -> str:
    """Render the model card.

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
        The top-ranked rows of the latest fold, with columns id, as_of, probability and label.

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
