"""Synthetic data of a freemium CRM: simulated accounts, their weekly usage and their conversions.

No row comes from a real account. The distributions were chosen to resemble a real snapshot.

Examples
--------
>>> import tempfile
>>> from pathlib import Path
>>> from mlsys.data.demo import generate
>>> with tempfile.TemporaryDirectory() as folder:
...     summary = generate(Path(folder), events=5_000, seed=1)
>>> [path.name for path in summary.files]
['customers.parquet', 'noncustomers.parquet', 'usage_actions.parquet']
"""

from mlsys.data.demo.process import PRODUCTS
from mlsys.data.demo.tables import INDUSTRIES
from mlsys.data.demo.writer import MIN_EVENTS, SCRATCH, DemoSummary, generate

__all__ = ["INDUSTRIES", "MIN_EVENTS", "PRODUCTS", "SCRATCH", "DemoSummary", "generate"]
