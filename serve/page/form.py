"""The form for one record, generated from the run's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from mlsys.runs.input_column import InputColumn, input_columns
from mlsys.text import counted
from serve.scoring.typical_cells import digits, with_mark

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


@dataclass(frozen=True)
class Field:
    """A field of the form.

    Attributes
    ----------
    name, label, value, hint : str
    number, required : bool
    keyboard : str
        The keyboard of a phone.
    options : tuple of str
        Choices, or suggestions if the field is open.
    is_open : bool
        Whether other text than the options may be typed.
    words : str
        What the field is found by, besides its name.
    data : dict of str to str
        Further attributes for the page's script.
    """

    name: str
    label: str
    value: str
    hint: str
    number: bool
    required: bool
    keyboard: str = ""
    options: tuple[str, ...] = ()
    is_open: bool = True
    words: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    def html(self, number: int) -> str:
        """Return the field as HTML; ``number`` makes its ids unique."""
        search = escape(f"{self.name} {self.words}".lower())
        return (
            f'<div class="field" data-search="{search}"><label for="field-{number}">{escape(self.label)}</label>'
            f'{self._control(number)}<p class="hint" id="hint-{number}">{escape(self.hint)}</p>'
            f'<p class="field-error" id="error-{number}" hidden></p></div>'
        )

    def _control(self, number: int) -> str:
        attributes = (
            f'id="field-{number}" data-field="{escape(self.name)}" data-kind="{"number" if self.number else "text"}"'
            f'{" data-required" * self.required} aria-describedby="hint-{number} error-{number}"'
        ) + "".join(f' data-{key}="{escape(value)}"' for key, value in self.data.items())
        if not self.is_open:
            return f"<select {attributes}>{self._choices()}</select>"
        attributes += f' inputmode="{self.keyboard}"' * bool(self.keyboard)
        attributes += f' list="known-{number}"' * bool(self.options)
        attributes += "" if self.required else ' placeholder="unknown"'
        options = "".join(f'<option value="{escape(each)}"></option>' for each in self.options)
        suggestions = f'<datalist id="known-{number}">{options}</datalist>' * bool(self.options)
        return f'<input {attributes} autocomplete="off" value="{escape(self.value)}">{suggestions}'

    def _choices(self) -> str:
        unknown = "" if self.required else '<option value="">unknown</option>'
        return unknown + "".join(
            f'<option value="{escape(each)}"{" selected" * (each == self.value)}>{escape(each) or "(empty)"}</option>'
            for each in sorted(self.options, key=_natural)
        )


def form_fields(schema: Mapping[str, Any]) -> str:
    """Return the form's fields as HTML, filled with typical values."""
    named = groups(input_columns(schema))
    return groups_html([(group.title, [_field(*each) for each in group.fields]) for group in named])


def groups_html(named: Sequence[tuple[str, Sequence[Field]]]) -> str:
    """Return titled groups of fields as HTML; the first one is open."""
    number = 0
    parts = []
    for position, (title, fields) in enumerate(named):
        texts = [each.html(number + offset) for offset, each in enumerate(fields, start=1)]
        number += len(fields)
        parts.append(
            f'<details class="group"{" data-mixed" * (title == UNGROUPED)}{" open" * (position == 0)}><summary>'
            f'<span class="title">{escape(title)}'
            f'</span> <span class="muted small">{counted(len(fields), "field")}</span></summary>'
            f'<div class="fields">{"".join(texts)}</div></details>'
        )
    return "".join(parts)


def _field(label: str, column: InputColumn) -> Field:
    negative = column.number and column.low < 0  # a phone's decimal keyboard has no minus
    return Field(
        name=column.name,
        label=label,
        value=shown(column.example),
        hint=_hint(label, column),
        number=column.number,
        required=not column.nullable,
        keyboard=("text" if negative else "decimal") if column.number else "",
        options=column.listed,
        is_open=column.number or column.is_open,
        words=column.description,
    )


def _hint(label: str, column: InputColumn) -> str:
    _, _, detail = column.title.partition(": ")
    parts = [detail] if detail and label == _capital(column.name) else []
    parts += [column.unit] if column.unit else []
    if column.has_range:
        parts.append(range_text(column))
    if column.nullable:
        parts.append("leave empty if unknown")
    return " · ".join(parts)


def range_text(column: InputColumn, decimal: str = ".") -> str:
    """Return the range of a number in training, with this decimal mark."""
    low, high = (with_mark(_grouped(end), decimal) for end in (column.low, column.high))
    return f"{low} to {high} in training"


def shown(value: object) -> str:
    """Return a value as a field shows it; fractional numbers have four significant digits.

    Examples
    --------
    >>> shown(36.05551275463989), shown(12097.0), shown(None)
    ('36.06', '12097', '')
    """
    if value is None:
        return ""
    return digits(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _grouped(value: float) -> str:
    return f"{float(digits(float(value))):,.10g}"


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts 2 before 10."""
    pieces = re.findall(r"\d+|\D+", text.replace(",", ""))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _capital(text: str) -> str:
    text = text.replace("_", " ")
    return text[:1].upper() + text[1:]
