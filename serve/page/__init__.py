"""The page at ``/``: the model card, a form for one record, and scoring of CSV files."""

from serve.page.home import POLICY, home_page

__all__ = ["POLICY", "home_page"]
