"""The memory that a fit needs at its peak, per value of the training rows."""

from __future__ import annotations

from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.traits import sampler_traits_of, traits_of


def bytes_per_value(spec: PipelineSpec) -> float:
    """Return the bytes that a fit holds at its peak for each row and feature, beyond the panel.

    For a composite, it is that of its largest member: they are fitted one after the other.

    Parameters
    ----------
    spec : PipelineSpec
    """
    if members := spec.members():
        return max(bytes_per_value(member) for member in members.values())
    traits = traits_of(spec.estimator)
    if spec.sampler is None or traits.reads_panel:
        return traits.bytes_per_value
    return traits.bytes_per_value + sampler_traits_of(spec.sampler).bytes_per_value
