"""Samples the rows without a conversion: which of them stay, and how many rows each one stands for.

A row stays if the MD5 digest of its seed, as-of and id is below a threshold. So the same rows stay in every database,
and when entities, as-ofs or outcomes become known later; a larger fraction keeps all rows of a smaller one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import ibis
import numpy as np
from numpy.typing import NDArray

from mlsys.data.config import Negatives, SampledData
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.text import counted

if TYPE_CHECKING:
    import ibis.expr.types as ir

logger = logging.getLogger(__name__)

HEX_DIGITS = 8  # of the digest that are compared

# With 20 negatives per positive row, intervals are hardly wider; see benchmarks/negatives.py.
NEGATIVES_PER_POSITIVE = 20
MIN_NEGATIVES = 200_000
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # few values, so that growing data rarely change the sample


@ibis.udf.scalar.builtin(name="md5", signature=(("string",), "string"))
def _md5(text):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - each database has its own
    ...


@dataclass(frozen=True)
class NegativeSample:
    """A sample of the rows whose label is 0.

    Attributes
    ----------
    fraction : float
        Of these rows that stay, in (0, 1).
    seed : int

    Examples
    --------
    >>> NegativeSample(0.5, seed=0).contains(["a", "b", "c"], [18316] * 3)
    array([False, False,  True])
    """

    fraction: float
    seed: int

    @classmethod
    def of(cls, negatives: Negatives, seed: int, *, positives: int, rows: int) -> Self | None:
        """Return the sample that a config describes, for a table with so many rows; None if all rows stay."""
        fraction = auto_fraction(positives, rows - positives) if negatives == "auto" else negatives
        return None if fraction == 1.0 else cls(fraction, seed)

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

        Parameters
        ----------
        spine : ibis table
            With the columns ``id``, ``as_of_day`` and ``label``.
        """
        text = ibis.literal(f"{self.seed}:") + spine.as_of_day.cast("string") + ":" + spine.id.cast("string")
        # Of equal length, so that they compare alike in every collation.
        positive, sampled = spine.label == 1, _md5(text).substr(0, HEX_DIGITS) < self.threshold
        weight = positive.ifelse(ibis.literal(1.0, "float64"), ibis.literal(self.weight, "float64"))
        return spine.filter(positive | sampled).mutate(**{SAMPLING_WEIGHT: weight})

    def contains(self, ids: Iterable[object], times: Iterable[object]) -> NDArray[np.bool_]:
        """Return whether each row is in the sample, by its id and its time, shape (n_rows,)."""
        texts = (f"{self.seed}:{time}:{each}" for each, time in zip(ids, times, strict=True))
        digests = (hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts)
        threshold = self.threshold
        return np.fromiter((digest[:HEX_DIGITS] < threshold for digest in digests), dtype=np.bool_)

    def of_labels(
        self, label: NDArray[np.int8], ids: Iterable[object], times: Iterable[object]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the positions of the rows that stay, and their weights."""
        kept = np.flatnonzero((label == 1) | self.contains(ids, times))
        return kept, np.where(label[kept] == 1, 1.0, self.weight)

    def facts(self, *, rows: int, positives: int) -> dict[str, Any]:
        """Return what a run records: fraction, seed, and the rows of the whole table."""
        return {"negatives": asdict(self) | {"rows": rows, "positives": positives}}


def sampling_key(data: SampledData) -> dict[str, Any]:
    """Return what determines a sample, for the key of a cached table; empty if all rows stay."""
    return {} if data.negatives == 1.0 else {"negatives": data.negatives, "seed": data.negatives_seed}


def log_sample(negatives: Negatives, facts: Mapping[str, Any], rows: int) -> None:
    """Say in the log how many rows stay, if the config asks for a sample."""
    recorded = facts.get("negatives")
    if recorded is not None:
        logger.info(
            "data.negatives=%s: %g of the rows without a conversion, %s of %s; weights undo it",
            negatives,
            recorded["fraction"],
            f"{rows:,}",
            counted(recorded["rows"], "row"),
        )
    elif negatives == "auto":
        logger.info("data.negatives=auto: all %s", counted(rows, "row"))


def sample_of(facts: Mapping[str, Any]) -> NegativeSample | None:
    """Return the sample that a run has recorded, None if all rows stayed.

    Examples
    --------
    >>> sample_of(NegativeSample(0.1, 0).facts(rows=100, positives=2))
    NegativeSample(fraction=0.1, seed=0)
    """
    recorded = facts.get("negatives")
    return None if recorded is None else NegativeSample(recorded["fraction"], recorded["seed"])


def auto_fraction(positives: int, negatives: int) -> float:
    """Return the fraction of the negatives that is enough: 20 for each positive row, and at least 200,000.

    It is rounded up to one of 0.01, 0.02, 0.05, 0.1, 0.2, 0.5 and 1.

    Examples
    --------
    >>> auto_fraction(500, 90_000), auto_fraction(1_000, 4_000_000), auto_fraction(100_000, 20_000_000)
    (1.0, 0.05, 0.1)
    """
    enough = max(NEGATIVES_PER_POSITIVE * positives, MIN_NEGATIVES)
    return next((step for step in STEPS if step * negatives >= enough), 1.0)
