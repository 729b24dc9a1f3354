"""The cells of a column as text: blanks, missing marks, yes/no words, numbers; worked out once per distinct value."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Marks that mean "not known" in any column, once case and blanks are gone. "unknown", "other" and "missing" are not
# among them: people enter those on purpose, so they stay levels (a column of numbers cannot read them anyway).
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
# A target's classes are few and chosen: "-" beside "+" or "none" beside "some" are classes there, not gaps.
MISSING_TARGET = frozenset(["", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "(null)", "#null!", "\\n"])

TRUE_WORDS = ("true", "t", "yes", "y", "on", "ja", "oui", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "off", "nein", "non", "0", "0.0")

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\x00"))
_TIDY = r"[!-~]+(?: [!-~]+)*$"
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
_GROUPING = str.maketrans("", "", ",' ’")
_SWAP = str.maketrans(",.", ".,")
_UNIT = re.compile(r".*[0-9.] ?(?P<unit>[a-zA-Zµ°²³/]{1,8})")


@dataclass(frozen=True)
class Levels:
    """A column's distinct values as clean text, and which row holds which.

    Attributes
    ----------
    codes : array of int, shape (n_rows,)
        Position in ``values``; -1 where the cell is missing.
    values : Series of str, shape (n_levels,)
        Distinct, without blanks around them, in order of appearance.
    counts : array of int, shape (n_levels,)
        How many rows hold each value.
    """

    codes: NDArray[np.intp]
    values: pd.Series[str]
    counts: NDArray[np.intp]

    @property
    def rows(self) -> int:
        """Number of rows, missing ones included."""
        return len(self.codes)

    @property
    def filled(self) -> int:
        """Number of rows that are not missing."""
        return int(self.counts.sum())

    def spread(self, per_value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give each row the number of its value; NaN where the cell is missing."""
        return np.append(per_value, np.nan)[self.codes]

    def count(self, mask: NDArray[np.bool_]) -> int:
        """Return how many rows hold a value that ``mask`` picks."""
        return int(self.counts[mask].sum())


def as_levels(series: pd.Series, missing: Collection[str] = MISSING) -> Levels:
    r"""Reduce a column to its distinct clean texts.

    Blanks at both ends (non-breaking ones too), doubled blanks inside and invisible characters go; texts that then
    equal a mark in ``missing``, whatever their case, are missing. Whole floats read as integers, so that a code is "7"
    whether it came from a CSV or, with gaps, from Parquet.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Of any dtype.
    missing : collection of str
        Case-folded marks of a missing cell.

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
    if (
        series.dtype == object
    ):  # equal objects of different types (1, True, 1.0) must not share a value: text comes first
        series = text_series([None if gap else _cell(value) for value, gap in zip(series, series.isna(), strict=True)])
    raw_codes, raw = pd.factorize(series)
    texts = _clean(text_series([*map(_cell, raw)] if not isinstance(series.dtype, pd.StringDtype) else raw))
    merged, values = pd.factorize(texts.mask(texts.str.lower().isin(missing)))
    codes = np.append(merged, -1)[raw_codes]
    return Levels(codes, pd.Series(values, dtype="str"), np.bincount(codes[codes >= 0], minlength=len(values)))


def text_series(values: Sequence[str | None] | pd.Index) -> pd.Series[str]:
    """Build a str column; characters that UTF-8 cannot hold (lone surrogates) become question marks."""
    try:
        return pd.Series(values, dtype="str")
    except UnicodeEncodeError:
        return pd.Series([None if v is None else v.encode("utf-8", "replace").decode() for v in values], dtype="str")


def _clean(texts: pd.Series[str]) -> pd.Series[str]:
    dirty = ~texts.str.match(_TIDY)  # most columns have nothing to clean, and finding that out is fast
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
    """Read texts as numbers; NaN where a text is not one.

    Knows thousands separators (comma or point, blank, apostrophe; Indian grouping too), currency signs, percent signs
    (12% is 0.12), negatives in parentheses or with a trailing minus, and exponents. Infinities are not numbers here.

    Parameters
    ----------
    values : Series of str, shape (n,)
    decimal : "." or ","
    unit : str
        A unit that may follow the number, in any case, such as "kg".

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
    unusual = np.isnan(numbers)  # the fast parser above took the ordinary ones
    numbers[unusual] = [_number(text, decimal, unit) for text in values[unusual].tolist()]
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _number(text: str, decimal: str, unit: str) -> float:
    if unit and text.casefold().endswith(unit.casefold()):
        text = text[: -len(unit)].rstrip()
    found = _NUMBER.fullmatch(text)
    if not found or bool(found["open"]) != bool(found["close"]):
        return np.nan
    body = _grammatical(found["body"], decimal)
    signs = found["sign"] + found["inner"] + found["after"] + found["open"]
    if not body or len(signs) > 1:
        return np.nan
    number = float(body[0].translate(_GROUPING) + (found["exponent"] or ""))
    return (-number if signs in {"-", "−", "("} else number) / (100 if found["percent"] else 1)


def decimal_vote(values: pd.Series[str], *, sample: int = 2_000) -> str | None:
    """Tell which decimal mark the numbers in a column use; None if nothing in it decides ("1,234" can be either).

    Examples
    --------
    >>> [decimal_vote(pd.Series(texts)) for texts in (["1.234", "2,5"], ["1,234.0"], ["1,234"])]
    [',', '.', None]
    """
    votes = [vote for text in spaced(values, sample) if (vote := _vote(text))]
    commas = votes.count(",")
    if not votes or (commas == 0 and "." not in votes):
        return None
    return "," if commas > len(votes) - commas else "."


def _vote(text: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    if not found or not ("," in found["body"] or "." in found["body"]):
        return None
    fits = [mark for mark in ",." if _grammatical(found["body"], mark)]
    return fits[0] if len(fits) == 1 else None


def _grammatical(body: str, decimal: str) -> re.Match[str] | None:
    return _BODY.fullmatch(body.translate(_SWAP) if decimal == "," else body)


def spaced(values: pd.Series[str], size: int) -> list[str]:
    """Take at most ``size`` values evenly spaced, the same ones every time."""
    if len(values) <= size:
        return values.tolist()
    return values.iloc[np.linspace(0, len(values) - 1, size).astype(int)].tolist()


def common_unit(values: pd.Series[str], *, sample: int = 500) -> str:
    """Return the unit that follows nearly every number in a column, in lower case; "" if there is none.

    Examples
    --------
    >>> common_unit(pd.Series(["12 kg", "7.5 KG", "80kg"])), common_unit(pd.Series(["10a", "11b"]))
    ('kg', '')
    """
    texts = spaced(values, sample)
    units = [found["unit"].casefold() if (found := _UNIT.fullmatch(text)) else "" for text in texts]
    top = max(sorted(set(units)), key=units.count, default="")
    return top if units.count(top) >= 0.95 * len(units) else ""


def parse_words(values: pd.Series[str], true: Collection[str], false: Collection[str]) -> NDArray[np.float64]:
    """Read yes/no words, whatever their case, as 1.0 and 0.0; NaN for any other.

    Examples
    --------
    >>> parse_words(pd.Series(["Yes", "NO", "perhaps"]), TRUE_WORDS, FALSE_WORDS).tolist()
    [1.0, 0.0, nan]
    """
    meaning = dict.fromkeys(true, 1.0) | dict.fromkeys(false, 0.0)
    return np.array([meaning.get(value.casefold(), np.nan) for value in values], dtype=np.float64)


def to_numbers(series: pd.Series) -> NDArray[np.float64]:
    """Read a column that is known to hold numbers, such as what a row is worth; NaN where a cell is not a number.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Numbers, or text in any of the ways that `parse_numbers` knows.

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
    return levels.spread(parse_numbers(levels.values, decimal=decimal_vote(levels.values) or "."))
