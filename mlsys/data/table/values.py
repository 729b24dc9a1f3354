"""Parses the cells of a column as text: missing values, yes/no words and numbers, once per distinct value."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Values that mean "missing" in any column, ignoring case and surrounding whitespace. "unknown", "other" and "missing"
# are not among them: they are entered deliberately and stay levels (in a numeric column they do not parse anyway).
MISSING = frozenset(
    {
        "",
        "na",
        "n/a",
        "#n/a",
        "#na",
        "<na>",
        "n.a.",
        "n.a",
        "nan",
        "-nan",
        "nat",
        "null",
        "(null)",
        "#null!",
        "none",
        "nil",
    }
    | {"?", "-", "--", "---", "–", "—", ".", "\\n", "#div/0!", "#value!", "#ref!", "#name?", "#num!"}
)
# A target's classes are few and deliberate: "-" next to "+", or "none" next to "some", is a class and not missing.
MISSING_TARGET = frozenset(["", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "(null)", "#null!", "\\n"])

MAX_EXACT = 2**53  # whole numbers from here on are not exact as float64

TRUE_WORDS = ("true", "t", "yes", "y", "on", "ja", "oui", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "off", "nein", "non", "0", "0.0")

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\x00"))
_CLEAN = r"[!-~]+(?: [!-~]+)*$"
_CURRENCY = r"(?:US\$|R\$|[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|BRL|kr\.?|zł)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?) ?(?P<open>\(?) ?(?:{_CURRENCY})? ?(?P<inner>[-+−]?) ?"
    rf"(?P<body>[0-9][0-9 .,'’]*[0-9.,]|[0-9]|[.,][0-9]+)(?P<exponent>[eE][-+]?[0-9]+)?"
    rf" ?(?:{_CURRENCY})? ?(?P<percent>%?) ?(?P<close>\)?)(?P<after>-?)",
    re.IGNORECASE,
)
_BODY = re.compile(
    r"(?:[0-9]*|[1-9][0-9]{0,2}(?:(?P<by>[,' ’])[0-9]{3}(?:(?P=by)[0-9]{3})*|(?:,[0-9]{2})+,[0-9]{3}))(?:\.[0-9]*)?"
)
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:[.,][0-9]{3})+")
_GROUPING = str.maketrans("", "", ",' ’")
_SWAP = str.maketrans(",.", ".,")
_UNIT = re.compile(r".*[0-9.] ?(?P<unit>[a-zA-Zµ°²³/]{1,8})")


@dataclass(frozen=True)
class Levels:
    """A column's distinct values as clean text, and the value of each row.

    Attributes
    ----------
    codes : array of int, shape (n_rows,)
        Index into ``values``; -1 if the cell is missing.
    values : Series of str, shape (n_levels,)
        Distinct values in order of appearance, without surrounding whitespace.
    counts : array of int, shape (n_levels,)
        Number of rows with each value.
    """

    codes: NDArray[np.intp]
    values: pd.Series[str]
    counts: NDArray[np.intp]

    @property
    def rows(self) -> int:
        """Number of rows, including missing ones."""
        return len(self.codes)

    @property
    def filled(self) -> int:
        """Number of rows with a value."""
        return int(self.counts.sum())

    def spread(self, per_value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expand numbers per distinct value to rows; NaN where the cell is missing."""
        return np.append(per_value, np.nan)[self.codes]

    def count(self, mask: NDArray[np.bool_]) -> int:
        """Return the number of rows whose value is selected by ``mask``."""
        return int(self.counts[mask].sum())


def as_levels(series: pd.Series, missing: Collection[str] = MISSING) -> Levels:
    r"""Reduce a column to its distinct values as clean text.

    Leading, trailing and repeated whitespace (including non-breaking spaces) and invisible characters are removed.
    Text that then matches an entry of ``missing``, ignoring case, is missing. Whole floats become integers, so that a
    code is "7" whether it comes from CSV or from a Parquet column with missing values.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        A column of any dtype.
    missing : collection of str
        Lower-case values that mean "missing".

    Returns
    -------
    Levels

    Examples
    --------
    >>> levels = as_levels(pd.Series([" a", "a\xa0", "N/A", None, "b  c"]))
    >>> levels.codes.tolist(), levels.values.tolist(), levels.counts.tolist()
    ([0, 0, -1, -1, 1], ['a', 'b c'], [2, 1])
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if series.dtype == object:
        # Convert to text first: equal objects of different types (1, True, 1.0) must not share a value.
        series = text_series([None if gap else _cell(value) for value, gap in zip(series, series.isna(), strict=True)])
    raw_codes, raw = pd.factorize(series)
    texts = _clean(text_series([*map(_cell, raw)] if not isinstance(series.dtype, pd.StringDtype) else raw))
    merged, values = pd.factorize(texts.mask(texts.str.lower().isin(missing)))
    codes = np.append(merged, -1)[raw_codes]
    return Levels(codes, pd.Series(values, dtype="str"), np.bincount(codes[codes >= 0], minlength=len(values)))


def text_series(values: Sequence[str | None] | pd.Index) -> pd.Series[str]:
    """Return a str column; characters that UTF-8 cannot encode (lone surrogates) become question marks."""
    try:
        return pd.Series(values, dtype="str")
    except UnicodeEncodeError:
        return pd.Series([None if v is None else v.encode("utf-8", "replace").decode() for v in values], dtype="str")


def _clean(texts: pd.Series[str]) -> pd.Series[str]:
    dirty = ~texts.str.match(_CLEAN)  # fast, and most columns have nothing to clean
    if dirty.any():
        cleaned = [" ".join(text.translate(_INVISIBLE).split()) for text in texts[dirty]]
        texts = texts.copy()
        texts[dirty] = text_series(cleaned).to_numpy()
    return texts


def _cell(value: object) -> str:
    match value:
        case str():
            return value
        case float() if value.is_integer():
            return str(int(value))
        case bytes():
            return value.decode("utf-8", "replace")
        case date() | time():  # datetime and Timestamp are dates too
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, default=str, sort_keys=True)
        case _:
            return str(value)


def parse_numbers(values: pd.Series[str], *, decimal: str = ".", unit: str = "") -> NDArray[np.float64]:
    """Parse text as numbers; NaN where the text is not a number.

    Supports thousands separators (comma or point, space, apostrophe; also Indian grouping), currency symbols, percent
    signs (12% is 0.12), negative numbers in parentheses or with a trailing minus, and exponents. Infinity is not a
    number.

    Parameters
    ----------
    values : Series of str, shape (n,)
        Text to parse.
    decimal : "." or ","
        Decimal mark.
    unit : str
        Unit that may follow a number, such as "kg"; case is ignored.

    Returns
    -------
    array of float64, shape (n,)

    Examples
    --------
    >>> parse_numbers(pd.Series(["1,234.5", "($ 12)", "8 %", "soon"])).tolist()
    [1234.5, -12.0, 0.08, nan]
    >>> parse_numbers(pd.Series(["1.234,5", "0,5 kg"]), decimal=",", unit="kg").tolist()
    [1234.5, 0.5]
    """
    plain = values.where(~values.str.contains(".", regex=False)) if decimal == "," else values
    numbers = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    unusual = np.isnan(numbers)  # the fast parser above has parsed ordinary numbers
    numbers[unusual] = [_number(text, decimal, unit) for text in values[unusual].tolist()]
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _number(text: str, decimal: str, unit: str) -> float:
    if unit and text.casefold().endswith(unit.casefold()):
        text = text[: -len(unit)].rstrip()
    match = _NUMBER.fullmatch(text)
    if not match or bool(match["open"]) != bool(match["close"]):
        return np.nan
    body = _match_body(match["body"], decimal)
    signs = match["sign"] + match["inner"] + match["after"] + match["open"]
    if not body or len(signs) > 1:
        return np.nan
    number = float(body[0].translate(_GROUPING) + (match["exponent"] or ""))
    return (-number if signs in {"-", "−", "("} else number) / (100 if match["percent"] else 1)


def decimal_vote(values: pd.Series[str], *, sample: int = 2_000) -> str | None:
    """Return the decimal mark of the numbers in a column; None if all of them are ambiguous, such as "1,234".

    Examples
    --------
    >>> [decimal_vote(pd.Series(texts)) for texts in (["1.234", "2,5"], ["1,234.0"], ["1,234"], ["2.759E+01"])]
    [',', '.', None, '.']
    """
    votes = [vote for text in evenly_spaced(values, sample) if (vote := _vote(text))]
    commas = votes.count(",")
    if not votes or (commas == 0 and "." not in votes):
        return None
    return "," if commas > len(votes) - commas else "."


def _vote(text: str) -> str | None:
    match = _NUMBER.fullmatch(text)
    if not match or not ("," in match["body"] or "." in match["body"]):
        return None
    possible = [mark for mark in ",." if _match_body(match["body"], mark)]
    if match["exponent"]:  # numbers with an exponent have no thousands
        possible = [mark for mark in possible if mark in match["body"]]
    return possible[0] if len(possible) == 1 else None


def _match_body(body: str, decimal: str) -> re.Match[str] | None:
    return _BODY.fullmatch(body.translate(_SWAP) if decimal == "," else body)


class Thousands(NamedTuple):
    """What a column of ambiguous numbers, such as "2.256", looks like.

    Attributes
    ----------
    mark : str
        The mark before each last group of three digits.
    example : str
        A number with the mark.
    marked : int
        Number of different numbers with the mark.
    has_small_numbers : bool
        Whether all numbers without the mark are below 1,000, and there are some: the mark then separates thousands,
        as decimals would end in 0 or be shorter now and then, or have the mark in every number.
    """

    mark: str
    example: str
    marked: int
    has_small_numbers: bool


def thousands(values: pd.Series[str], *, sample: int = 2_000) -> Thousands | None:
    """Return what a column's numbers look like if each mark in them is followed by three digits; else None.

    Examples
    --------
    >>> thousands(pd.Series(["2.256", "999", "47.565"]))
    Thousands(mark='.', example='2.256', marked=2, has_small_numbers=True)
    >>> thousands(pd.Series(["2.256", "9.5"])) is None
    True
    """
    numbers = [match for text in evenly_spaced(values, sample) if (match := _NUMBER.fullmatch(text))]
    bodies = [match["body"] for match in numbers]
    marked = [body for body in bodies if "." in body or "," in body]
    marks = {mark for body in marked for mark in ".," if mark in body}
    has_exponents = any(match["exponent"] for match in numbers)  # such numbers have no thousands
    if len(marks) != 1 or has_exponents or not all(_GROUPED.fullmatch(body) for body in marked):
        return None
    plain = [body for body in bodies if body.isdecimal()]
    small = bool(plain) and all(len(body) <= 3 for body in plain)
    return Thousands(marks.pop(), marked[0], len(marked), small)


def evenly_spaced(values: pd.Series[str], size: int) -> list[str]:
    """Return at most ``size`` evenly spaced values; deterministic."""
    if len(values) <= size:
        return values.tolist()
    return values.iloc[np.linspace(0, len(values) - 1, size).astype(int)].tolist()


def common_unit(values: pd.Series[str], *, sample: int = 500) -> str:
    """Return the unit, in lower case, that follows nearly all numbers in a column; "" if there is none.

    Examples
    --------
    >>> common_unit(pd.Series(["12 kg", "7.5 KG", "80kg"])), common_unit(pd.Series(["10a", "11b"]))
    ('kg', '')
    """
    texts = evenly_spaced(values, sample)
    units = [match["unit"].casefold() if (match := _UNIT.fullmatch(text)) else "" for text in texts]
    top = max(sorted(set(units)), key=units.count, default="")
    return top if units.count(top) >= 0.95 * len(units) else ""


def parse_words(values: pd.Series[str], true: Collection[str], false: Collection[str]) -> NDArray[np.float64]:
    """Parse yes/no words, ignoring case, as 1.0 and 0.0; NaN for other text.

    Examples
    --------
    >>> parse_words(pd.Series(["Yes", "NO", "perhaps"]), TRUE_WORDS, FALSE_WORDS).tolist()
    [1.0, 0.0, nan]
    """
    meaning = dict.fromkeys(true, 1.0) | dict.fromkeys(false, 0.0)
    return np.array([meaning.get(value.casefold(), np.nan) for value in values], dtype=np.float64)


def to_numbers(series: pd.Series, *, decimal: str | None = None) -> NDArray[np.float64]:
    """Parse a column that is known to be numeric, such as the revenue column; NaN where a cell is not a number.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Numbers, or text in any form that `parse_numbers` supports.
    decimal : "." or ",", optional
        Decimal mark; by default the column's own.

    Returns
    -------
    array of float64, shape (n_rows,)

    Examples
    --------
    >>> to_numbers(pd.Series(["1.200,50 €", "80,00 €", "-"])).tolist()
    [1200.5, 80.0, nan]
    """
    if pd.api.types.is_numeric_dtype(series.dtype):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        numbers[np.isinf(numbers)] = np.nan
        return numbers
    levels = as_levels(series)
    return levels.spread(parse_numbers(levels.values, decimal=decimal or decimal_vote(levels.values) or "."))
