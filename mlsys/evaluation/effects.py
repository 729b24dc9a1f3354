"""What single columns add to the log odds of a model that is a sum of curves."""

from __future__ import annotations

from typing import NamedTuple

from sklearn.pipeline import Pipeline

from mlsys.pipeline.ebm import Curve
from mlsys.pipeline.encoders import outputs_of
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.transformers import NativeColumns

MAX_EFFECTS = 6


class Effect(NamedTuple):
    """The curve of a panel column.

    Attributes
    ----------
    name : str
        The column.
    curve : Curve
    """

    name: str
    curve: Curve


def effects(pipeline: Pipeline) -> list[Effect]:
    """Return the curves of the six columns that matter most, the first one most.

    Parameters
    ----------
    pipeline : sklearn Pipeline
        Fitted pipeline.

    Returns
    -------
    list of Effect
        Empty for a model that has no curves, or none of the columns as they are in the panel: only ``encoder=native``
        keeps them, without a sampler that wants scaled numbers.
    """
    curves = traits_of(pipeline[-1]).curves
    encoder = pipeline[0]
    if curves is None or not isinstance(encoder, NativeColumns) or encoder.scaled:
        return []
    most = sorted(curves(pipeline[-1]), key=lambda curve: -curve.importance)[:MAX_EFFECTS]
    names = [output.source for output in outputs_of(encoder)]
    return [Effect(names[curve.column], curve) for curve in most if curve.importance > 0]
