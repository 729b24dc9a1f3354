"""Sums of floating-point numbers that do not depend on the order of the rows, so that all databases give the same bits.

Each number is split into four parts that are multiples of 1, 2**-26, 2**-53 and 2**-80. Multiples of one power of two
add without rounding as long as their sum has at most 53 bits. Only the total of the four sums is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

# Adding 1.5 * 2**k and subtracting it again rounds a number to a multiple of 2**(k - 52).
ROUNDERS = (1.5 * 2.0**52, 1.5 * 2.0**26, 1.5 * 2.0**-1, 1.5 * 2.0**-28)


def exact_parts(value: ir.NumericColumn) -> list[ir.NumericColumn]:
    """Split numbers into parts that can be summed in any order.

    What a number has beyond its 80th binary place (1e-24) is dropped. Sums of up to 2**26 rows are exact, if they are
    below 2**53 (9e15).

    Parameters
    ----------
    value : ibis column
        Of type float64.

    Returns
    -------
    list of ibis column
        Four columns, of which the first is the whole part; see :func:`exact_total`.

    References
    ----------
    Rump, Ogita, Oishi: Accurate floating-point summation, part I. SIAM Journal on Scientific Computing 31 (2008),
    189-224, section 3.

    Examples
    --------
    >>> import ibis
    >>> table = ibis.memtable({"x": [0.1] * 10 + [1e9]}, schema={"x": "float64"})
    >>> total = exact_total([part.sum() for part in exact_parts(table.x)])
    >>> total.to_pyarrow().as_py()
    1000000001.0
    """
    parts, rest = [], value
    for rounder in ROUNDERS:
        part = (rest + rounder) - rounder
        parts.append(part)
        rest = rest - part
    return parts


def exact_total(sums: Sequence[ir.NumericScalar]) -> ir.NumericScalar:
    """Return the total of the sums of each part, added from the smallest part to the largest."""
    return reduce(add, reversed(sums))
