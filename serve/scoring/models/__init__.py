"""How each library's fitted model is scored without the library's Python API."""
