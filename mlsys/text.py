"""Text for people: counts, lists and long texts in sentences, and control characters made visible."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

# Control characters would move the cursor or change the terminal's settings, others the direction of the text; lone
# surrogates cannot be printed at all.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE |= dict.fromkeys([*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
_VISIBLE |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    number : int
    noun : str
        In the singular.
    plural : str, optional
        The plural where it is not the noun with an s.

    Examples
    --------
    >>> counted(0, "trial"), counted(1, "trial"), counted(1200, "trial"), counted(2, "entry", "entries")
    ('0 trials', '1 trial', '1,200 trials', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def is_or_are(number: int) -> str:
    """Return the verb that agrees with a number.

    Examples
    --------
    >>> is_or_are(0), is_or_are(1), is_or_are(2)
    ('are', 'is', 'are')
    """
    return "is" if number == 1 else "are"


def joined(items: Sequence[str], conjunction: str = "and") -> str:
    """Return items as a list in a sentence.

    Examples
    --------
    >>> joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"], "or")
    ('a', 'a and b', 'a, b or c')
    """
    return f" {conjunction} ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def shortened(text: str, max_length: int) -> str:
    """Return a text of at most this many characters; a longer one ends with an ellipsis.

    Examples
    --------
    >>> shortened("per_feature_ctr", 10), shortened("C", 10)
    ('per_feat …', 'C')
    """
    return text if len(text) <= max_length else f"{text[: max_length - 2].rstrip()} …"


def visible(text: str) -> str:
    r"""Return text with pictures in place of control characters, which users' names may contain.

    Examples
    --------
    >>> visible("plan\x1b[31m, \u202eevil")
    'plan␛[31m, �evil'
    """
    return text.translate(_VISIBLE)


class LogFormatter(logging.Formatter):
    """Formats log records without control characters, which users' names may contain."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines, of a record."""
        return visible(super().format(record))


class StderrHandler(logging.StreamHandler[TextIO]):
    """Stream handler that looks up `sys.stderr` for each record: Rich replaces it while it shows a progress bar."""

    def __init__(self, stream: None = None) -> None:  # noqa: ARG002 - Hydra's logging config has it
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The current standard error."""
        return sys.stderr
