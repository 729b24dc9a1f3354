"""Exact tree traversal: bit for bit the sum that the library that grew the trees computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from serve.scoring.trees.arrays import Trees
from serve.scoring.trees.compiled import CompiledTraversal, is_compiled
from serve.scoring.trees.vectorised import VectorisedTraversal


class Traversal(Protocol):
    """Traverses the trees of a model.

    Attributes
    ----------
    implementation : str
        Where it runs, for sentences: ``in C`` or ``in NumPy``.
    """

    implementation: str

    def sum(self, row: Sequence[float], start: float) -> float:
        """Return ``start`` plus the values of the leaves that a row reaches, added in tree order.

        Parameters
        ----------
        row : sequence of float, length width
        start : float
            A number that the values' dtype represents exactly.
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
    """Return the fastest traversal that is installed.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of columns in an encoded row.

    Raises
    ------
    RunError
        If a node points outside its tree or the row, or back to an earlier node.
    """
    return CompiledTraversal(trees, width) if is_compiled() else VectorisedTraversal(trees, width)
