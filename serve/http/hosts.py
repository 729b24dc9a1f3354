"""Host header: which names of this service a request may use.

A page of another site can resolve its own name to this service's address (DNS rebinding). The browser then takes the
service for a part of that site, and sends the page whatever the service answers. But it names the other site as Host.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from mlsys.text import joined
from serve.errors import RequestError
from serve.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"
HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{0,5})?")
REMEMBERED = 256  # values of the header


class AllowedHosts:
    """Check the Host header of requests.

    Parameters
    ----------
    names : iterable of str
        Host names and addresses, without ports; ``*`` allows any.
    addresses : bool
        Whether any IP address is allowed: a site that is named by an address cannot be rebound.

    Examples
    --------
    >>> hosts = AllowedHosts(["localhost"])
    >>> hosts.allows(b"localhost:8000"), hosts.allows(b"other.example")
    (True, False)
    """

    def __init__(self, names: Iterable[str], *, addresses: bool = False) -> None:
        self._names = frozenset(_canonical(name) for name in names)
        self._addresses = addresses
        self.allows = functools.lru_cache(REMEMBERED)(self._allows)

    @classmethod
    def from_settings(cls, settings: Settings) -> AllowedHosts:
        """Return the hosts that the settings allow.

        By default these are the names of the loopback interface and the address that the service is bound to. Bound to
        all addresses, that is any address and the machine's own name; with API keys it is any name, because a page of
        another site has no key.
        """
        if settings.allowed_hosts:
            return cls([*LOOPBACK, *settings.allowed_hosts])
        if not settings.binds_all:
            return cls([*LOOPBACK, settings.host])
        names = [ANY] if settings.keys is not None else [*LOOPBACK, socket.gethostname()]
        return cls(names, addresses=True)

    def check(self, values: Sequence[bytes]) -> None:
        """Reject a request that does not name this service.

        Parameters
        ----------
        values : sequence of bytes
            The request's Host headers.

        Raises
        ------
        RequestError
            400 unless there is exactly one; 421 if it is not allowed.
        """
        if len(values) != 1:
            found = "no Host header" if not values else f"{len(values)} Host headers"
            raise RequestError(400, "malformed_http", f"The request has {found}; send exactly one.")
        if not self.allows(values[0]):
            name = values[0].decode("latin-1")[:80]
            known = joined(sorted(self._names), "or")
            message = f"This service is not called {name!r}, but {known}; --allowed-hosts adds names."
            raise RequestError(421, "wrong_host", message)

    def _allows(self, value: bytes) -> bool:
        host = HOST.fullmatch(value.decode("latin-1"))
        if host is None:
            return False
        name = _canonical(host["ipv6"] or host["name"])
        return ANY in self._names or name in self._names or (self._addresses and _is_address(name))


def _canonical(name: str) -> str:
    """Return a name in lower case, or an address in its usual form."""
    name = name.strip("[]").lower().removesuffix(".")
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
