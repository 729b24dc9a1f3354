"""Settings of the service: the command line beats ``MLSYS_SERVE__NAME`` variables, which beat the defaults."""

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
FOLLOWED = re.compile(r"registry:[^@]+(@[^0-9].*)?")  # an alias; versions never move
EXAMPLES = """\
examples:
  python -m serve latest
  python -m serve registry:conversion@champion --follow --shadow challenger
  python -m serve outputs/2026-11-20/10-15-00 --host 0.0.0.0 --keys keys.txt --workers 2

Each option can be set by a variable as well: MLSYS_SERVE__MAX_ROWS=1000 is --max-rows 1000; the command line wins.
Exit codes: 0 stopped as asked, 1 it cannot serve that model, 2 wrong usage."""


def _option(default: object, text: str, metavar: str | None = None) -> Any:  # noqa: ANN401 - as `field`
    return field(default=default, metadata={"help": text, "metavar": metavar})


@dataclass(frozen=True)
class Settings:
    """How to serve. The help texts below are those of ``python -m serve --help``."""

    run: str
    host: str = _option("127.0.0.1", "address to listen on; another than loopback needs --keys or --insecure")
    port: int = _option(8000, "port to listen on; 0 takes a free one and prints it")
    workers: int = _option(1, "processes that answer requests")
    batch_workers: int = _option(1, "processes that score tables and compute features; 0: a thread of each worker")
    registry: str = _option("registry", "folder of the registry", "DIR")
    follow: bool = _option(False, "watch the registry alias and swap the model when it moves")
    poll_interval: float = _option(5.0, "how often --follow looks", "S")
    shadow: str | None = _option(
        None, "second model that is scored silently and logged: an alias of the same registry name, or a RUN", "MODEL"
    )
    keys: str | None = _option(None, "file of hashed API keys; python -m serve.keys makes them", "FILE")
    insecure: bool = _option(False, "listen beyond loopback without API keys")
    log_url: str = _option("sqlite:///predictions.db", "prediction log: sqlite:///FILE, postgresql://… or none", "URL")
    log_durable: bool = _option(False, "answer only after the prediction is committed to the log")
    log_features: bool = _option(False, "log the inputs as well")
    max_body_mb: float = _option(64.0, "largest body of a request in MB", "MB")
    max_rows: int = _option(100_000, "most rows of one request", "N")
    batch_memory_mb: float = _option(
        2000.0, "memory that a batch process may take beside the models, in MB; Linux", "MB"
    )
    rate: float = _option(0.0, "requests a second for each client (key, else address); 0: no limit", "N")
    burst: int = _option(20, "requests that a client may send at once before --rate counts", "N")
    concurrency: int = _option(512, "requests in flight in each worker; more get 503", "N")
    body_timeout: float = _option(30.0, "time for a body to arrive", "S")
    shutdown_timeout: float = _option(30.0, "time for requests in flight when the service stops", "S")
    cors_origin: tuple[str, ...] = _option((), "origin whose pages may call the service; may be repeated", "URL")
    trust_proxy: str | None = _option(
        None, "addresses of proxies whose X-Forwarded-For counts, with commas between", "IPS"
    )
    access_log: bool = _option(True, "one line of JSON for each request")
    log_level: str = _option("info", "debug, info, warning or error")

    @property
    def max_body(self) -> int:
        """The largest body in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def prediction_log(self) -> str | None:
        """The URL of the prediction log, None if it is off."""
        return None if self.log_url == "none" else self.log_url

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def settings_from(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that a command line and an environment ask for.

    Raises
    ------
    ServeError
        If a variable is unknown, a value is out of range, or the service would be open to others without keys.
    SystemExit
        For ``--help`` (0) and a wrong command line (2).

    Examples
    --------
    >>> settings_from(["latest", "--port", "9000"], {"MLSYS_SERVE__WORKERS": "2"}).workers
    2
    """
    given = {**_from_environment(environment), **vars(_parser().parse_args(list(arguments)))}
    if "run" not in given:
        raise ServeError(
            "Nothing to serve: give a run directory, `latest`, or registry:NAME[@VERSION|@ALIAS].\n"
            "For example: python -m serve latest"
        )
    settings = Settings(**given | {"cors_origin": tuple(given.get("cors_origin", ()))})
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
    given = {}
    for variable in sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX)):
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in known:
            near = closest(name, known)
            hint = f" Did you mean {ENVIRONMENT_PREFIX}{near.upper()}?" if near else ""
            raise ServeError(f"The variable {variable} is no setting of the service.{hint}")
        given[name] = _value(variable, environment[variable], known[name].default)
    return given


def _value(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
            raise ServeError(f"The variable {variable} is {text!r}; it takes true or false.")
        return text.lower() in ("1", "true", "yes")
    if default == ():
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if default is None or default is MISSING:
        return text
    try:
        return float(text) if isinstance(default, float) else int(text) if isinstance(default, int) else text
    except ValueError:
        raise ServeError(f"The variable {variable} is {text!r}; it takes a number such as {default}.") from None


def _check(settings: Settings) -> None:
    positive = (
        *("workers", "max_body_mb", "max_rows", "batch_memory_mb"),
        *("burst", "concurrency", "body_timeout", "poll_interval"),
    )
    wrong = [f"--{name.replace('_', '-')} must be above 0" for name in positive if not getattr(settings, name) > 0]
    not_negative = ("rate", "batch_workers", "shutdown_timeout")
    wrong += [f"--{name.replace('_', '-')} must be 0 or more" for name in not_negative if getattr(settings, name) < 0]
    if not 0 <= settings.port <= 65535:
        wrong.append("--port must be 0 to 65535")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        wrong.append("--log-level must be debug, info, warning or error")
    if settings.follow and not FOLLOWED.fullmatch(settings.run):
        wrong.append("--follow needs an alias of the registry, such as registry:conversion@champion")
    if settings.keys is not None and not Path(settings.keys).is_file():
        wrong.append(f"--keys: there is no file {settings.keys}; python -m serve.keys makes one")
    if not settings.loopback and settings.keys is None and not settings.insecure:
        wrong.append(
            f"--host {settings.host} lets other machines in: give --keys FILE (python -m serve.keys makes keys), "
            "or type --insecure"
        )
    if wrong:
        raise ServeError("The service cannot start so:\n  " + "\n  ".join(wrong))
