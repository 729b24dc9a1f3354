"""Comparison of runs: which can be compared, how they differ, and how certain the differences are."""

from mlsys.evaluation.comparison.candidates import Candidate, Gathered, LeftOut, gather
from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison, compare

__all__ = ["Candidate", "ComparedRun", "Comparison", "Gathered", "LeftOut", "compare", "gather"]
