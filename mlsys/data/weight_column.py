"""The columns with the number of rows that a row stands for, where ``data.negatives`` has left some out."""

SAMPLING_WEIGHT = "sampling_weight"  # as a training row: 0 if it is only tested
TEST_WEIGHT = "test_weight"  # as a test row, if that is another number
