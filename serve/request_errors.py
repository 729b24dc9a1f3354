"""Translate errors of the scoring and logging layers into error responses."""

from __future__ import annotations

import logging

from serve.errors import RequestError, unavailable
from serve.predictions import LogUnavailableError
from serve.scoring import InvalidInput

logger = logging.getLogger(__name__)


def log_unavailable_error(error: LogUnavailableError) -> RequestError:
    """Return the 503 for a prediction that could not be logged while ``--log-durable`` is set."""
    logger.warning("rejected a request because its prediction could not be logged: %s", error)
    return unavailable(
        "log_unavailable",
        "The prediction log is unavailable, and this service answers only after logging; retry later.",
    )


def invalid_input_error(error: InvalidInput) -> RequestError:
    """Return the 422 for records that cannot be scored."""
    count = f"{'More than ' if error.more else ''}{len(error.problems)}"
    message = error.problems[0]["message"]
    if len(error.problems) > 1:
        message = f"{count} problems; the first: {message}"
    return RequestError(422, "invalid_input", message, problems=error.problems)
