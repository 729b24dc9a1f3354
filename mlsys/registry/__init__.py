"""Registered models: immutable versions, aliases such as champion, the gate before it, and who did what when."""
