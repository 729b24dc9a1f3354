"""Tables of different shapes, tuned plain scripts, and their comparison with mlsys's defaults."""
