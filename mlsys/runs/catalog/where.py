"""Conditions of ``mlsys runs --where``: comparisons combined with and, or, not and parentheses.

Parsed with pyparsing rather than as Python, so that values such as ``catboost``, dates and paths need no quotes.
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
Lookup = Callable[[str], object]

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
CONSTANTS: Mapping[str, Value] = {"true": True, "false": False, "null": None}
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = ("==", "!=", "<=", ">=", "=", "<", ">", "~")
SYNTAX = (
    "NAME OP VALUE, combined with and, or, not and parentheses; OP is one of = != < <= > >= ~ (contains); "
    "quote values with spaces, parentheses or operators; null means missing"
)


@dataclass(frozen=True)
class Condition:
    """One comparison; for a list (tags), ``=`` and ``~`` check whether any entry matches."""

    name: str
    op: str
    value: Value

    def names(self) -> Iterable[str]:
        """Return the name it uses."""
        return [self.name]

    def holds(self, lookup: Lookup) -> bool:
        """Return whether it holds for a run. A missing value equals only null, and no order holds for it."""
        actual = lookup(self.name)
        if self.op == "!=":
            return not _equals(actual, self.value)
        if self.op == "=":
            return _equals(actual, self.value)
        entries = actual if isinstance(actual, list | tuple) else [actual]
        if self.op == "~":
            return any(_contains(entry, self.value) for entry in entries)
        return any(_ordered(self.op, entry, self.value) for entry in entries)


@dataclass(frozen=True)
class _Literal:
    """Wrapper for a parsed value, because pyparsing drops None."""

    value: Value


@dataclass(frozen=True)
class Not:
    """Negation of a condition."""

    part: Expression

    def names(self) -> Iterable[str]:
        """Return all names it uses."""
        return self.part.names()

    def holds(self, lookup: Lookup) -> bool:
        """Return whether it holds for a run."""
        return not self.part.holds(lookup)


@dataclass(frozen=True)
class BooleanOperation:
    """Conjunction (and) or disjunction (or) of conditions."""

    op: str
    parts: tuple[Expression, ...]

    def names(self) -> Iterable[str]:
        """Return all names it uses."""
        return [name for part in self.parts for name in part.names()]

    def holds(self, lookup: Lookup) -> bool:
        """Return whether it holds for a run."""
        return (all if self.op == "and" else any)(part.holds(lookup) for part in self.parts)


Expression = Condition | Not | BooleanOperation


def parse(text: str) -> Expression:
    """Parse a condition.

    Parameters
    ----------
    text : str
        Condition such as ``model=catboost and average_precision>0.05``.

    Raises
    ------
    ConfigError
        If the syntax is invalid; gives the position and the allowed syntax.

    Examples
    --------
    >>> parse("not (model=catboost or seed > 3)")
    Not(part=BooleanOperation(op='or', parts=(Condition(name='model', op='=', value='catboost'), \
Condition(name='seed', op='>', value=3.0))))
    """
    from pyparsing import ParseBaseException  # takes 50 ms, and is only needed for conditions

    try:
        (expression,) = _grammar().parse_string(text, parse_all=True)
    except ParseBaseException as error:
        raise ConfigError("The query", [_problem(text, error)], "Nothing was listed.") from None
    except RecursionError:
        problem = Problem("--where", "parentheses nested too deeply", SYNTAX)
        raise ConfigError("The query", [problem], "Nothing was listed.") from None
    assert isinstance(expression, Expression)
    return expression


@cache
def _grammar() -> ParserElement:
    from pyparsing import CaselessKeyword, Forward, QuotedString, Regex, Suppress, ZeroOrMore, one_of

    and_, or_, not_ = (Suppress(CaselessKeyword(word)) for word in ("and", "or", "not"))
    name = Regex(r"(?!(?:and|or|not)\b(?![.@/-]))[A-Za-z_][\w.@/-]*", re.IGNORECASE).set_name("a name")
    quoted = (QuotedString('"', esc_char="\\") | QuotedString("'", esc_char="\\")).add_parse_action(
        lambda tokens: _Literal(tokens[0])
    )
    bare = Regex(r"(?!(?:and|or|not)(?![^\s()]))[^\s()=<>!~'\"]+", re.IGNORECASE).add_parse_action(
        lambda tokens: _Literal(_value(tokens[0]))
    )
    comparison = name + one_of(OPERATORS).set_name("an operator") + (quoted | bare).set_name("a value")
    comparison.add_parse_action(
        lambda tokens: Condition(tokens[0], "=" if tokens[1] == "==" else tokens[1], tokens[2].value)
    )
    disjunction = Forward()
    operand = Forward()
    negation = (not_ + operand).add_parse_action(lambda tokens: Not(tokens[0]))
    operand <<= negation | Suppress("(") + disjunction + Suppress(")") | comparison
    conjunction = (operand + ZeroOrMore(and_ - operand)).add_parse_action(lambda tokens: _combine("and", tokens))
    alternatives = conjunction + ZeroOrMore(or_ - conjunction)
    disjunction <<= alternatives.add_parse_action(lambda tokens: _combine("or", tokens))
    return disjunction.parse_with_tabs()


def _combine(op: str, tokens: Iterable[Expression]) -> Expression:
    parts = tuple(tokens)
    return parts[0] if len(parts) == 1 else BooleanOperation(op, parts)


def _value(word: str) -> Value:
    if NUMBER.fullmatch(word):
        return float(word)
    return CONSTANTS.get(word.casefold(), word)


def _problem(text: str, error: ParseBaseException) -> Problem:
    rest = text[error.loc :].strip()
    got = f"{rest[:30]!r} at position {error.loc + 1} of {text!r}" if rest else f"nothing after {text!r}"
    return Problem("--where", got, SYNTAX)


def _equals(actual: object, value: Value) -> bool:
    if isinstance(actual, list | tuple):
        return any(_equals(entry, value) for entry in actual)
    if isinstance(actual, bool) or isinstance(value, bool):
        return actual is value
    if isinstance(actual, int | float) and isinstance(value, str):
        return str(actual) == value  # quoted, or a config value such as 1e-3 that YAML reads as text
    if isinstance(actual, str) and isinstance(value, float):
        return NUMBER.fullmatch(actual) is not None and float(actual) == value
    return actual == value


def _contains(actual: object, value: Value) -> bool:
    part = f"{value:g}" if isinstance(value, float) else str(value)
    return actual is not None and value is not None and part.casefold() in str(actual).casefold()


def _ordered(op: str, actual: object, value: Value) -> bool:
    if isinstance(actual, bool) or isinstance(value, bool):
        return False
    numbers = isinstance(actual, int | float) and isinstance(value, float)
    if numbers or (isinstance(actual, str) and isinstance(value, str)):
        return bool(ORDERS[op](actual, value))
    return False
