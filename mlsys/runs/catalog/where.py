"""The language of ``mlsys runs --where``: comparisons of a run's facts, joined by and, or, not and parentheses.

pyparsing reads it, not Python's own grammar: people write ``model=catboost``, dates and paths without quotes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mlsys.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pyparsing import ParseBaseException, ParserElement

Value = str | float | bool | None
Facts = Callable[[str], object]

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
CONSTANTS: Mapping[str, Value] = {"true": True, "false": False, "null": None}
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = ("==", "!=", "<=", ">=", "=", "<", ">", "~")
ALLOWED = (
    "NAME OP VALUE, joined by and, or, not and parentheses; OP is one of = != < <= > >= ~ (contains); "
    "a value with spaces, parentheses or operators stands in quotes, null means missing"
)


@dataclass(frozen=True)
class Comparison:
    """One comparison; ``=`` and ``~`` with a list (tags) ask whether it holds such an entry."""

    name: str
    op: str
    value: Value

    def names(self) -> Iterable[str]:
        """Return the name."""
        return [self.name]

    def holds(self, facts: Facts) -> bool:
        """Return whether it is true of a run. What is missing equals null only and is in no order with anything."""
        found = facts(self.name)
        if self.op == "!=":
            return not _equals(found, self.value)
        if self.op == "=":
            return _equals(found, self.value)
        entries = found if isinstance(found, list | tuple) else [found]
        if self.op == "~":
            return any(_contains(entry, self.value) for entry in entries)
        return any(_ordered(self.op, entry, self.value) for entry in entries)


@dataclass(frozen=True)
class _Held:
    """A value on its way through the parser, which drops a bare None."""

    value: Value


@dataclass(frozen=True)
class Not:
    """True where its part is not."""

    part: Expression

    def names(self) -> Iterable[str]:
        """Return all names in it."""
        return self.part.names()

    def holds(self, facts: Facts) -> bool:
        """Return whether it is true of a run."""
        return not self.part.holds(facts)


@dataclass(frozen=True)
class Joined:
    """True where all (and) or any (or) of its parts are."""

    word: str
    parts: tuple[Expression, ...]

    def names(self) -> Iterable[str]:
        """Return all names in it."""
        return [name for part in self.parts for name in part.names()]

    def holds(self, facts: Facts) -> bool:
        """Return whether it is true of a run."""
        return (all if self.word == "and" else any)(part.holds(facts) for part in self.parts)


Expression = Comparison | Not | Joined


def parse(text: str) -> Expression:
    """Read a condition.

    Parameters
    ----------
    text : str
        Such as ``model=catboost and average_precision>0.05``.

    Raises
    ------
    ConfigError
        Saying where the text stops making sense, and what is allowed.

    Examples
    --------
    >>> parse("not (model=catboost or seed > 3)")
    Not(part=Joined(word='or', parts=(Comparison(name='model', op='=', value='catboost'), \
Comparison(name='seed', op='>', value=3.0))))
    """
    from pyparsing import ParseBaseException  # 50 ms, which a list without a condition does not need

    try:
        (found,) = _grammar().parse_string(text, parse_all=True)
    except ParseBaseException as error:
        raise ConfigError("The condition", [_problem(text, error)], "Nothing was listed.") from None
    except RecursionError:
        problem = Problem("--where", "parentheses in parentheses, too deep", ALLOWED)
        raise ConfigError("The condition", [problem], "Nothing was listed.") from None
    assert isinstance(found, Expression)
    return found


@cache
def _grammar() -> ParserElement:
    from pyparsing import CaselessKeyword, Forward, QuotedString, Regex, Suppress, ZeroOrMore, one_of

    and_, or_, not_ = (Suppress(CaselessKeyword(word)) for word in ("and", "or", "not"))
    name = Regex(r"(?!(?:and|or|not)\b(?![.@/-]))[A-Za-z_][\w.@/-]*", re.IGNORECASE).set_name("a name")
    quoted = (QuotedString('"', esc_char="\\") | QuotedString("'", esc_char="\\")).add_parse_action(
        lambda tokens: _Held(tokens[0])
    )
    bare = Regex(r"(?!(?:and|or|not)(?![^\s()]))[^\s()=<>!~'\"]+", re.IGNORECASE).add_parse_action(
        lambda tokens: _Held(_value(tokens[0]))
    )
    comparison = name + one_of(OPERATORS).set_name("an operator") + (quoted | bare).set_name("a value")
    comparison.add_parse_action(
        lambda tokens: Comparison(tokens[0], "=" if tokens[1] == "==" else tokens[1], tokens[2].value)
    )
    either = Forward()
    factor = Forward()
    inverted = (not_ + factor).add_parse_action(lambda tokens: Not(tokens[0]))
    factor <<= inverted | Suppress("(") + either + Suppress(")") | comparison
    both = (factor + ZeroOrMore(and_ - factor)).add_parse_action(lambda tokens: _joined("and", tokens))
    either <<= (both + ZeroOrMore(or_ - both)).add_parse_action(lambda tokens: _joined("or", tokens))
    return either.parse_with_tabs()


def _joined(word: str, tokens: Iterable[Expression]) -> Expression:
    parts = tuple(tokens)
    return parts[0] if len(parts) == 1 else Joined(word, parts)


def _value(word: str) -> Value:
    if NUMBER.fullmatch(word):
        return float(word)
    return CONSTANTS.get(word.casefold(), word)


def _problem(text: str, error: ParseBaseException) -> Problem:
    rest = text[error.loc :].strip()
    got = f"{rest[:30]!r} at position {error.loc + 1} of {text!r}" if rest else f"nothing after {text!r}"
    return Problem("--where", got, ALLOWED)


def _equals(found: object, value: Value) -> bool:
    if isinstance(found, list | tuple):
        return any(_equals(entry, value) for entry in found)
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(found, int | float) and isinstance(value, str):
        return str(found) == value  # quoted on purpose, or a config value such as 1e-3 that YAML takes for text
    if isinstance(found, str) and isinstance(value, float):
        return NUMBER.fullmatch(found) is not None and float(found) == value
    return found == value


def _contains(found: object, value: Value) -> bool:
    part = f"{value:g}" if isinstance(value, float) else str(value)
    return found is not None and value is not None and part.casefold() in str(found).casefold()


def _ordered(op: str, found: object, value: Value) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return False
    numbers = isinstance(found, int | float) and isinstance(value, float)
    if numbers or (isinstance(found, str) and isinstance(value, str)):
        return bool(ORDERS[op](found, value))
    return False
