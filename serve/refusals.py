"""Errors of the layers below as errors for the client."""

from __future__ import annotations

import logging

from serve.errors import RequestError, unavailable
from serve.predictions import LogUnavailable
from serve.scoring import InvalidInput

logger = logging.getLogger(__name__)


def log_unavailable(error: LogUnavailable) -> RequestError:
    """Return the refusal of what could not be logged, where only what is logged may be answered."""
    logger.warning("refused, as it could not be logged: %s", error)
    return unavailable(
        "log_unavailable", "The prediction log cannot be written, and this service answers only what it has logged."
    )


def invalid(error: InvalidInput) -> RequestError:
    """Return the refusal of records that cannot be scored as they are."""
    count = f"{'More than ' if error.more else ''}{len(error.problems)}"
    message = error.problems[0]["message"]
    if len(error.problems) > 1:
        message = f"{count} problems, of which the first: {message}"
    return RequestError(422, "invalid_input", message, problems=error.problems)
