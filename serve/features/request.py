"""Checks of a request for features, and warnings about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from mlsys.data.rules import Rule
from mlsys.text import counted, is_or_are
from serve.features.raw import RawTable
from serve.identifiers import AS_OF, read_as_of
from serve.scoring.problems import InputProblem, InvalidInput, problem

SHOWN_ROWS = 5  # row numbers to list in a warning


def check_request(
    entity_table: RawTable,
    event_table: RawTable,
    limits: Mapping[str, int],
    entities: Any,  # noqa: ANN401 - any JSON value
    events: Any,  # noqa: ANN401
    as_of: Any,  # noqa: ANN401
) -> date:
    """Check a request, and return its as-of.

    Parameters
    ----------
    entity_table, event_table : RawTable
        The raw tables that the rows belong to.
    limits : mapping of str to int
        Maximum number of rows, by table name.
    entities, events, as_of : Any
        The parsed JSON of the request.

    Raises
    ------
    InvalidInput
        If the request is wrong; lists all problems.
    """
    problems: list[InputProblem] = []
    day = read_as_of(as_of)
    if day is None:
        problems.append(problem(None, "as_of", as_of, AS_OF, None))
    entity_size, event_size = _size_problem(entity_table, entities, limits), _size_problem(event_table, events, limits)
    problems += [each for each in (entity_size, event_size) if each is not None]
    if entity_size is None:
        problems += entity_table.check(entities)
    if event_size is None:
        problems += event_table.check(events)
    if entity_size is None:
        problems += _repeated_entities(entity_table, entities)
    if entity_size is None and event_size is None:
        problems += _unknown_entities(event_table, events, set(entity_table.ids(entities)))
    if problems or day is None:
        raise InvalidInput(problems)
    return day


def check_rules(rules: Sequence[Rule], flagged: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidInput for event rows that break a rule whose action is ``error``."""
    problems = [
        problem(row["row"], "events", None, rule.allowed, None, f"A row {rule.rows}; expected {rule.allowed}.")
        for row in flagged
        for number, rule in enumerate(rules)
        if rule.action == "error" and row[f"rule_{number}"]
    ]
    if problems:
        raise InvalidInput(problems)


def check_existence(table: RawTable, rows: Sequence[int], day: date) -> None:
    """Raise InvalidInput for the rows of entities without features, which are those created after the as-of."""
    created = next((column.name for column in table.columns if column.meaning == "entities.created"), None)
    if rows:
        expected = f"an entity that exists on {day}"
        message = f"The entity did not exist yet on {day}, the as-of: see {table.name}.{created}."
        raise InvalidInput([problem(row, f"{table.name}.{created}", None, expected, None, message) for row in rows])


def rule_warnings(rules: Sequence[Rule], flagged: Sequence[Mapping[str, Any]], day: date) -> tuple[str, ...]:
    """Return warnings about rows that were not used or that break a rule."""
    warnings = []
    if day > datetime.now(tz=UTC).date():
        warnings.append(f"The as-of {day} is in the future: events until then are not known yet.")
    late = [row["row"] for row in flagged if row["late"]]
    if late:
        warnings.append(f"events: {_rows(late)} not known by the as-of {day}: not used.")
    for number, rule in enumerate(rules):
        broken = [row["row"] for row in flagged if row[f"rule_{number}"]]
        if broken:
            warnings.append(f"events: {_rows(broken)} {rule.rows}: {rule.consequence}.")
    return tuple(warnings)


def _size_problem(table: RawTable, rows: Any, limits: Mapping[str, int]) -> InputProblem | None:  # noqa: ANN401
    """Return the problem of rows that are not a list of an allowed length; None if they are."""
    name, limit = table.name, limits[table.name]
    if not isinstance(rows, list | tuple):
        return problem(None, name, rows, "a list of objects", None)
    if len(rows) > limit:
        message = (
            f"{name} has {counted(len(rows), 'row')}; at most {limit:,} {is_or_are(limit)} allowed in one request."
        )
        return problem(None, name, rows, f"at most {counted(limit, 'row')}", None, message)
    if not rows and name == "entities":
        return problem(None, name, rows, "at least one row", None, f"{name} is empty; expected at least one row.")
    return None


def _repeated_entities(table: RawTable, entities: Sequence[Any]) -> list[InputProblem]:
    """Return a problem for each row whose id is already in an earlier row."""
    problems = []
    first: dict[Any, int] = {}
    field = f"{table.name}.{table.columns[0].name}"
    for row, id_ in enumerate(table.ids(entities)):
        if id_ is not None and first.setdefault(id_, row) != row:
            message = f"{field} {id_!r} is already in row {first[id_]}."
            problems.append(problem(row, field, id_, "every entity once", None, message))
    return problems


def _unknown_entities(table: RawTable, events: Sequence[Any], known: set[Any]) -> list[InputProblem]:
    """Return a problem for each event of an entity that is not in the request."""
    field = f"{table.name}.{table.columns[0].name}"
    expected = "the id of one of the request's entities"
    return [
        problem(row, field, id_, expected, None, f"{field} {id_!r} is not the id of any of the request's entities.")
        for row, id_ in enumerate(table.ids(events))
        if id_ is not None and id_ not in known
    ]


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN_ROWS])) + (", …" if len(rows) > SHOWN_ROWS else "")
    return f"{counted(len(rows), 'row')} ({shown})"
