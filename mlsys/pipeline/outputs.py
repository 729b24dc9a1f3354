"""What an encoded column comes from."""

from __future__ import annotations

from typing import NamedTuple


class Output(NamedTuple):
    """An output column of an encoder.

    Attributes
    ----------
    source : str
        Panel column that it is derived from.
    level : bool
        Whether its values encode categories, so that interpolating between them is meaningless.
    indicator : bool
        Whether it says, as 0 or 1, that the value of a number column is missing.
    """

    source: str
    level: bool
    indicator: bool = False
