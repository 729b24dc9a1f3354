"""Which part of the version rises."""

import pytest

from mlsys.registry.bump import needed
from tests.registry.small import SCHEMA, write_run


def changed(place, **fields):
    inputs = [dict(column) for column in SCHEMA["inputs"]]
    inputs[place].update(fields)
    return inputs


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("base") / "run")


@pytest.mark.parametrize(
    ("given", "part", "reason"),
    [
        ({"inputs": SCHEMA["inputs"][:1]}, "major", "the input actions is gone"),
        ({"inputs": changed(1, name="visits")}, "major", "the input visits is new"),
        ({"inputs": changed(0, unit="seats")}, "major", "the input users has the unit seats, had people"),
        ({"inputs": changed(0, nullable=False)}, "major", "the input users may no longer be missing"),
        ({"target": "won"}, "major", "target is 'won', was 'converted'"),
        ({"model__max_depth": 4}, "minor", "model.max_depth is 4, was 3"),
        ({"model__learning_rate": 0.1}, "minor", "model.learning_rate is 0.1, was (absent)"),
        ({"data__horizon_days": 60}, "minor", "data.horizon_days is 60, was 30"),
        ({"inputs": changed(1, nullable=True)}, "patch", None),
        ({"inputs": changed(1, max=7.0, example=1.0)}, "patch", None),
        ({"inputs": SCHEMA["inputs"][::-1]}, "patch", None),
        ({"fingerprint": "e" * 64, "seed": 9}, "patch", None),
        ({"data__url": "newer.db", "tags": ["a"], "threads": 2, "tracking__uri": "x"}, "patch", None),
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_changed_decides(base, tmp_path, given, part, reason):
    rise = needed(base, write_run(tmp_path / "run", **given))
    assert rise.part == part
    assert (reason in rise.reasons) if reason else rise.reasons == ()
