"""What may be wrong with a request for features, and what is odd about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from mlsys.data.rules import EARLIEST, Rule
from serve.features.raw import RawTable
from serve.scoring.problems import InputProblem, InvalidInput, problem

SHOWN_ROWS = 5
DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def check_request(
    people: RawTable,
    history: RawTable,
    limits: Mapping[str, int],
    entities: Any,  # noqa: ANN401 - whatever JSON holds
    events: Any,  # noqa: ANN401
    as_of: Any,  # noqa: ANN401
) -> date:
    """Return the as-of of a request that has nothing wrong.

    Raises
    ------
    InvalidInput
        Listing all that is wrong.
    """
    found: list[InputProblem] = []
    day = _day(as_of, found)
    sized = [_sized(table, rows, limits, found) for table, rows in ((people, entities), (history, events))]
    for table, rows, is_sized in zip((people, history), (entities, events), sized, strict=True):
        if is_sized:
            table.check(rows, found)
    if sized[0]:
        known = _known(people, entities, found)
        if sized[1]:
            found += _strangers(history, events, known)
    if found or day is None:
        raise InvalidInput(found)
    return day


def check_rules(rules: Sequence[Rule], flagged: Sequence[Mapping[str, Any]]) -> None:
    """Refuse event rows that break a rule whose action is ``error``."""
    found = [
        problem(row["row"], "events", None, rule.allowed, None, f"A row {rule.rows}; expected {rule.allowed}.")
        for row in flagged
        for number, rule in enumerate(rules)
        if rule.action == "error" and row[f"rule_{number}"]
    ]
    if found:
        raise InvalidInput(found)


def not_there(people: RawTable, rows: Sequence[int], day: date) -> None:
    """Refuse entities that the panel has no row for: those that were created after the as-of."""
    created = next((column.name for column in people.columns if column.meaning == "entities.created"), None)
    if rows:
        expected = f"an entity that exists on {day}"
        message = f"The entity did not exist yet on {day}, the as-of: see {people.name}.{created}."
        raise InvalidInput([problem(row, f"{people.name}.{created}", None, expected, None, message) for row in rows])


def rule_warnings(rules: Sequence[Rule], flagged: Sequence[Mapping[str, Any]], day: date) -> tuple[str, ...]:
    """Say what was not used and what is odd."""
    said = []
    if day > datetime.now(tz=UTC).date():
        said.append(f"The as-of {day} lies in the future: what happens until then is not known yet.")
    late = [row["row"] for row in flagged if row["late"]]
    if late:
        said.append(f"events: {_rows(late)} not known by the as-of {day}: not used.")
    for number, rule in enumerate(rules):
        broken = [row["row"] for row in flagged if row[f"rule_{number}"]]
        if broken:
            said.append(f"events: {_rows(broken)} {rule.rows}: {rule.consequence}.")
    return tuple(said)


def _day(as_of: Any, found: list[InputProblem]) -> date | None:  # noqa: ANN401 - whatever JSON holds
    if isinstance(as_of, date) and not isinstance(as_of, datetime):
        return as_of
    if isinstance(as_of, str) and re.search(DAY, as_of):
        try:
            day = date.fromisoformat(as_of)
        except ValueError:  # the thirtieth of February
            day = date.min
        if day >= EARLIEST:
            return day
    found.append(problem(None, "as_of", as_of, f"a day from {EARLIEST} on, such as 2020-02-24", None))
    return None


def _sized(table: RawTable, rows: Any, limits: Mapping[str, int], found: list[InputProblem]) -> bool:  # noqa: ANN401
    """Return whether the rows are a list of a length that can be looked at."""
    name, most = table.name, limits[table.name]
    if not isinstance(rows, list | tuple):
        found.append(problem(None, name, rows, "a list of objects", None))
    elif len(rows) > most:
        message = f"{name} has {len(rows):,} rows; at most {most:,} are taken in one request."
        found.append(problem(None, name, rows, f"at most {most:,} rows", None, message))
    elif not rows and name == "entities":
        found.append(problem(None, name, rows, "at least one row", None, f"{name} is empty: there is nobody to score."))
    else:
        return True
    return False


def _known(people: RawTable, entities: Sequence[Any], found: list[InputProblem]) -> set[Any]:
    """Return the entities' ids, adding to ``found`` those that come twice."""
    first: dict[Any, int] = {}
    name = people.columns[0].name
    for row, one in enumerate(people.ids(entities)):
        if one is not None and first.setdefault(one, row) != row:
            message = f"{people.name}.{name} {one!r} stands in row {first[one]} already."
            found.append(problem(row, f"{people.name}.{name}", one, "every entity once", None, message))
    return set(first)


def _strangers(history: RawTable, events: Sequence[Any], known: set[Any]) -> list[InputProblem]:
    name = history.columns[0].name
    return [
        problem(
            row,
            f"{history.name}.{name}",
            one,
            "the id of one of the request's entities",
            None,
            f"{history.name}.{name} {one!r} is the id of none of the request's entities.",
        )
        for row, one in enumerate(history.ids(events))
        if one is not None and one not in known
    ]


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN_ROWS])) + (", …" if len(rows) > SHOWN_ROWS else "")
    return f"{len(rows):,} row{'s' * (len(rows) != 1)} ({shown})"
