"""The rows of the table of metrics that only models with an uplift have; see `mlsys.evaluation.metric_table`.

The module imports neither NumPy nor pandas, so that `mlsys runs` starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsys.evaluation.metric import Metric

if TYPE_CHECKING:
    from mlsys.evaluation.ranking import FloatArray
    from mlsys.evaluation.uplift_sample import UpliftSample


def qini(sample: UpliftSample) -> FloatArray:
    """Compute the area between the Qini curve and that of random targeting; see `UpliftSample.qini`."""
    return sample.qini()


def uplift_top_10(sample: UpliftSample) -> FloatArray:
    """Compute the difference of the conversion rates of both arms among the tenth with the highest uplift."""
    return sample.uplift(0.1)


def uplift_top_30(sample: UpliftSample) -> FloatArray:
    """Compute the difference of the conversion rates of both arms among the 30 % with the highest uplift."""
    return sample.uplift(0.3)


UPLIFT_METRICS = (
    Metric(
        name="qini",
        compute=qini,
        group="uplift",
        title="Qini coefficient",
        meaning="additional {positives} per row from contacting the highest uplift first instead of at random, mean "
        "over all list lengths",
        needs="uplift",
        higher_is_better=True,
        headline=True,
        kind="rate",
        interval_method="t",
    ),
    Metric(
        name="uplift_top_10",
        compute=uplift_top_10,
        group="uplift",
        title="Uplift of the top 10%",
        meaning="how much the treatment raises the fraction of {positives} among the 10% with the highest uplift",
        needs="uplift",
        higher_is_better=True,
        kind="rate",
        interval_method="t",
    ),
    Metric(
        name="uplift_top_30",
        compute=uplift_top_30,
        group="uplift",
        title="Uplift of the top 30%",
        meaning="how much the treatment raises the fraction of {positives} among the 30% with the highest uplift",
        needs="uplift",
        higher_is_better=True,
        headline=True,
        kind="rate",
        interval_method="t",
    ),
)
