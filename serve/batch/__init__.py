"""Batches: read rows, score them and write the response, in a thread or in another process."""
