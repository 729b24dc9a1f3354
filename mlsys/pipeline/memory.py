"""The memory that a fit needs at its peak, per value of the training rows."""

from __future__ import annotations

from mlsys.pipeline.composites import composite_of
from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.traits import sampler_traits_of, traits_of

NEW_ROW_BYTES = 8  # of a value in the rows that a composite makes for its members


def bytes_per_value(spec: PipelineSpec) -> float:
    """Return the bytes that a fit holds at its peak for each row and feature, beyond the panel.

    For a composite, it is that of its largest member, as they are fitted one after the other, and of the rows that it
    makes for them.

    Parameters
    ----------
    spec : PipelineSpec
    """
    if (composite := composite_of(spec.estimator)) is not None:
        largest = max(bytes_per_value(member) for member in spec.members().values())
        expanded = composite.rows_per_row()
        return largest if expanded == 1 else expanded * (largest + NEW_ROW_BYTES)
    traits = traits_of(spec.estimator)
    if spec.sampler is None or traits.reads_panel:
        return traits.bytes_per_value
    return traits.bytes_per_value + sampler_traits_of(spec.sampler).bytes_per_value
