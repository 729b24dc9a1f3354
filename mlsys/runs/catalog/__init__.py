"""Find, index, filter and list runs."""
