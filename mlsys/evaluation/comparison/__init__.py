"""Runs side by side: which can be compared, how they differ and how sure that is."""

from mlsys.evaluation.comparison.candidates import Candidate, Gathered, LeftOut, gather
from mlsys.evaluation.comparison.comparison import Compared, Comparison, compare

__all__ = ["Candidate", "Compared", "Comparison", "Gathered", "LeftOut", "compare", "gather"]
