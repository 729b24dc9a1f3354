"""CSV files that people open in a spreadsheet: no cell is run as a formula.

Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, whoever wrote it: a lead named
``=HYPERLINK(…)`` would run on the computer of whoever opens the list. See OWASP, "CSV injection".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd

Cell = TypeVar("Cell")

# At the beginning, or after a character that splits the cell where a spreadsheet expects it between cells. The wide
# forms count as well where East Asian input is set.
_FORMULA = re.compile(r"(\A|[;,])(?=[=+\-@\t\r\n＝＋－＠])")
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?%?", re.IGNORECASE)


def as_text(cell: Cell) -> Cell | str:
    """Return a cell that a spreadsheet shows as it is: text that would be a formula gets an apostrophe in front.

    Numbers, also those that are text, stay as they are.

    Examples
    --------
    >>> [as_text(cell) for cell in ("=1+1", "-2+3", "@SUM(1)", "-1.5", "+3e-7", "Acme", -1.5, None)]
    ["'=1+1", "'-2+3", "'@SUM(1)", '-1.5', '+3e-7', 'Acme', -1.5, None]
    """
    if isinstance(cell, str) and _FORMULA.search(cell) and not _NUMBER.fullmatch(cell):
        return _FORMULA.sub(r"\1'", cell)
    return cell


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table without its index as CSV for people.

    Parameters
    ----------
    frame : DataFrame
    path : Path
        The file; its folder is created.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> path = Path(tempfile.mkdtemp(), "leads.csv")
    >>> write_csv(pd.DataFrame({"name": ["=1+1", "Acme"], "change": [-1.5, 2.0]}), path)
    >>> path.read_text().splitlines()
    ['name,change', "'=1+1,-1.5", 'Acme,2.0']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.map(as_text).rename(columns=as_text).to_csv(path, index=False)
