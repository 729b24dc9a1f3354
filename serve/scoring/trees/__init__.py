"""Decision trees as arrays, and their traversal in C or NumPy."""
