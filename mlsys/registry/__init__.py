"""Registered models: immutable versions, aliases such as champion, the gate before it, and what was done when by whom."""
