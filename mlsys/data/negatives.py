"""Samples the rows without a conversion: which of them stay, and how many rows each one stands for.

A row stays if the MD5 digest of its seed, as-of and id is below a threshold. So the same rows stay in every database,
and when entities, as-ofs or outcomes become known later; a larger fraction keeps all rows of a smaller one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Self

import ibis
import numpy as np
from numpy.typing import NDArray

from mlsys.data.config import Negatives, SampledData
from mlsys.data.spine import to_day
from mlsys.data.weight_column import SAMPLING_WEIGHT, TEST_WEIGHT
from mlsys.text import counted

if TYPE_CHECKING:
    import ibis.expr.types as ir

logger = logging.getLogger(__name__)

HEX_DIGITS = 8  # of the digest that are compared

# With 20 negatives per positive row, intervals are hardly wider; see benchmarks/negatives.py.
NEGATIVES_PER_POSITIVE = 20
MIN_NEGATIVES = 200_000
# Positive rows of an as-of per row that a sampled one stands for: with so many, the head of the list has few gaps.
MIN_POSITIVES = 100
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # few values, so that growing data rarely change the sample


@ibis.udf.scalar.builtin(name="md5", signature=(("string",), "string"))
def _md5(text):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - each database has its own
    ...


@dataclass(frozen=True)
class WholeTests:
    """Which as-ofs are tested on all of their rows, although a model learns from a sample.

    Attributes
    ----------
    negatives : {"auto", "same", "all"}
        "same": on the sample; "auto": on all rows, unless the sample is large enough to tell the head of the list.
    as_ofs : int or None
        How many of the latest ones are tested; None: any may be.
    until : date or None
        The latest one.
    """

    negatives: Literal["auto", "same", "all"] = "same"
    as_ofs: int | None = None
    until: date | None = None

    def first(self, as_ofs: Sequence[date], *, fraction: float, positives: int) -> date | None:
        """Return the first as-of whose rows all stay; None without any.

        Parameters
        ----------
        as_ofs : sequence of date
            Sorted; empty for rows without label windows, which are read in any case.
        fraction : float
            Of the negatives in the sample.
        positives : int
            Positive rows of all as-ofs.

        Examples
        --------
        >>> months = [date(2020, month, 1) for month in range(1, 13)]
        >>> WholeTests("auto", as_ofs=3).first(months, fraction=0.1, positives=1_000)
        datetime.date(2020, 10, 1)
        >>> WholeTests("auto", as_ofs=3).first(months, fraction=0.1, positives=20_000) is None
        True
        """
        is_enough = len(as_ofs) > 0 and fraction * positives / len(as_ofs) >= MIN_POSITIVES
        if self.negatives == "same" or (self.negatives == "auto" and is_enough):
            return None
        tested = [as_of for as_of in as_ofs if self.until is None or as_of <= self.until]
        return date.min if self.as_ofs is None or not tested else tested[-self.as_ofs :][0]


ON_SAMPLE = WholeTests()


@dataclass(frozen=True)
class NegativeSample:
    """A sample of the rows whose label is 0.

    Attributes
    ----------
    fraction : float
        Of these rows that stay, in (0, 1).
    seed : int
    whole_from : date or None
        As-ofs from this on keep all rows, to be tested; a model learns from the sample alone.

    Examples
    --------
    >>> NegativeSample(0.5, seed=0).contains(["c", "d", "e"], [18316] * 3)
    array([False,  True, False])
    """

    fraction: float
    seed: int
    whole_from: date | None = None

    @classmethod
    def of(
        cls, data: SampledData, tests: WholeTests, *, positives: int, rows: int, as_ofs: Sequence[date] = ()
    ) -> Self | None:
        """Return the sample that a config describes, for a table with so many rows; None if all rows stay."""
        fraction = data.negatives
        if fraction == "auto":
            fraction = auto_fraction(positives, rows - positives, max(len(as_ofs), 1))
        if fraction == 1.0:
            return None
        return cls(fraction, data.negatives_seed, tests.first(as_ofs, fraction=fraction, positives=positives))

    @property
    def weight(self) -> float:
        """Rows that each sampled row stands for."""
        return 1 / self.fraction

    @property
    def threshold(self) -> str:
        """First digits of the lowest digest that is not in the sample."""
        return f"{round(self.fraction * 16**HEX_DIGITS):0{HEX_DIGITS}x}"

    def of_spine(self, spine: ir.Table) -> ir.Table:
        """Return the rows of a spine that stay, with their ``sampling_weight``: 1 where the label is 1.

        Where some as-ofs keep all rows, the others of these have a weight of 0, and ``test_weight`` is 1 for all.

        Parameters
        ----------
        spine : ibis table
            With the columns ``id``, ``as_of_day`` and ``label``.
        """
        text = ibis.literal(f"{self.seed}:") + spine.as_of_day.cast("string") + ":" + spine.id.cast("string")
        # Of equal length, so that they compare alike in every collation.
        positive, sampled = spine.label == 1, _md5(text).substr(0, HEX_DIGITS) < self.threshold
        # Cast from text, because a literal such as 1.0 is a decimal in PostgreSQL.
        one, zero, many = (ibis.literal(repr(value)).cast("float64") for value in (1.0, 0.0, self.weight))
        weight = ibis.cases((positive, one), (sampled, many), else_=zero)
        if self.whole_from is None:
            return spine.filter(positive | sampled).mutate(**{SAMPLING_WEIGHT: weight})
        whole = spine.as_of_day >= to_day(self.whole_from)
        weights = {SAMPLING_WEIGHT: weight, TEST_WEIGHT: (positive | whole).ifelse(one, many)}
        return spine.filter(positive | sampled | whole).mutate(**weights)

    def contains(self, ids: Iterable[object], times: Iterable[object]) -> NDArray[np.bool_]:
        """Return whether each row is in the sample, by its id and its time, shape (n_rows,)."""
        texts = (f"{self.seed}:{time}:{each}" for each, time in zip(ids, times, strict=True))
        digests = (hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts)
        threshold = self.threshold
        return np.fromiter((digest[:HEX_DIGITS] < threshold for digest in digests), dtype=np.bool_)

    def of_labels(
        self, label: NDArray[np.int8], ids: Iterable[object], times: Iterable[object]
    ) -> tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]:
        """Return the positions of the rows of a flat table that stay, and their columns with weights."""
        weights = np.where(label == 1, 1.0, np.where(self.contains(ids, times), self.weight, 0.0))
        if self.whole_from is not None:
            return np.arange(len(label)), {SAMPLING_WEIGHT: weights, TEST_WEIGHT: np.ones(len(label))}
        kept = np.flatnonzero(weights)
        return kept, {SAMPLING_WEIGHT: weights[kept]}

    def facts(self, *, rows: int, positives: int) -> dict[str, Any]:
        """Return what a run records: fraction, seed, the first whole as-of, and the rows of the whole table."""
        first = None if self.whole_from is None else str(self.whole_from)
        return {"negatives": asdict(self) | {"whole_from": first, "rows": rows, "positives": positives}}


def sampling_key(data: SampledData, tests: WholeTests) -> dict[str, Any]:
    """Return what determines a sample, for the key of a cached table; empty if all rows stay."""
    if data.negatives == 1.0:
        return {}
    return {"negatives": data.negatives, "seed": data.negatives_seed, "tests": str(tests)}


def log_sample(negatives: Negatives, facts: Mapping[str, Any], rows: int) -> None:
    """Say in the log how many rows stay, if the config asks for a sample."""
    recorded = facts.get("negatives")
    if recorded is not None:
        logger.info(
            "data.negatives=%s: %g of the rows without a conversion, %s of %s; weights undo it%s",
            negatives,
            recorded["fraction"],
            f"{rows:,}",
            counted(recorded["rows"], "row"),
            "; tests are on all rows" if recorded["whole_from"] else "",
        )
    elif negatives == "auto":
        logger.info("data.negatives=auto: all %s", counted(rows, "row"))


def sample_of(facts: Mapping[str, Any]) -> NegativeSample | None:
    """Return the sample that a run has recorded, None if all rows stayed.

    Examples
    --------
    >>> sample_of(NegativeSample(0.1, 0).facts(rows=100, positives=2))
    NegativeSample(fraction=0.1, seed=0, whole_from=None)
    """
    if (recorded := facts.get("negatives")) is None:
        return None
    first = recorded["whole_from"]
    return NegativeSample(recorded["fraction"], recorded["seed"], None if first is None else date.fromisoformat(first))


def auto_fraction(positives: int, negatives: int, as_ofs: int) -> float:
    """Return the fraction of the negatives that is enough: 20 for each positive row, and at least 200,000.

    Each sampled row also stands for at most a hundredth of the positive rows of an as-of. The fraction is rounded up to
    one of 0.01, 0.02, 0.05, 0.1, 0.2, 0.5 and 1.

    Examples
    --------
    >>> auto_fraction(500, 90_000, 20), auto_fraction(40_000, 20_000_000, 20), auto_fraction(10_000, 20_000_000, 20)
    (1.0, 0.05, 0.2)
    """
    enough = max(NEGATIVES_PER_POSITIVE * positives, MIN_NEGATIVES)
    return next(
        (step for step in STEPS if step * negatives >= enough and step * positives >= MIN_POSITIVES * as_ofs), 1.0
    )
