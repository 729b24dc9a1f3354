"""The name of the column with the number of rows that a row stands for, where ``data.negatives`` has left some out."""

SAMPLING_WEIGHT = "sampling_weight"
