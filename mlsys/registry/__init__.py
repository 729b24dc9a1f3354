"""Model registry: immutable versions, aliases such as champion, the promotion gate and the history of changes."""
