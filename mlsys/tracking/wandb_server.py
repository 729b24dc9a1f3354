"""Check whether the W&B server can be used: a key is configured and the server answers."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from wandb.sdk.wandb_settings import Settings

PROBE_SECONDS = 3.0
QUERY = b'{"query": "query Viewer { viewer { id } }"}'


_unreachable: dict[str, str] = {}  # reason by address, so that this process waits for a server only once


def offline_reason(settings: Settings) -> str:
    """Return why runs cannot be sent now; "" if they can.

    Parameters
    ----------
    settings : wandb Settings
        Settings from W&B's files and the environment.
    """
    if settings.base_url not in _unreachable:
        reason = _check(settings)
        if not reason:
            return ""
        mark_unreachable(settings.base_url, reason)
    return _unreachable[settings.base_url]


def mark_unreachable(url: str, reason: str) -> None:
    """Treat a server as unreachable from now on."""
    _unreachable[url] = reason


def _check(settings: Settings) -> str:
    key = settings.api_key or _key_in_netrc(settings.base_url)
    if settings.identity_token_file:
        return _probe(settings.base_url, None)
    return _probe(settings.base_url, key) if key else "no API key"


def _key_in_netrc(url: str) -> str | None:
    from wandb.sdk.lib.wbauth import read_netrc_auth

    key: str | None = read_netrc_auth(host=url)
    return key


def _probe(url: str, key: str | None) -> str:
    """Send W&B's own first query, which asks for the user."""
    request = urllib.request.Request(f"{url.rstrip('/')}/graphql", QUERY, {"Content-Type": "application/json"})
    if key:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"api:{key}".encode()).decode())
    host = urlsplit(url).netloc
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
            body: Any = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return f"{host} refused the API key" if error.code in (401, 403) else f"{host} answered {error.code}"
    except TimeoutError:
        return f"{host} did not answer in {PROBE_SECONDS:g} s"
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            return f"{host} did not answer in {PROBE_SECONDS:g} s"
        return f"{host}: {getattr(cause, 'strerror', None) or cause}"
    if key and not (body.get("data") or {}).get("viewer"):
        return f"{host} refused the API key"
    return ""
