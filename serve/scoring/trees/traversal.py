"""Walks through trees, which are exact: to the bit what the library that grew them adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from serve.scoring.trees.arrays import Trees
from serve.scoring.trees.compiled import CompiledTraversal, is_compiled
from serve.scoring.trees.vectorised import VectorisedTraversal


class Traversal(Protocol):
    """Walks through the trees of a model.

    Attributes
    ----------
    how : str
        In what, in words.
    """

    how: str

    def sum(self, row: Sequence[float], start: float) -> float:
        """Return ``start`` and the values of the leaves that a row reaches, added up in order.

        Parameters
        ----------
        row : sequence of float, length width
        start : float
            As exact in the precision of the values.
        """
        ...

    def sums(self, rows: NDArray[Any], start: float) -> NDArray[Any]:
        """Return the `sum` of each row; may run in another thread than `sum`.

        Parameters
        ----------
        rows : ndarray of the thresholds' dtype, shape (n_rows, width)
        start : float

        Returns
        -------
        ndarray of the values' dtype, shape (n_rows,)
        """
        ...


def make_traversal(trees: Trees, width: int) -> Traversal:
    """Return the fastest walk that is installed.

    Parameters
    ----------
    trees : Trees
    width : int
        Columns of an encoded row.

    Raises
    ------
    RunError
        If a node points outside of the trees or of the row, or upwards.
    """
    return CompiledTraversal(trees, width) if is_compiled() else VectorisedTraversal(trees, width)
