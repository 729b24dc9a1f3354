"""The warning that boosting ended at its limit of iterations, where early stopping could not choose the number."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.pipeline.choosing import Choice
from mlsys.text import counted, joined

FACTOR = 4  # to recommend a limit that early stopping is unlikely to meet again


def cap_warning(folds: Sequence[Choice], final: Choice | None = None) -> str:
    """Say which limits ended boosting, in which fits, and how to raise them; empty if none did.

    Parameters
    ----------
    folds : sequence of Choice
        What each fold's fit chose.
    final : Choice, optional
        What the fit of the final model chose.

    Examples
    --------
    >>> from mlsys.pipeline.choosing import Cap
    >>> print(cap_warning([Choice(cap=Cap("iterations", 200)), Choice()], Choice()))  # doctest: +NORMALIZE_WHITESPACE
    Boosting ended at model.iterations=200 in 1 of 2 folds, before early stopping found the best number: more may score
    better. Set model.iterations=800, or a higher model.learning_rate.
    """
    met = [cap for fold in folds for cap in fold.caps()]
    final_met = [] if final is None else final.caps()
    sentences = []
    for cap in dict.fromkeys([*met, *final_met]):
        places = [f"{met.count(cap)} of {counted(len(folds), 'fold')}"] if cap in met else []
        places += ["the final model"] if cap in final_met else []
        rate = f"model.{cap.key.rpartition('.')[0]}.learning_rate".replace("..", ".")
        sentences.append(
            f"Boosting ended at model.{cap.key}={cap.limit} in {joined(places)}, before early stopping found the best "
            f"number: more may score better. Set model.{cap.key}={FACTOR * cap.limit}, or a higher {rate}."
        )
    return " ".join(sentences)
