"""The model card: a run's results as Markdown."""

from __future__ import annotations

from mlsys.evaluation.report.pages import templates
from mlsys.evaluation.report.summary import Summary


def render_card(summary: Summary) -> str:
    """Render the model card as Markdown.

    Parameters
    ----------
    summary : Summary
        Its content, from `mlsys.evaluation.report.summary.summarise`.

    Examples
    --------
    >>> from mlsys.evaluation.report.summary import summarise
    >>> choices = {"choices": {"model": "catboost"}}
    >>> summary = summarise(config=choices, metrics={}, audit={}, threshold=None, facts={"data": "demo"})
    >>> render_card(summary).splitlines()[0]
    '# Model card: catboost on demo'
    """
    return templates().get_template("card.md.j2").render(summary=summary)
