"""The report of a sweep: one HTML page that holds everything it shows and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys.evaluation.report.pages import Picture, embed, templates
from mlsys.sweep.report.parallel_coordinates import drawn_branches
from mlsys.sweep.report.plots import MOST_SLICES, draw_plots, searched_parameters
from mlsys.sweep.report.summary import summarise_sweep

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

TEMPLATES = Path(__file__).parent / "templates"
CAPTIONS = {
    "history": "Each mark is a trial. An arrow at the edge is a value that is further off; marks at the bottom are "
    "trials without a value.",
    "importances": "Optuna's estimate (PED-ANOVA) of how much a parameter decides whether a trial is among the best. "
    "It is rough until there are hundreds of trials, and says nothing of cause.",
    "pareto": "A trial on the front is beaten by no other in every objective. Trials that are far off are not drawn.",
}


def render_sweep(results: SweepResults) -> str:
    """Write the report.

    Parameters
    ----------
    results : SweepResults
        Of a sweep at any stage: not begun, interrupted, done.

    Returns
    -------
    str
        An HTML document; its images and its script are inside, and its links are relative to the sweep directory.
    """
    found = results.findings
    importances = found.importances()
    pictures: dict[str, list[Picture]] = {}
    for kind, png in draw_plots(found, importances):
        pictures.setdefault(kind, []).append(embed(kind, png, CAPTIONS.get(kind, "")))
    script = (TEMPLATES / "sort.js").read_text()
    return (
        templates(TEMPLATES)
        .get_template("sweep.html.j2")
        .render(
            summary=summarise_sweep(results),
            found=found,
            importances=importances,
            pictures=pictures,
            undrawn_slices=max(len(searched_parameters(found)) - MOST_SLICES, 0),
            is_part_drawn=bool(found.complete) and len(found.branches) > len(drawn_branches(found)),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )
