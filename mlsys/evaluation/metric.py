"""A metric: how it is computed, which direction is better, and how its values are formatted.

The module imports neither NumPy nor pandas, so that `mlsys runs` starts fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlsys.evaluation.formats import MISSING, POINTS, ROUNDING, bounds, percent, plain_number, range_text

if TYPE_CHECKING:
    from mlsys.evaluation.ranking import FloatArray

Group = Literal["ranking", "probabilities", "top_k", "uplift", "cost"]
Input = Literal["score", "probability", "value", "uplift", "timing"]
Kind = Literal["score", "rate", "times", "money", "milliseconds"]
IntervalMethod = Literal["logit", "log", "proportion", "shifted", "t"]
DifferenceMethod = Literal["t", "percentile"]
Verdict = Literal["better", "worse", "same", ""]  # "same": no clear difference; "": not compared


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: a row of `mlsys.evaluation.metric_table.METRICS`.

    Attributes
    ----------
    name : str
        Key in ``metrics.json``; for a top-k metric the part before ``@k``.
    compute : callable or None
        Takes a `mlsys.evaluation.weighted_metrics.Sample` (a top-k metric also k; an uplift metric a
        `mlsys.evaluation.uplift_sample.UpliftSample`) and returns an ndarray of float64 of shape (resamples,), NaN
        where undefined. None for a metric that is timed rather than computed from predictions: it can be an objective,
        but is not in ``metrics.json``, whose bytes must be reproducible.
    group : {"ranking", "probabilities", "top_k", "uplift", "cost"}
        What the metric measures. A "top_k" row defines one metric for each list length k.
    title : str
        Name in tables; may contain ``{k}``.
    meaning : str
        One-line explanation without jargon; may contain ``{positives}`` and ``{k}``. The direction is appended.
    needs : {"score", "probability", "value", "uplift", "timing"}
        Input of the metric. Metrics that need probabilities are left out for scores that are not probabilities (the
        activity baseline), and those that need an uplift for models without one; metrics that need values are undefined
        where no revenue is known.
    higher_is_better : bool
        Whether higher values are better; False for losses, errors and costs.
    headline : bool
        Whether the metric is one of the few that the card, the report, comparisons and `mlsys runs` show first.
    kind : {"score", "rate", "times", "money", "milliseconds"}
        Whether values are formatted as plain numbers, percentages, multiples, amounts or times.
    decimals : int
        Number of decimals of a score; more are shown where the value would be rounded to zero.
    positives : str
        Plural noun for the positive rows. `find_metric` sets it.
    currency : str
        ISO 4217 code of amounts; empty if it is not configured. `find_metric` sets it.
    interval_method : {"logit", "log", "proportion", "shifted", "t"}
        Method of its intervals, in `mlsys.evaluation.intervals`: "logit" for a metric between 0 and 1, "log" for a
        positive one, "proportion" for a count out of a known number, "t" for a difference, "shifted" for any other.
    proportion : callable or None
        For "proportion": takes the rows and positives of each fold, ndarrays of shape (folds,), and k; returns the
        number of trials and the value of a proportion of 1.
    corrects_error : bool
        For "logit": whether the standard error is increased for the positives of each fold having a mean of their own.
    by_rank : bool
        Whether it depends on exact ranks at the head of the list, which a coarse sample of the negatives does not tell.
    difference_method : {"t", "percentile"}
        Method of the intervals of differences between two scores: "percentile" where differences have long tails.
    """

    name: str
    compute: Callable[..., FloatArray] | None
    group: Group
    title: str
    meaning: str
    needs: Input
    higher_is_better: bool
    headline: bool = False
    kind: Kind = "score"
    decimals: int = 3
    positives: str = "positives"
    currency: str = ""
    interval_method: IntervalMethod = "shifted"
    proportion: Callable[[FloatArray, FloatArray, int], tuple[float, float]] | None = None
    corrects_error: bool = False
    by_rank: bool = False
    difference_method: DifferenceMethod = "t"

    @property
    def pattern(self) -> str:
        """The name, with ``@k`` for a top-k metric, as error messages list it.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["lift"].pattern, METRICS["roc_auc"].pattern
        ('lift@k', 'roc_auc')
        """
        return f"{self.name}@k" if self.group == "top_k" else self.name

    @property
    def in_a_sentence(self) -> str:
        """The title as written within a sentence.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["log_loss"].in_a_sentence, METRICS["roc_auc"].in_a_sentence
        ('log loss', 'ROC-AUC')
        """
        return self.title if self.title[1:2].isupper() else self.title[:1].lower() + self.title[1:]

    @property
    def explanation(self) -> str:
        """The meaning, with a note if lower values are better."""
        return self.meaning if self.higher_is_better else f"{self.meaning}; lower is better"

    def write(self, value: float | None) -> str:
        """Format a value.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["roc_auc"].write(0.9), METRICS["lift"].write(17.2), METRICS["revenue"].write(1234.4)
        ('0.900', '17×', '1,234')
        >>> METRICS["average_precision"].write(0.00021), METRICS["recall"].write(None)
        ('0.00021', '–')
        >>> METRICS["ece"].write(1e-17), METRICS["predict_ms"].write(1.234), METRICS["predict_ms"].write(17.6)
        ('0.0000', '1.2 ms', '18 ms')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        if self.kind == "rate":
            return percent(value)
        if self.kind == "times":
            return f"{value:.{0 if abs(value) >= 9.95 else 1}f}×"
        if self.kind == "money":
            return f"{value:,.0f} {self.currency}".rstrip()
        if self.kind == "milliseconds":
            return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
        return plain_number(value, self.decimals)

    def interval(self, entry: object) -> str:
        """Format the interval of an entry of ``metrics.json``; an empty string if no resamples were drawn.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["average_precision"].interval({"value": 0.0769, "low": 0.05, "high": 0.16})
        '0.050 to 0.160'
        >>> METRICS["roc_auc"].interval(0.5)
        ''
        >>> METRICS["roc_auc"].interval({"value": 0.8, "low": None, "high": None, "too_few": True})
        'too few positives for an interval'
        """
        interval = bounds(entry)
        if isinstance(entry, Mapping) and entry.get("too_few"):
            return f"too few {self.positives} for an interval"
        return range_text(self.write(interval[0]), self.write(interval[1])) if interval else ""

    def difference(self, value: float | None) -> str:
        """Format the difference of two values with its sign; differences of percentages in percentage points.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["roc_auc"].difference(0.131), METRICS["precision"].difference(-0.03)
        ('+0.131', '−3.0 points')
        >>> METRICS["precision"].difference(-5e-19), METRICS["ece"].difference(-4e-7)
        ('0', '0')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        if abs(value) < ROUNDING:
            return "0"
        size = f"{abs(value) * 100:.1f}{POINTS}" if self.kind == "rate" else self.write(abs(value))
        return f"{'−' if value < 0 else '+'}{size}"

    def difference_interval(self, entry: object) -> str:
        """Format the interval of a difference; an empty string if it has none.

        Parameters
        ----------
        entry : {"value", "low", "high"}
            As in ``versus_activity`` of ``metrics.json``.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["precision"].difference_interval({"value": 0.01, "low": -0.012, "high": 0.03})
        '−1.2 to +3.0 points'
        """
        interval = bounds(entry)
        return range_text(self.difference(interval[0]), self.difference(interval[1])) if interval else ""

    def verdict(self, entry: object) -> Verdict:
        """Return what a difference says of the first value: clear only if its interval excludes 0.

        Examples
        --------
        >>> from mlsys.evaluation.metric_table import METRICS
        >>> METRICS["log_loss"].verdict({"value": -0.02, "low": -0.03, "high": -0.01})
        'better'
        >>> METRICS["log_loss"].verdict({"value": 0.02, "low": -0.01, "high": 0.03}), METRICS["log_loss"].verdict(0.02)
        ('same', '')
        """
        interval = bounds(entry)
        if interval is None:
            return ""
        if interval[0] <= 0 <= interval[1]:
            return "same"
        return "better" if (interval[0] > 0) == self.higher_is_better else "worse"
