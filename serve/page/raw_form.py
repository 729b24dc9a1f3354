"""The form for one row of a training table: one field for each column, in the format of the table."""

from __future__ import annotations

import json

from serve.page.form import UNGROUPED, Field, groups_html, range_text
from serve.scoring.date_words import in_words
from serve.scoring.raw_columns import TrainingColumn, TrainingTable
from serve.scoring.typical_cells import digits, typical_cells, with_mark


def raw_form_fields(table: TrainingTable, created: str) -> str:
    """Return the form's fields as HTML, filled with typical cells.

    Parameters
    ----------
    table : TrainingTable
    created : str
        When the run was made, in ISO format.
    """
    cells = typical_cells(table, created)
    fields = [_field(table.by_name[name], cell) for name, cell in cells.items() if name in table.by_name]
    if table.aged:
        hint = f"the row's own time, {in_words(table.time_format)}"
        time = Field(table.time, table.time, cells[table.time] or "", hint, number=False, required=True)
        fields.insert(0, time)
    return groups_html([(UNGROUPED, fields)])


def _field(column: TrainingColumn, cell: str | None) -> Field:
    return Field(
        name=column.name,
        label=column.name,
        value=cell or "",
        hint=_hint(column),
        number=column.kind == "number",
        required=not column.nullable,
        keyboard="decimal" if column.kind == "number" and column.inputs[0].low >= 0 else "",
        options=_options(column),
        is_open=not _is_choice(column),
        data={"parts": json.dumps(dict(zip(column.outputs, column.parts, strict=True)))}
        | ({"free": ""} if column.kind == "text" else {}),
    )


def _is_choice(column: TrainingColumn) -> bool:
    """Whether there are few different cells, all of which are listed."""
    if not column.is_value or column.has_few_values:
        return column.has_few_values
    return column.kind == "boolean" or not (column.is_number or column.inputs[0].is_open)


def _options(column: TrainingColumn) -> tuple[str, ...]:
    if not column.is_value:
        return ()
    if column.has_few_values:
        return tuple(_few_cells(column))
    return (column.true[0], column.false[0]) if column.kind == "boolean" else column.inputs[0].listed


def _few_cells(column: TrainingColumn) -> list[str]:
    """Return the cells of a column that takes a few values; numbers as the field shows its typical one."""
    allowed = column.inputs[0].allowed
    if column.kind == "number":
        return [with_mark(digits(float(each.value)), column.decimal) for each in allowed]
    return [each.cell for each in allowed]


def _hint(column: TrainingColumn) -> str:
    parts = []
    if column.parts == ("filled",):
        return "any value, or leave empty"
    if column.kind == "date":
        parts.append(in_words(column.date_format))
    elif column.kind == "number":
        parts += [column.unit] if column.unit else []
        ranged = column.inputs[0].has_range and not column.has_few_values
        parts += [range_text(column.inputs[0], column.decimal)] if ranged else []
    elif column.kind == "text":
        parts.append("free text")
    if column.nullable:
        parts.append("leave empty if unknown")
    return " · ".join(parts)
