"""POST /score: compute rows of model inputs from raw entities and events."""

from __future__ import annotations

import logging
import threading

from mlsys.errors import RunError
from mlsys.runs.json_format import Json
from serve.batch.read import Rows, key_columns
from serve.errors import RequestError
from serve.features import FeatureBuilder, NoFeaturesError
from serve.identifiers import check_ids, parse_as_of
from serve.json_body import parse_json
from serve.scoring import Scorer

logger = logging.getLogger(__name__)

FIELDS = ("entities", "events", "as_of")

_builders: dict[str, FeatureBuilder] = {}
_build_lock = threading.Lock()


def entity_rows(body: bytes, scorer: Scorer) -> Rows:
    """Compute the model inputs of each entity with the run's own feature blocks.

    Parameters
    ----------
    body : bytes
        JSON with the entities, their events and the as-of.
    scorer : Scorer

    Raises
    ------
    RequestError, InvalidInput
        If the body is malformed, or its rows do not match the run's raw tables.
    """
    request = parse_json(body)
    if not isinstance(request, dict) or set(request) != set(FIELDS):
        raise RequestError(
            422, "invalid_input", "The body must be an object with exactly the fields entities, events and as_of."
        )
    builder = _builder(scorer)
    built = builder.build(request["entities"], request["events"], request["as_of"])
    id_name, as_of_name = key_columns(scorer)
    ids = [_without_fraction(entity[builder.entities.columns[0].name]) for entity in request["entities"]]
    check_ids(f"entities.{builder.entities.columns[0].name}", ids)
    names = {id_name: ids, as_of_name: [parse_as_of(request["as_of"])] * len(ids)}
    return Rows(built.records, names, id_name, as_of_name, built.warnings)


def _without_fraction(value: Json) -> Json:
    return int(value) if type(value) is float and value.is_integer() else value


def _builder(scorer: Scorer) -> FeatureBuilder:
    """Return the feature builder of a run; only the latest one is cached."""
    path = str(scorer.run.path)
    with _build_lock:
        if path not in _builders:
            try:
                builder = FeatureBuilder(scorer.run)
            except NoFeaturesError as error:
                raise RequestError(422, "no_features", str(error)) from error
            except RunError as error:
                logger.warning("POST /score: %s", error)
                message = "Cannot compute the inputs of this model from raw rows; send them to /predict/batch."
                raise RequestError(422, "no_features", message) from error
            for old in _builders.values():
                old.close()
            _builders.clear()
            _builders[path] = builder
        return _builders[path]
