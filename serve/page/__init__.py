"""The page at ``/``: the card in plain words, a form for one record, and lists from a CSV file."""

from serve.page.home import POLICY, home_page

__all__ = ["POLICY", "home_page"]
