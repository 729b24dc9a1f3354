"""Model selection within a run (``model=auto``): candidates race on folds that the run does not report.

`race` tries them by successive halving, `choice` takes the best one or a blend and measures how much choosing flatters,
`select` connects both with a run.
"""
