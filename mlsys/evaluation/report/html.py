"""The report: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mlsys.evaluation.formats import Numbers
from mlsys.evaluation.report.pages import embed, templates
from mlsys.evaluation.report.summary import RunFacts, summarise

CAPTIONS: Mapping[str, str] = {
    "gain": "How many of all positives you reach (vertical) by working through the ranked list from the top "
    "(horizontal). Faint lines are individual folds.",
    "pr": "Moving right reaches more of the positives, but a smaller fraction of the list so far is positive.",
    "roc": "Quality of the ranking, regardless of how rare positives are. The diagonal is random guessing.",
    "calibration": "Well-calibrated probabilities lie on the diagonal. All bins have the same expected number of "
    "positives; a hollow marker at the bottom is a bin without any.",
    "scores": "Distribution of the probabilities in each group; ticks at the bottom are individual positives. The less "
    "the groups overlap, the better the ranking.",
    "folds": "Each fold is a separate test. A hollow marker is a fold whose outcomes are not all known yet.",
    "importances": "How much the saved model relies on each feature. Importance does not imply causation.",
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
    """Render the report.

    Parameters
    ----------
    plots : mapping of str to Path
        PNG files as returned by `mlsys.evaluation.report.plots.write_plots`; missing plots are left out.
    config, metrics, audit, threshold, facts, top_leads
        See `mlsys.evaluation.report.card.render_card`.

    Returns
    -------
    str
        An HTML document with embedded images.

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
