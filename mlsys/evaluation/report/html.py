"""The report: one HTML page that holds everything it shows and fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mlsys.evaluation.formats import Numbers
from mlsys.evaluation.report.pages import embed, templates
from mlsys.evaluation.report.summary import RunFacts, summarise

CAPTIONS: Mapping[str, str] = {
    "gain": "Read it upwards: contact this share of the list, and you reach that share of all who convert. The faint "
    "lines are single folds.",
    "pr": "The further down the list one goes, to the right, the fewer of those contacted convert.",
    "roc": "The same ranking, free of how rare the outcome is. The diagonal is a coin toss.",
    "calibration": "Probabilities that can be taken at their word lie on the diagonal. Each bin expects equally many "
    "positives; a hollow mark at the bottom saw none.",
    "scores": "How the probabilities spread in each group; the ticks at the bottom are single positives. The further "
    "apart, the better the ranking.",
    "folds": "Every fold is a separate test. A hollow mark is a fold whose outcomes are not all known yet.",
    "importances": "How much the saved model uses each feature. That is use, not cause.",
}


def render_report(
    *,
    plots: Mapping[str, Path],
    config: Numbers,
    metrics: Numbers,
    audit: Numbers,
    threshold: Numbers | None,
    facts: RunFacts,
    top_leads: pd.DataFrame | None = None,
) -> str:
    """Write the report.

    Parameters
    ----------
    plots : mapping of str to Path
        What `mlsys.evaluation.report.plots.write_plots` returned; a plot that is missing is left out.
    config, metrics, audit, threshold, facts, top_leads
        As for `mlsys.evaluation.report.card.render_card`.

    Returns
    -------
    str
        An HTML document; its images are inside.

    Examples
    --------
    >>> page = render_report(plots={}, config={}, metrics={}, audit={}, threshold=None, facts={"data": "<b>"})
    >>> "model on &lt;b&gt;" in page
    True
    """
    summary = summarise(
        config=config, metrics=metrics, audit=audit, threshold=threshold, facts=facts, top_leads=top_leads
    )
    pictures = {name: embed(name, path.read_bytes(), CAPTIONS.get(name, "")) for name, path in plots.items()}
    return templates().get_template("report.html.j2").render(summary=summary, pictures=pictures)
