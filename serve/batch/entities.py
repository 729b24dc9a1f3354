"""POST /score: raw entities and events become rows of model inputs."""

from __future__ import annotations

import logging
import threading

from mlsys.errors import RunError
from serve.batch.read import Rows, names_of
from serve.errors import RequestError
from serve.features import FeatureBuilder, NoFeaturesError
from serve.json_body import parse_json
from serve.scoring import Scorer

logger = logging.getLogger(__name__)

PARTS = ("entities", "events", "as_of")

_builders: dict[str, FeatureBuilder] = {}
_making = threading.Lock()


def entity_rows(body: bytes, scorer: Scorer) -> Rows:
    """Compute the inputs of each entity, by the run's own feature blocks.

    Parameters
    ----------
    body : bytes
        JSON: entities, their events, and the as-of.
    scorer : Scorer

    Raises
    ------
    RequestError, InvalidInput
        If the body is not of that shape, or its rows are not as the run's raw tables were.
    """
    given = parse_json(body)
    if not isinstance(given, dict) or set(given) != set(PARTS):
        raise RequestError(422, "invalid_input", "The body must be an object of entities, events and as_of, all three.")
    builder = _builder(scorer)
    built = builder.build(given["entities"], given["events"], given["as_of"])
    id_name, as_of_name = names_of(scorer)
    ids = [entity[builder.entities.columns[0].name] for entity in given["entities"]]
    names = {id_name: ids, as_of_name: [given["as_of"]] * len(ids)}
    return Rows(built.records, names, id_name, as_of_name, built.warnings)


def _builder(scorer: Scorer) -> FeatureBuilder:
    """Return the builder of a run; only the latest is kept."""
    path = str(scorer.run.path)
    with _making:
        if path not in _builders:
            try:
                builder = FeatureBuilder(scorer.run)
            except NoFeaturesError as error:
                raise RequestError(422, "no_features", str(error)) from error
            except RunError as error:
                logger.warning("POST /score: %s", error)
                message = "The inputs of this model cannot be computed here from raw rows; send them to /predict/batch."
                raise RequestError(422, "no_features", message) from error
            for old in _builders.values():
                old.close()
            _builders.clear()
            _builders[path] = builder
        return _builders[path]
