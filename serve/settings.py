"""Settings of the service, from the command line, ``MLSYS_SERVE__NAME`` variables and defaults, in that order."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from mlsys.errors import closest
from serve.errors import ServeError

ENVIRONMENT_PREFIX = "MLSYS_SERVE__"
ALIAS_REFERENCE = re.compile(r"registry:[^@]+(@[^0-9].*)?")
HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
EXAMPLES = """\
examples:
  python -m serve latest
  python -m serve registry:conversion@champion --follow --shadow challenger
  python -m serve outputs/2026-11-20/10-15-00 --host 0.0.0.0 --keys keys.txt --workers 2

Every option can also be set by an environment variable: MLSYS_SERVE__MAX_ROWS=1000 is --max-rows 1000. The command
line takes precedence. Exit codes: 0 stopped on request, 1 cannot serve the model, 2 usage error."""


def _option(default: object, text: str, metavar: str | None = None) -> Any:  # noqa: ANN401 - as `field`
    return field(default=default, metadata={"help": text, "metavar": metavar})


@dataclass(frozen=True)
class Settings:
    """Options of ``python -m serve``, with their help texts."""

    run: str
    host: str = _option("127.0.0.1", "address to listen on; any but loopback needs --keys or --insecure")
    port: int = _option(8000, "port to listen on; 0 picks a free port and prints it")
    workers: int = _option(1, "number of HTTP worker processes")
    batch_workers: int = _option(
        1, "number of processes for batches and feature computation; 0: a thread in each HTTP worker"
    )
    registry: str = _option("registry", "registry folder", "DIR")
    follow: bool = _option(False, "watch the registry alias and swap the model when the alias moves")
    poll_interval: float = _option(5.0, "seconds between checks of the alias with --follow", "SECONDS")
    shadow: str | None = _option(
        None,
        "second model to score and log without returning it: an alias of the same registered name, or a RUN",
        "MODEL",
    )
    keys: str | None = _option(None, "file of hashed API keys; create keys with python -m serve.keys", "FILE")
    insecure: bool = _option(False, "listen on other addresses than loopback without API keys")
    allowed_hosts: tuple[str, ...] = _option(
        (), "names that requests may use in Host besides the loopback ones; *: any (default: the bound address)", "NAME"
    )
    log_url: str = _option("sqlite:///predictions.db", "prediction log: sqlite:///FILE, postgresql://… or none", "URL")
    log_durable: bool = _option(False, "respond only after the prediction is committed to the log")
    log_features: bool = _option(False, "log the model inputs as well")
    max_body_mb: float = _option(64.0, "maximum size of a request body in MB", "MB")
    max_rows: int = _option(100_000, "maximum number of rows per request", "N")
    batch_memory_mb: float = _option(
        2000.0, "memory that a batch process may use on top of the models, in MB (Linux only)", "MB"
    )
    rate: float = _option(0.0, "requests per second allowed for each client (API key, else address); 0: no limit", "N")
    burst: int = _option(20, "requests that a client may send at once before --rate applies", "N")
    concurrency: int = _option(512, "maximum number of requests in progress per HTTP worker; more get 503", "N")
    body_timeout: float = _option(30.0, "seconds to wait for the headers and body of a request", "SECONDS")
    drain_delay: float = _option(
        0.0, "seconds to go on serving on shutdown while /ready answers 503, for load balancers to notice", "SECONDS"
    )
    shutdown_timeout: float = _option(30.0, "seconds to let requests in progress finish on shutdown", "SECONDS")
    cors_origin: tuple[str, ...] = _option((), "origins whose pages may call the service (CORS)", "URL")
    trust_proxy: str | None = _option(
        None, "comma-separated addresses of proxies whose X-Forwarded-For is trusted", "IPS"
    )
    access_log: bool = _option(True, "log each request as a line of JSON")
    log_level: str = _option("info", "debug, info, warning or error")

    @property
    def max_body(self) -> int:
        """Maximum size of a body in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def prediction_log(self) -> str | None:
        """URL of the prediction log, or None if logging is off."""
        return None if self.log_url == "none" else self.log_url

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        address = _address(self.host)
        return self.host == "localhost" if address is None else address.is_loopback

    @property
    def binds_all(self) -> bool:
        """Whether the service listens on all addresses of this machine."""
        address = _address(self.host)
        return self.host == "" if address is None else address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


LISTS = tuple(option.name for option in fields(Settings) if option.default == ())


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Parse settings from a command line and environment variables.

    Raises
    ------
    ServeError
        If a variable is unknown, a value is out of range, or the service would be reachable without keys.
    SystemExit
        For ``--help`` (0) and a usage error (2).

    Examples
    --------
    >>> parse_settings(["latest", "--port", "9000"], {"MLSYS_SERVE__WORKERS": "2"}).workers
    2
    """
    options = {**_from_environment(environment), **vars(_parser().parse_args(list(arguments)))}
    if "run" not in options:
        raise ServeError(
            "RUN is missing: give a run directory, `latest`, or registry:NAME[@VERSION|@ALIAS].\n"
            "For example: python -m serve latest"
        )
    settings = Settings(**options | {name: tuple(options[name]) for name in LISTS if name in options})
    _check(settings)
    return settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:]}. `python -m serve --help` lists the options.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m serve",
        description="Serve a run directory over HTTP.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="run directory, `latest`, or registry:NAME[@VERSION|@ALIAS]"
    )
    for option in fields(Settings):
        if option.name != "run":
            _add(parser, option)
    return parser


def _add(parser: argparse.ArgumentParser, option: Field[Any]) -> None:
    flag = "--" + option.name.replace("_", "-")
    text = str(option.metadata["help"])
    default = option.default
    if isinstance(default, bool):
        action = argparse.BooleanOptionalAction if default else "store_true"
        parser.add_argument(flag, action=action, help=text)
    elif default == ():
        parser.add_argument(flag, nargs="+", action="extend", metavar=option.metadata["metavar"], help=text)
    else:
        shown = text if default is None else f"{text} (default: {default})"
        kind = str if default is None else type(default)
        parser.add_argument(flag, type=kind, metavar=option.metadata["metavar"], help=shown)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {option.name: option for option in fields(Settings)}
    values: dict[str, Any] = {}
    for variable in sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX)):
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in known:
            near = closest(name, known)
            hint = f" Did you mean {ENVIRONMENT_PREFIX}{near.upper()}?" if near else ""
            raise ServeError(f"Unknown environment variable {variable}.{hint}")
        values[name] = _value(variable, environment[variable], known[name].default)
    return values


def _value(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
            raise ServeError(f"{variable} is {text!r}; expected true or false.")
        return text.lower() in ("1", "true", "yes")
    if default == ():
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if default is None or default is MISSING:
        return text
    try:
        return float(text) if isinstance(default, float) else int(text) if isinstance(default, int) else text
    except ValueError:
        raise ServeError(f"{variable} is {text!r}; expected a number such as {default}.") from None


def _check(settings: Settings) -> None:
    positive = (
        *("workers", "max_body_mb", "max_rows", "batch_memory_mb"),
        *("burst", "concurrency", "body_timeout", "poll_interval"),
    )
    errors = [f"--{name.replace('_', '-')} must be above 0" for name in positive if not getattr(settings, name) > 0]
    non_negative = ("rate", "batch_workers", "shutdown_timeout", "drain_delay")
    errors += [f"--{name.replace('_', '-')} must be 0 or more" for name in non_negative if getattr(settings, name) < 0]
    if not 0 <= settings.port <= 65535:
        errors.append("--port must be between 0 and 65535")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        errors.append("--log-level must be debug, info, warning or error")
    if settings.follow and not ALIAS_REFERENCE.fullmatch(settings.run):
        errors.append("--follow needs a registry alias, such as registry:conversion@champion")
    errors += [
        f"--allowed-hosts: {name!r} is not a name; give names or addresses without scheme and port, or '*' for any"
        for name in settings.allowed_hosts
        if name != "*" and not HOST_NAME.fullmatch(name) and _address(name.strip("[]")) is None
    ]
    if settings.keys is not None and not Path(settings.keys).is_file():
        errors.append(f"--keys: file not found: {settings.keys}; create it with python -m serve.keys")
    if not settings.loopback and settings.keys is None and not settings.insecure:
        errors.append(
            f"--host {settings.host} lets other machines connect: add --keys FILE (create keys with "
            "python -m serve.keys) or --insecure"
        )
    if errors:
        raise ServeError("Cannot start the service:\n  " + "\n  ".join(errors))
