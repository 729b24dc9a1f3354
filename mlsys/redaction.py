"""Hides secrets in text that is shown to people or written to files."""

from __future__ import annotations

import re

# Up to the last @ of the host part; a password that holds a / unescaped ends the host part early, hence the second way.
_USER_PASSWORD = re.compile(r"(://[^:/@\s]*):(?:[^\s/?#]*|[^@\s]*)@")
# A parameter of a URL by what its name says; a quote that ends a quoted text is no part of the value.
_SECRET_PARAMETER = re.compile(
    r"([?&;](?:[\w.%-]*(?:password|passwd|passphrase|pwd|secret|token|credential|signature)[\w.%-]*"
    r"|(?:[\w.%-]*(?:api|access|account|private)[_-]?)?key|pass|sig)=)"
    r"(?:[^&#\s\"']|[\"'](?![\s,\])}]|$))*",
    re.IGNORECASE | re.MULTILINE,
)


def without_password(text: str) -> str:
    """Hide the secrets of every URL in a text: its password, and parameters whose name says that they hold a secret.

    Parameters
    ----------
    text : str
        A URL, or any text with URLs in it, such as an override, a YAML file or an error message.

    Returns
    -------
    str
        The text, with ``***`` in place of each secret.

    Examples
    --------
    >>> without_password("data.url=postgres://ann:s3cret@db:5432/crm")
    'data.url=postgres://ann:***@db:5432/crm'
    >>> without_password("postgresql://ann@db/crm?sslmode=require&sslpassword=s3cret")
    'postgresql://ann@db/crm?sslmode=require&sslpassword=***'
    """
    return _SECRET_PARAMETER.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", text))
