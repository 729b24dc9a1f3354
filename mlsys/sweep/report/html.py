"""The report of a sweep: one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys.evaluation.report.pages import Picture, embed, templates
from mlsys.sweep.report.parallel_coordinates import drawn_branches
from mlsys.sweep.report.plots import MAX_SLICES, draw_plots, searched_parameters
from mlsys.sweep.report.summary import summarise_sweep

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

TEMPLATES = Path(__file__).parent / "templates"
CAPTIONS = {
    "history": "Each mark is a trial. An arrow at an edge marks a value outside the axis; marks at the bottom are "
    "trials without a value.",
    "importances": "Optuna's estimate (PED-ANOVA) of how much a parameter decides whether a trial is among the best. "
    "The estimate is rough below a few hundred trials and does not show causes.",
    "pareto": "For a trial on the front, no other trial is better in one objective and at least as good in all others. "
    "Trials outside the axes are not drawn.",
}


def render_sweep(results: SweepResults) -> str:
    """Render the report.

    Parameters
    ----------
    results : SweepResults
        Results of a sweep in any state: not started, interrupted or finished.

    Returns
    -------
    str
        An HTML document with embedded images and script; its links are relative to the sweep directory.
    """
    analysis = results.analysis
    importances = analysis.importances()
    pictures: dict[str, list[Picture]] = {}
    for kind, png in draw_plots(analysis, importances):
        pictures.setdefault(kind, []).append(embed(kind, png, CAPTIONS.get(kind, "")))
    script = (TEMPLATES / "sort.js").read_text()
    return (
        templates(TEMPLATES)
        .get_template("sweep.html.j2")
        .render(
            summary=summarise_sweep(results),
            analysis=analysis,
            importances=importances,
            pictures=pictures,
            omitted_slices=max(len(searched_parameters(analysis)) - MAX_SLICES, 0),
            are_branches_omitted=bool(analysis.complete) and len(analysis.branches) > len(drawn_branches(analysis)),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )
