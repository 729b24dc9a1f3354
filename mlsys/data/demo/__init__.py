"""Synthetic data of a freemium CRM: simulated accounts, their weekly usage, and who became a customer.

No row comes from a real account. Shares and spreads were chosen so that the tables resemble a real snapshot.

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
