"""The panel's cost against its size, beside pandas, polars and Featuretools on the same tables."""
