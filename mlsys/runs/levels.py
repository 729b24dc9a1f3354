"""Names of the levels that encoders add to a category: training writes them, and the service scores with them."""

MISSING = "(missing)"
RARE = "(rare)"
UNKNOWN = "(unknown)"
RESERVED = (MISSING, RARE, UNKNOWN)
