"""Builds panels from raw tables: sources, contracts, spine, cache, synthetic demo data and flat tables."""
