"""HTTP layer: the ASGI application, its middleware and routes, and the fast path for single records."""
