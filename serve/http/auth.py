"""API keys: kept as hashes, compared in constant time, each with one scope."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serve.errors import RequestError, ServeError

SCOPES = ("score", "admin")  # admin may do what score may
PREFIX = "sha256$"


@dataclass(frozen=True)
class Key:
    """One key: who has it and what it may do. ``digest`` is SHA-256; keys are 32 random bytes, which need no salt."""

    name: str
    scope: str
    digest: bytes


def hashed(secret: str) -> str:
    """Return how a key stands in the file of keys.

    Examples
    --------
    >>> hashed("secret")[:15]
    'sha256$2bb80d53'
    """
    return PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a file of keys: a line each, ``NAME SCOPE sha256$DIGEST``; empty lines and those that start with # are not.

    Raises
    ------
    ServeError
        If a line is none of these or a name comes twice; the line itself is not repeated, it may be a plain key.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = _key(line.split())
        if key is None or key.name in keys:
            raise ServeError(
                f"Line {number} of {path} is no key or repeats a name: NAME, {' or '.join(SCOPES)}, sha256$DIGEST, "
                "with spaces between. `python -m serve.keys NAME --scope score --file FILE` adds such a line."
            )
        keys[key.name] = key
    if not keys:
        raise ServeError(f"{path} holds no key: `python -m serve.keys NAME --scope score --file {path}` adds one.")
    return tuple(keys.values())


def _key(parts: list[str]) -> Key | None:
    if len(parts) != 3 or parts[1] not in SCOPES or not parts[2].startswith(PREFIX):
        return None
    try:
        digest = bytes.fromhex(parts[2].removeprefix(PREFIX))
    except ValueError:
        return None
    return Key(parts[0], parts[1], digest) if len(digest) == 32 else None


class KeyCheck:
    """Who may call what.

    Parameters
    ----------
    keys : iterable of Key
        None means that whoever can connect may score, and nobody may change the model.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    @property
    def open(self) -> bool:
        """Whether scoring needs no key."""
        return not self._keys

    def admit(self, headers: Mapping[bytes, bytes], scope: str) -> str | None:
        """Return the name of the key that a request carries; None if none is needed.

        Parameters
        ----------
        headers : mapping
            Of the request, names in lower case.
        scope : str
            What the endpoint asks for.

        Raises
        ------
        RequestError
            401 without a valid key, 403 if its scope does not do.
        """
        if not self._keys:
            if scope == "admin":
                raise RequestError(
                    403, "no_admin_key", "This needs a key of scope admin, and the service was started without --keys."
                )
            return None
        secret, ambient = _secret(headers)
        key = self._find(secret) if secret else None
        if key is None:
            raise RequestError(
                401,
                "unauthorized",
                "A valid API key is needed: send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.",
                # Basic alone: Chromium asks for no password where one line names another scheme beside it.
                headers={"www-authenticate": 'Basic realm="mlsys"'},
            )
        if scope == "admin" and (key.scope != "admin" or ambient):
            raise RequestError(
                403, "forbidden", "This needs a key of scope admin, sent as `Authorization: Bearer KEY`."
            )
        return key.name

    def _find(self, secret: bytes) -> Key | None:
        digest = hashlib.sha256(secret).digest()
        found = None
        for key in self._keys:  # all of them, so that the time does not tell which one was near
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _secret(headers: Mapping[bytes, bytes]) -> tuple[bytes | None, bool]:
    """Return the secret, and whether the browser sends it by itself, on behalf of whatever page (Basic)."""
    given = headers.get(b"authorization", b"")
    kind, _, value = given.partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip(), False
    if kind.lower() == b"basic":  # lets a person open the pages: any user name, the key as the password
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2], True
        except binascii.Error:
            return None, True
    return headers.get(b"x-api-key"), False
