"""What is wrong with the arguments of a component that could not be made, or of one inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from inspect import Parameter, signature
from typing import Any

from pydantic import ValidationError

from mlsys.errors import Problem, closest, requirement
from mlsys.launch import EXECUTION_WHITELIST

_MISSING = re.compile(r"(?P<name>\w+)(?:\.__init__)?\(\) missing \d+ required .*arguments?: (?P<arguments>.+)")
_QUOTED = re.compile(r"'(\w+)'")
_UNEXPECTED = re.compile(r"(?P<name>\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '\w+'")


def argument_problems(error: Exception, where: str, node: Mapping[str, Any]) -> list[Problem]:
    """Return why a component could not be made.

    Parameters
    ----------
    error : Exception
        Raised by Hydra or by the constructor.
    where : str
        Config key of the component.
    node : mapping
        Its config, with ``_target_``.
    """
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if isinstance(cause, ValidationError):
        return [_of_validation(details, where, node) for details in cause.errors()]
    reason = " ".join(str(cause or error).split())
    problems: list[Problem] = []
    if (found := _UNEXPECTED.search(reason)) is not None:
        problems = [each for place in _named(found["name"], where, node) for each in _unknown_arguments(*place)]
    elif (found := _MISSING.search(reason)) is not None:
        needed = _QUOTED.findall(found["arguments"])
        problems = [
            Problem(f"{place}.{name}", "nothing", f"a value: {found['name']} needs it")
            for place, inner in _named(found["name"], where, node)
            for name in needed
            if name not in inner
        ]
    allowed = "a target on the whitelist in mlsys/launch.py, with arguments that it accepts"
    return problems or [Problem(where, f"{node['_target_']}: {reason}", allowed)]


def _of_validation(details: Any, where: str, node: Mapping[str, Any]) -> Problem:  # noqa: ANN401 - pydantic's own shape
    if details["type"] == "unexpected_keyword_argument":
        return _unknown_argument(str(details["loc"][0]), where, node["_target_"])
    return Problem(".".join([where, *map(str, details["loc"])]), repr(details["input"]), requirement(details["msg"]))


def _components(where: str, node: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401 - any config
    """Yield a component and those inside it that Hydra may make, with their config keys."""
    if not isinstance(node, Mapping):
        return
    target = node.get("_target_")
    if isinstance(target, str) and any(fnmatchcase(target, pattern) for pattern in EXECUTION_WHITELIST):
        yield where, node
    for name, value in node.items():
        yield from _components(f"{where}.{name}", value)


def _named(name: str, where: str, node: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the components of this name."""
    return [(place, inner) for place, inner in _components(where, node) if _name(inner["_target_"]) == name]


def _unknown_arguments(where: str, node: Mapping[str, Any]) -> list[Problem]:
    """Return the arguments that a component does not have, or, if another class was put in its place, what to do."""
    known = _arguments(node["_target_"])
    unknown = [name for name in node if not name.startswith("_") and name not in known]
    if len(unknown) == 1:
        return [_unknown_argument(unknown[0], where, node["_target_"])]
    if not unknown:
        return []
    got = f"{_name(node['_target_'])} with {', '.join(unknown)}, which it does not have"
    way_out = " ".join(f"~{where}.{name}" for name in unknown)
    whole = f"~{where} '+{where}={{_target_: {node['_target_']}}}'"
    allowed = f"{', '.join(known)}. Leave the others out ({way_out}), or replace the whole of it ({whole})"
    return [Problem(where, got, allowed)]


def _unknown_argument(name: str, where: str, target: str) -> Problem:
    known = _arguments(target)
    near = closest(name, known)
    way_out = "" if near else f"; ~{where}.{name} leaves it out"
    return Problem(f"{where}.{name}", f"an unknown key of {_name(target)}", ", ".join(known) + way_out, near)


def _arguments(target: str) -> list[str]:
    from hydra.utils import get_object

    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [name for name, each in signature(get_object(target)).parameters.items() if each.kind not in variable]


def _name(target: str) -> str:
    return target.rpartition(".")[2]
