"""POST /score: raw entities and events become rows of model inputs."""

from __future__ import annotations

import threading
from typing import Any

from serve.errors import Refused
from serve.features import FeatureBuilder
from serve.records import parse_json
from serve.rows import Rows, day_of, names_of, too_many
from serve.scoring import Scorer

PARTS = ("entities", "events", "as_of")

_builders: dict[str, FeatureBuilder] = {}
_building = threading.Lock()


def entity_rows(body: bytes, max_rows: int, scorer: Scorer) -> Rows:
    """Compute the inputs of each entity, by the run's own feature blocks.

    Parameters
    ----------
    body : bytes
        JSON: entities, their events, and the as-of.
    max_rows : int
        Entities at most.
    scorer : Scorer

    Raises
    ------
    Refused, InvalidInput
        If the body is not of that shape, or names columns that the run's tables did not have.
    """
    given = parse_json(body)
    if not isinstance(given, dict) or set(given) != set(PARTS):
        raise Refused(422, "invalid_input", "The body must be an object of entities, events and as_of, all three.")
    entities, events, as_of = given["entities"], given["events"], day_of(given["as_of"])
    if not isinstance(entities, list) or not isinstance(events, list):
        raise Refused(422, "invalid_input", "entities and events must be lists of objects.")
    if len(entities) > max_rows:
        raise too_many(len(entities), max_rows)
    if not entities:
        raise Refused(422, "empty_batch", "There are no entities; send at least one.")
    with _building:
        builder = _builder(scorer)
        records: list[Any] = builder.build(entities, events, as_of)
    id_name, as_of_name = names_of(scorer)
    ids = [entity.get(builder.id_column) for entity in entities]
    return Rows(records, {id_name: ids, as_of_name: [as_of] * len(ids)}, id_name, as_of_name)


def _builder(scorer: Scorer) -> FeatureBuilder:
    """Return the builder of a run; only the latest is kept."""
    path = str(scorer.run.path)
    if path not in _builders:
        _builders.clear()
        _builders[path] = FeatureBuilder(scorer.run)
    return _builders[path]
