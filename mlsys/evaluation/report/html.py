"""The report: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlsys.evaluation.report.pages import embed, templates
from mlsys.evaluation.report.summary import Summary

CAPTIONS: Mapping[str, str] = {
    "uplift": "How many more positives you gain (vertical) by treating the rows with the highest uplift first "
    "(horizontal), with the interval of each point. The straight line is treating rows at random; where the curve "
    "falls, the treatment does harm.",
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
    "effects": "What each value adds to the log odds, compared with the average: +0.7 doubles the odds. The bins of a "
    "number are equally wide and begin at the values shown. The band is one standard deviation between models of parts "
    "of the training rows, an orange dot a missing value. Pairs of columns add to it.",
}


def render_report(summary: Summary, plots: Mapping[str, Path]) -> str:
    """Render the report as one HTML document with embedded images.

    Parameters
    ----------
    summary : Summary
        Its content, from `mlsys.evaluation.report.summary.summarise`.
    plots : mapping of str to Path
        PNG files as returned by `mlsys.evaluation.report.plots.write_plots`; missing plots are left out.

    Examples
    --------
    >>> from mlsys.evaluation.report.summary import summarise
    >>> summary = summarise(config={}, metrics={}, audit={}, threshold=None, facts={"data": "<b>"})
    >>> "model on &lt;b&gt;" in render_report(summary, plots={})
    True
    """
    pictures = {name: embed(name, path.read_bytes(), CAPTIONS.get(name, "")) for name, path in plots.items()}
    return templates().get_template("report.html.j2").render(summary=summary, pictures=pictures)
