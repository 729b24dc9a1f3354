"""Names of registered models, versions and aliases."""

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
MLFLOW_NUMBER = re.compile(r"[vV]\d+")  # MLflow would read such an alias as a version number


class Version(NamedTuple):
    """A semantic version; versions order by number, not as text.

    Examples
    --------
    >>> Version.parse("1.10.0") > Version.parse("1.9.3"), str(Version(1, 9, 3).bumped("minor"))
    (True, '1.10.0')
    """

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Parse ``MAJOR.MINOR.PATCH``.

        Raises
        ------
        RegistryError
            If the text has any other form.
        """
        match = VERSION.fullmatch(text)
        if match is None:
            raise RegistryError(f"{text!r} is not a version: expected MAJOR.MINOR.PATCH, such as 1.2.0.")
        return cls(*map(int, match.groups()))

    def bumped(self, part: Part) -> Version:
        """Return the next version with this part bumped."""
        if part == "major":
            return Version(self.major + 1, 0, 0)
        if part == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)


@dataclass(frozen=True)
class Reference:
    """A registered model, or one version of it, as a user names it.

    Attributes
    ----------
    name : str
    version, alias : str or None
        At most one of them is set.
    """

    name: str
    version: str | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``, with an optional ``registry:`` prefix.

        Raises
        ------
        RegistryError
            If the text has any other form.

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
                f"{text!r} is not a valid reference: @ must be followed by a version such as 1.2.0 or an alias such as "
                f"{CHAMPION}."
            )
        return cls(name, alias=rest)

    def __str__(self) -> str:
        rest = self.version or self.alias
        return f"{self.name}@{rest}" if rest else self.name


def check_name(name: str) -> str:
    """Return ``name`` if it is a valid model name.

    Raises
    ------
    RegistryError
        If not; a model's name is also the name of its folder.
    """
    if not NAME.fullmatch(name):
        raise RegistryError(
            f"Invalid model name {name!r}: use at most 100 letters, digits, - and _, starting with a letter or digit, "
            "such as conversion."
        )
    return name


def check_alias(alias: str) -> str:
    """Return ``alias`` if it is a valid alias.

    Raises
    ------
    RegistryError
        If not.
    """
    if not ALIAS.fullmatch(alias) or MLFLOW_NUMBER.fullmatch(alias) or alias.casefold() == "latest":
        raise RegistryError(
            f"Invalid alias {alias!r}: use at most 50 letters, digits, - and _, starting with a letter, such as "
            f"{CHALLENGER}; latest, v1, v2 and so on are reserved."
        )
    return alias
