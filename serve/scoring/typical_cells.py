"""Typical cells of the training table, as that table writes them: for example files, the form and the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from serve.scoring.date_words import written
from serve.scoring.raw_columns import TrainingColumn, TrainingTable

FILLED = "x"  # any value
SAMPLES = ("a", "an", "the", "text", "words", "sample", "example", "sentence", "something", "characters")


def typical_cells(table: TrainingTable, created: str) -> dict[str, str | None]:
    """Return a typical row of the training table without the columns that no input is made from.

    Parameters
    ----------
    table : TrainingTable
    created : str
        When the run was made, in ISO format: its day is the row's own time, and the date of columns whose inputs do
        not tell a day.

    Returns
    -------
    dict of str to str or None
        Cells in the order of the table, those that dates count from first; None if missing is typical.
    """
    today = datetime.combine(datetime.fromisoformat(created), time.min)
    own_time = {table.time: written(today, table.time_format)} if table.aged else {}
    return own_time | {column.name: _cell(column, today) for column in table.columns}


def delimiter(table: TrainingTable) -> str:
    """Return the delimiter of example files: a semicolon where numbers have decimal commas."""
    return ";" if any(column.decimal == "," for column in table.columns) else ","


def with_mark(number: str, decimal: str) -> str:
    """Return a number with this decimal mark instead of a point, and thousands with the other mark.

    Examples
    --------
    >>> with_mark("1,234.5", ",")
    '1.234,5'
    """
    return number.translate(str.maketrans(",.", ".,")) if decimal == "," else number


def digits(value: float) -> str:
    """Return a number with four significant digits, or all digits before the point.

    Examples
    --------
    >>> digits(36.05551275463989), digits(12097.0)
    ('36.06', '12097')
    """
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _cell(column: TrainingColumn, today: datetime) -> str | None:
    examples = {part: each.example for part, each in zip(column.parts, column.inputs, strict=True)}
    if all(value is None for value in examples.values()):
        return None
    if column.parts == ("filled",):
        return FILLED if examples["filled"] else None
    numbers = {part: float(value) for part, value in examples.items() if isinstance(value, int | float)}
    match column.kind:
        case "number":
            return with_mark(digits(numbers["value"]), column.decimal)
        case "boolean":
            return (column.true if numbers["value"] else column.false)[0]
        case "date":
            return written(_moment(numbers, today), column.date_format)
        case "text":
            return _text(int(numbers["words"]), int(numbers["length"]))
        case _:
            return str(examples["value"])


def _moment(numbers: Mapping[str, float], today: datetime) -> datetime:
    """Return the moment that the typical parts of a date tell."""
    day = today
    if "day" in numbers:
        day = datetime(1970, 1, 1) + timedelta(days=numbers["day"])
    elif "age_days" in numbers:
        day -= timedelta(days=round(numbers["age_days"]))
    return day + timedelta(hours=numbers.get("hours", numbers.get("hour", 0)))


def _text(words: int, length: int) -> str:
    """Return text with a number of words and characters, spaces included.

    Examples
    --------
    >>> _text(3, 16), _text(1, 12)
    ('text words words', 'exampleexamp')
    """
    letters = max(words, length - words + 1)
    sizes = [letters * (word + 1) // words - letters * word // words for word in range(words)]
    return " ".join(SAMPLES[size - 1] if size <= len(SAMPLES) else ("example" * size)[:size] for size in sizes)
