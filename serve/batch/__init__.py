"""Batches: read rows, score them, write the answer; in a thread or in another process."""
