"""API keys: stored as hashes, compared in constant time, each with one scope."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serve.errors import RequestError, ServeError

SCOPES = ("score", "admin")  # admin includes score
PREFIX = "sha256$"


@dataclass(frozen=True)
class Key:
    """An API key. ``digest`` is SHA-256; keys are 32 random bytes, which need no salt."""

    name: str
    scope: str
    digest: bytes


def hash_key(secret: str) -> str:
    """Return the hash of a key as stored in the key file.

    Examples
    --------
    >>> hash_key("secret")[:15]
    'sha256$2bb80d53'
    """
    return PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a key file: one ``NAME SCOPE sha256$DIGEST`` per line; empty lines and lines that start with # are skipped.

    Raises
    ------
    ServeError
        If a line is malformed or a name occurs twice. The message omits the line, as it may have a plain-text key.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = _parse_key(line.split())
        if key is None or key.name in keys:
            raise ServeError(
                f"Line {number} of {path} is malformed or repeats a name; expected: NAME {'|'.join(SCOPES)} "
                "sha256$DIGEST. Add keys with `python -m serve.keys NAME --scope score --file FILE`."
            )
        keys[key.name] = key
    if not keys:
        raise ServeError(f"{path} has no keys; add one with `python -m serve.keys NAME --scope score --file {path}`.")
    return tuple(keys.values())


def _parse_key(parts: list[str]) -> Key | None:
    if len(parts) != 3 or parts[1] not in SCOPES or not parts[2].startswith(PREFIX):
        return None
    try:
        digest = bytes.fromhex(parts[2].removeprefix(PREFIX))
    except ValueError:
        return None
    return Key(parts[0], parts[1], digest) if len(digest) == 32 else None


class KeyCheck:
    """Check the API keys of requests.

    Parameters
    ----------
    keys : iterable of Key
        Known keys. If empty, every client may score, and no client may reload the model.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    @property
    def open(self) -> bool:
        """Whether scoring needs no key."""
        return not self._keys

    def authorize(self, headers: Mapping[bytes, bytes], scope: str) -> str | None:
        """Return the name of a request's key, or None if none is needed.

        Parameters
        ----------
        headers : mapping
            Request headers, names in lower case.
        scope : str
            Scope that the endpoint requires.

        Raises
        ------
        RequestError
            401 without a valid key, 403 if its scope is insufficient.
        """
        if not self._keys:
            if scope == "admin":
                raise RequestError(
                    403,
                    "no_admin_key",
                    "This needs an API key with scope admin, but the service was started without --keys.",
                )
            return None
        secret, ambient = _secret(headers)
        key = self._find(secret) if secret else None
        if key is None:
            raise RequestError(
                401,
                "unauthorized",
                "Missing or invalid API key; send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
                # Only Basic: Chromium does not prompt for a password if the header names another scheme as well.
                headers={"www-authenticate": 'Basic realm="mlsys"'},
            )
        if scope == "admin" and (key.scope != "admin" or ambient):
            raise RequestError(
                403,
                "forbidden",
                "This needs an API key with scope admin, sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
            )
        return key.name

    def _find(self, secret: bytes) -> Key | None:
        digest = hashlib.sha256(secret).digest()
        match = None
        for key in self._keys:  # always all of them, so that the time taken reveals nothing
            if hmac.compare_digest(key.digest, digest):
                match = key
        return match


def _secret(headers: Mapping[bytes, bytes]) -> tuple[bytes | None, bool]:
    """Return the secret, and whether the browser may have sent it on its own for another site's page (Basic)."""
    authorization = headers.get(b"authorization", b"")
    kind, _, value = authorization.partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip(), False
    if kind.lower() == b"basic":  # for the pages in a browser: any user name, with the key as the password
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2], True
        except binascii.Error:
            return None, True
    return headers.get(b"x-api-key"), False
