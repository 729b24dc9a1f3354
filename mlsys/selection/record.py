"""What a choice tried, as the content of ``selection.json``."""

from __future__ import annotations

import math
from typing import Any

from mlsys.evaluation.metrics import Entry
from mlsys.selection.choice import Blend, Optimism, Selected
from mlsys.selection.judge import Judge
from mlsys.selection.race import Entrant, Finish, differences


def selection_record(
    finish: Finish, choice: Selected, judge: Judge, *, minutes: float | None, seconds: float
) -> dict[str, Any]:
    """Return the content of ``selection.json``.

    Parameters
    ----------
    finish : Finish
    choice : Selected
    judge : Judge
    minutes : float or None
        The budget.
    seconds : float
        What the choice took.

    Returns
    -------
    dict
        ``objective``, ``minutes`` and ``seconds``; ``folds``, in the order in which they were run; ``chosen``: weights
        by candidate; ``best``: the best single candidate; ``candidates``: for each ``name``, ``status`` (finished,
        worse, no time or failed), ``reason``, ``folds``, ``value``, ``difference`` from the best single candidate on
        the folds that both were tested on, and ``seconds``; ``blend``: ``members``, ``difference`` from single
        candidates by leave-one-fold-out choice, and whether it was ``chosen``; ``optimism``: ``folds``, ``value`` and
        ``nested`` value. None marks what is undefined.
    """
    best = next(entrant for entrant in finish.finishers if entrant.name == choice.best)
    found = _differences(finish, best, judge)
    return {
        "objective": judge.objective,
        "minutes": minutes,
        "seconds": seconds,
        "folds": [_fold(best, position, finish) for position in range(len(finish.folds))],
        "chosen": choice.members,
        "best": choice.best,
        "candidates": [_candidate(entrant, found.get(entrant.name)) for entrant in finish.entrants],
        "blend": _blend(choice.blend),
        "optimism": _optimism(choice.optimism),
    }


def _differences(finish: Finish, best: Entrant, judge: Judge) -> dict[str, Entry]:
    """Return the difference of each candidate from the best, on the folds that it was tested on."""
    found: dict[str, Entry] = {}
    for folds in sorted({len(entrant.tests) for entrant in finish.entrants} - {0}):
        same = [entrant for entrant in finish.entrants if len(entrant.tests) == folds and entrant is not best]
        found |= {name: entry for name, entry in differences(same, best, folds, judge).items() if name != best.name}
    return found


def _fold(best: Entrant, position: int, finish: Finish) -> dict[str, Any]:
    fold, rows = finish.folds[position], best.tests[position].predictions
    as_of = None if fold.as_of is None else f"{fold.as_of:%Y-%m-%d}"
    return {"as_of": as_of, "rows": len(rows), "positives": int(rows["label"].sum())}


def _candidate(entrant: Entrant, difference: Entry | None) -> dict[str, Any]:
    return {
        "name": entrant.name,
        "status": entrant.status,
        "reason": entrant.reason,
        "folds": len(entrant.tests),
        "value": _json(entrant.mean),
        "difference": difference,
        "seconds": round(entrant.seconds, 3),
    }


def _blend(blend: Blend | None) -> dict[str, Any] | None:
    if blend is None:
        return None
    return {"members": blend.members, "difference": blend.difference, "chosen": blend.is_better}


def _optimism(optimism: Optimism | None) -> dict[str, Any] | None:
    if optimism is None:
        return None
    return {"folds": optimism.folds, "value": _json(optimism.value), "nested": _json(optimism.nested)}


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value
