"""Inputs of a model as schema.json describes them, and the values they accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from mlsys.errors import RunError

NUMBER, TEXT = "float64", "string"  # the dtypes of schema.json
LARGEST = float.fromhex("0x1.fffffep+127")  # largest float32; many libraries compute in float32 and overflow beyond it
MAX_LISTED = 200  # schema.json lists only the most frequent categories of an input
SHOWN_CATEGORIES = 8


class AllowedValue(NamedTuple):
    """One of the few values that an input may have.

    Attributes
    ----------
    cell : str
        How the training table writes it.
    value : float or str
        The input made from that cell.
    """

    cell: str
    value: float | str

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return repr(self.cell)
        number = f"{self.value:.17g}"
        return number if _is_number(self.cell, self.value) else f"{self.cell} ({number})"


@dataclass(frozen=True)
class InputColumn:
    """One input of a model.

    Attributes
    ----------
    name, unit, description : str
    number : bool
        Whether it is numeric; otherwise it is categorical.
    nullable : bool
        Whether it may be missing.
    low, high : float
        Range in the training data; infinite if unknown. Values outside it are scored, with a warning.
    listed : tuple of str
        Categories listed in schema.json.
    categories : frozenset of str or None
        All categories in the training data; None if unknown. Other values are scored as unknown, with a warning.
    example : float, str or None
        Example of a valid value.
    allowed : tuple of AllowedValue
        The only values that are accepted, such as those of the two arms of a treatment; empty if any is.
    """

    name: str
    number: bool
    nullable: bool
    low: float = -inf
    high: float = inf
    listed: tuple[str, ...] = ()
    categories: frozenset[str] | None = None
    unit: str = ""
    description: str = ""
    example: float | str | None = None
    allowed: tuple[AllowedValue, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any], known: frozenset[str] = frozenset()) -> InputColumn:
        """Parse one entry of the inputs in schema.json.

        Parameters
        ----------
        entry : mapping
            Must have ``name``, ``dtype`` and ``nullable``.
        known : frozenset of str
            Further categories, if the model's encoder knows more than the schema lists.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the entry is invalid.
        """
        name, dtype = str(entry["name"]), entry["dtype"]
        if dtype not in (NUMBER, TEXT):
            raise ValueError(f"{name} has the dtype {dtype}; expected {NUMBER} or {TEXT}")
        listed = tuple(entry.get("categories") or ())
        is_complete = known or (entry.get("categories") is not None and len(listed) < MAX_LISTED)
        nullable = bool(entry["nullable"])
        low, high = (entry.get(end) for end in ("min", "max"))
        sample = (listed or ("",))[0] if dtype == TEXT else (0.0 if low is None else low)
        return cls(
            name=name,
            number=dtype == NUMBER,
            nullable=nullable,
            low=-inf if low is None else float(low),
            high=inf if high is None else float(high),
            listed=listed,
            categories=known.union(listed) if is_complete else None,
            unit=str(entry.get("unit") or ""),
            description=str(entry.get("description") or ""),
            example=entry.get("example", None if nullable else sample),
            allowed=tuple(AllowedValue(each["cell"], each["value"]) for each in entry.get("allowed", ())),
        )

    @property
    def title(self) -> str:
        """The description, or else the name."""
        return self.description or self.name

    @property
    def dtype(self) -> str:
        """The dtype in schema.json."""
        return NUMBER if self.number else TEXT

    @property
    def has_range(self) -> bool:
        """Whether the range in the training data is known."""
        return self.low > -inf and self.high < inf

    @property
    def is_open(self) -> bool:
        """Whether there may be categories that are not listed."""
        return not self.listed or len(self.listed) >= MAX_LISTED

    @property
    def allowed_values(self) -> frozenset[float | str]:
        """The values of `allowed`."""
        return frozenset(each.value for each in self.allowed)

    @property
    def expected(self) -> str:
        """Description of valid values, for messages.

        Examples
        --------
        >>> InputColumn("plan", number=False, nullable=True, categories=frozenset({"free", "pro"})).expected
        "text or null, such as 'free', 'pro'"
        >>> arms = (AllowedValue("0", 0.0), AllowedValue("1", 1.0))
        >>> InputColumn("mailed", number=True, nullable=True, allowed=arms).expected
        '0 or 1, or null'
        """
        if self.allowed:
            return " or ".join(map(str, self.allowed)) + (", or null" if self.nullable else "")
        kind = "a number below 3.4e38 in size" if self.number else "text"
        kind += " or null" if self.nullable else ""
        if self.number or not self.categories:
            return kind
        examples = sorted(self.categories)[:SHOWN_CATEGORIES]
        more = ", …" if len(self.categories) > len(examples) else ""
        return f"{kind}, such as {', '.join(map(repr, examples))}{more}"

    def accepts(self, value: object) -> bool:
        """Return whether a parsed JSON value is valid for this input.

        Examples
        --------
        >>> users = InputColumn("users", number=True, nullable=False)
        >>> [users.accepts(value) for value in (3, True, "3", None, float("nan"))]
        [True, False, False, False, False]
        """
        if value is None:
            return self.nullable
        if self.allowed and not (isinstance(value, str | int | float) and value in self.allowed_values):
            return False
        if not self.number:
            return is_text(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return abs(value) <= LARGEST  # False for NaN


def input_columns(
    schema: Mapping[str, Any], known: Mapping[str, frozenset[str]] | None = None
) -> tuple[InputColumn, ...]:
    """Return the inputs that schema.json describes.

    Parameters
    ----------
    schema : mapping
        Content of schema.json.
    known : mapping of str to frozenset of str, optional
        All categories that the model's encoder was fitted on, by input; the schema lists only the most frequent ones.

    Raises
    ------
    RunError
        If the schema is invalid or has no inputs.
    """
    try:
        columns = tuple(
            InputColumn.of(entry, (known or {}).get(entry["name"], frozenset())) for entry in schema["inputs"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"schema.json has an invalid description of the inputs ({error!r}): train again.") from error
    if not columns:
        raise RunError("schema.json has no inputs: train again.")
    return columns


def is_text(value: object) -> bool:
    r"""Return whether a value is text without lone surrogates, which JSON can escape but no library can store.

    Examples
    --------
    >>> is_text("Malmö"), is_text("\ud800"), is_text(3)
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_number(cell: str, value: float) -> bool:
    try:
        return float(cell) == value
    except ValueError:
        return False
