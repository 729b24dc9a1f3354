"""Which part of a version to bump."""

import pytest

from mlsys.registry.bump import required_bump
from tests.registry.small import SCHEMA, write_run


def changed(index, **fields):
    inputs = [dict(column) for column in SCHEMA["inputs"]]
    inputs[index].update(fields)
    return inputs


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("base") / "run")


@pytest.mark.parametrize(
    ("given", "part", "reason"),
    [
        ({"inputs": SCHEMA["inputs"][:1]}, "major", "the input actions was removed"),
        ({"inputs": changed(1, name="visits")}, "major", "the input visits was added"),
        ({"inputs": changed(0, unit="seats")}, "major", "the unit of the input users is seats, was people"),
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
def test_the_change_decides_the_part(base, tmp_path, given, part, reason):
    bump = required_bump(base, write_run(tmp_path / "run", **given))
    assert bump.part == part
    assert (reason in bump.reasons) if reason else bump.reasons == ()
