"""What registered models, versions and aliases are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mlsys.errors import RegistryError

CHAMPION, CHALLENGER = "champion", "challenger"
PREFIX = "registry:"
Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = ("patch", "minor", "major")  # the smallest first

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
MLFLOW_NUMBER = re.compile(r"[vV]\d+")  # an alias of that form would be read as a version by MLflow


class Version(NamedTuple):
    """A semantic version; compares as it should.

    Examples
    --------
    >>> Version.parse("1.10.0") > Version.parse("1.9.3"), str(Version(1, 9, 3).raised("minor"))
    (True, '1.10.0')
    """

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``MAJOR.MINOR.PATCH``.

        Raises
        ------
        RegistryError
            If it is anything else.
        """
        match = VERSION.fullmatch(text)
        if match is None:
            raise RegistryError(f"{text!r} is no version: give MAJOR.MINOR.PATCH, such as 1.2.0.")
        return cls(*map(int, match.groups()))

    def raised(self, part: Part) -> Version:
        """Return the next version of which this part is higher."""
        if part == "major":
            return Version(self.major + 1, 0, 0)
        if part == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)


@dataclass(frozen=True)
class Reference:
    """What a user typed for a registered model.

    Attributes
    ----------
    name : str
    version, alias : str or None
        At most one of them.
    """

    name: str
    version: str | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``, each with ``registry:`` before it or not.

        Raises
        ------
        RegistryError
            If it is anything else.

        Examples
        --------
        >>> Reference.parse("registry:conversion@champion")
        Reference(name='conversion', version=None, alias='champion')
        >>> str(Reference.parse("conversion@1.2.0"))
        'conversion@1.2.0'
        """
        name, at, rest = text.removeprefix(PREFIX).partition("@")
        check_name(name)
        if not at:
            return cls(name)
        if VERSION.fullmatch(rest):
            return cls(name, version=rest)
        if not ALIAS.fullmatch(rest):
            raise RegistryError(
                f"{text!r} names no version: after @ comes a version such as 1.2.0, or an alias such as {CHAMPION}."
            )
        return cls(name, alias=rest)

    def __str__(self) -> str:
        rest = self.version or self.alias
        return f"{self.name}@{rest}" if rest else self.name


def check_name(name: str) -> str:
    """Return ``name`` if a model may be called so.

    Raises
    ------
    RegistryError
        If not: a name is also that of a folder.
    """
    if not NAME.fullmatch(name):
        raise RegistryError(
            f"{name!r} cannot be a model's name: letters, digits, - and _, at most 100, such as conversion."
        )
    return name


def check_alias(alias: str) -> str:
    """Return ``alias`` if a version may be called so.

    Raises
    ------
    RegistryError
        If not.
    """
    if not ALIAS.fullmatch(alias) or MLFLOW_NUMBER.fullmatch(alias) or alias.casefold() == "latest":
        raise RegistryError(
            f"{alias!r} cannot be an alias: a letter, then letters, digits, - and _, at most 50, such as {CHALLENGER}; "
            "not latest, nor v1 and the like."
        )
    return alias
