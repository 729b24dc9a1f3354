"""The `mlsys` command; each subcommand imports what it needs when it is called."""
