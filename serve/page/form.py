"""The form for one record, generated from the run's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from mlsys.runs.input_column import InputColumn, input_columns
from mlsys.text import counted

UNGROUPED = "General"


@dataclass(frozen=True)
class Group:
    """Fields that belong together; their labels omit the group's title."""

    title: str
    fields: tuple[tuple[str, InputColumn], ...]


def groups(inputs: Sequence[InputColumn]) -> list[Group]:
    """Group the fields by the first words of their descriptions; fields without a group of their own come first.

    A field without a group, such as ``plan`` with the description ``plan: 2 levels``, is labelled by its name alone.

    Examples
    --------
    >>> texts = ["industry sector", "users: total", "users: trend"]
    >>> columns = [InputColumn(text, number=True, nullable=False) for text in texts]
    >>> [(group.title, [label for label, _ in group.fields]) for group in groups(columns)]
    [('General', ['Industry sector']), ('Users', ['Total', 'Trend'])]
    """
    by_prefix: dict[str, list[tuple[str, InputColumn]]] = {}
    for column in inputs:
        prefix, colon, rest = column.title.partition(": ")
        by_prefix.setdefault(prefix if colon else "", []).append((_capital(rest or column.title), column))
    ungrouped = by_prefix.pop("", [])
    for prefix in [each for each, fields in by_prefix.items() if len(fields) == 1]:
        [(_, column)] = by_prefix.pop(prefix)
        ungrouped.append((_capital(prefix if prefix == column.name else column.title), column))
    first = [Group(UNGROUPED, tuple(ungrouped))] if ungrouped else []
    return first + [Group(_capital(prefix), tuple(fields)) for prefix, fields in by_prefix.items()]


def form_fields(schema: Mapping[str, Any]) -> str:
    """Return the form's fields as HTML, filled with typical values."""
    number = 0
    parts = []
    for position, group in enumerate(groups(input_columns(schema))):
        fields = []
        for label, column in group.fields:
            number += 1
            fields.append(_field(number, label, column))
        count = counted(len(fields), "field")
        parts.append(
            f'<details class="group"{" data-mixed" * (group.title == UNGROUPED)}{" open" * (position == 0)}><summary>'
            f'<span class="title">{escape(group.title)}'
            f'</span> <span class="muted small">{count}</span></summary>'
            f'<div class="fields">{"".join(fields)}</div></details>'
        )
    return "".join(parts)


def _field(number: int, label: str, column: InputColumn) -> str:
    kind = "number" if column.number else "text"
    required = "" if column.nullable else " data-required"
    attributes = (
        f'id="field-{number}" data-field="{escape(column.name)}" data-kind="{kind}"{required} '
        f'aria-describedby="hint-{number} error-{number}"'
    )
    search = escape(f"{column.name} {column.description}".lower())
    return (
        f'<div class="field" data-search="{search}"><label for="field-{number}">{escape(label)}</label>'
        f"{_control(number, attributes, column, shown(column.example))}"
        f'<p class="hint" id="hint-{number}">{escape(_hint(label, column))}</p>'
        f'<p class="field-error" id="error-{number}" hidden></p></div>'
    )


def _control(number: int, attributes: str, column: InputColumn, value: str) -> str:
    if column.number:
        keyboard = "decimal" if column.low >= 0 else "text"  # a phone's decimal keyboard has no minus
        return f'<input {attributes} inputmode="{keyboard}" autocomplete="off" value="{value}"{_placeholder(column)}>'
    if column.is_open:
        options = "".join(f'<option value="{escape(each)}"></option>' for each in column.listed)
        return (
            f'<input {attributes} list="known-{number}" autocomplete="off" value="{value}"{_placeholder(column)}>'
            f'<datalist id="known-{number}">{options}</datalist>'
        )
    unknown = '<option value="">unknown</option>' if column.nullable else ""
    options = "".join(
        f'<option value="{escape(each)}"{" selected" * (escape(each) == value)}>{escape(each) or "(empty)"}</option>'
        for each in sorted(column.listed, key=_natural)
    )
    return f"<select {attributes}>{unknown}{options}</select>"


def _placeholder(column: InputColumn) -> str:
    return ' placeholder="unknown"' if column.nullable else ""


def _hint(label: str, column: InputColumn) -> str:
    _, _, detail = column.title.partition(": ")
    parts = [detail] if detail and label == _capital(column.name) else []
    parts += [column.unit] if column.unit else []
    if column.has_range:
        parts.append(f"{_grouped(column.low)} to {_grouped(column.high)} in training")
    if column.nullable:
        parts.append("leave empty if unknown")
    return " · ".join(parts)


def shown(value: object) -> str:
    """Return a value as a field shows it; fractional numbers have four significant digits.

    Examples
    --------
    >>> shown(36.05551275463989), shown(12097.0), shown(None)
    ('36.06', '12097', '')
    """
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _digits(float(value))
    return escape(str(value))


def _digits(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _grouped(value: float) -> str:
    return f"{float(_digits(float(value))):,.10g}"


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts 2 before 10."""
    pieces = re.findall(r"\d+|\D+", text.replace(",", ""))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _capital(text: str) -> str:
    text = text.replace("_", " ")
    return text[:1].upper() + text[1:]
