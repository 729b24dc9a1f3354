"""Runs side by side: which can be compared, how they differ and how sure that is."""

from mlsys.evaluation.comparison.candidates import Candidate, Gathered, LeftOut, gather
from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison, compare

__all__ = ["Candidate", "ComparedRun", "Comparison", "Gathered", "LeftOut", "compare", "gather"]
