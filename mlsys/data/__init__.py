"""From raw tables to a panel: sources, contracts, spine, cache, the demo generator and flat tables."""
