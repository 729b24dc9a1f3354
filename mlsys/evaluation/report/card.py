"""The model card: what a run found, as Markdown."""

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
    """Write the model card.

    Parameters
    ----------
    config : mapping
        The resolved config; ``choices`` (group to option) and ``seed`` are read.
    metrics, audit : mapping
        The shapes of ``metrics.json`` (with ``versus_activity``) and ``audit.json``.
    threshold : mapping or None
        The operating threshold: threshold, method, parameters, precision, recall, ….
    facts : RunFacts
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
