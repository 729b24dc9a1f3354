"""Random event histories, and one of each event block."""

import numpy as np
import pandas as pd
import pytest

from mlsys.features import Mix, PerUser, Presence, Recency, Tenure, Trend, Windows


@pytest.fixture(scope="session")
def event_blocks():
    return [
        Windows(measures=["actions", "users", "actions_x"], windows=[7, 28], aggregates=["sum", "max", "active"]),
        Recency(measures=["users", "actions_y"]),
        Tenure(measure="actions"),
        Presence(windows=[7, 28]),
        Trend(measures=["actions", "users_y"], recent=14, before=42),
        Trend(measures=["actions"], recent=7, before=28, name="week_trend"),
        Mix(kind="actions", products=["x", "y"], days=56),
        PerUser(measure="actions", users="users", days=28),
    ]


@pytest.fixture(scope="session")
def histories():
    """Events of 30 entities, at midnight or any other time, some on the same day, with missing and negative counts."""
    rng = np.random.default_rng(3)
    size = 600
    day = pd.Timestamp("2020-03-01") - pd.to_timedelta(rng.integers(-40, 160, size), "D")
    hours = np.where(rng.random(size) < 0.5, 0, rng.integers(1, 24 * 60, size))
    counts = rng.integers(-1, 9, (4, size)).astype(float)
    counts[rng.random(counts.shape) < 0.2] = np.nan
    counts[rng.random(counts.shape) < 0.2] = 0
    columns = dict(zip(("a_x", "a_y", "u_x", "u_y"), counts, strict=True))
    at = (day + pd.to_timedelta(hours, "min")).as_unit("us")
    return pd.DataFrame({"id": rng.integers(1, 31, size), "at": at, **columns})


@pytest.fixture
def event():
    """Return a function that makes one event row."""

    def make(at, entity=1, a_x=1.0, a_y=0.0, u_x=1.0, u_y=0.0):
        stamp = pd.Series(pd.Timestamp(at)).dt.as_unit("us")
        return pd.DataFrame({"id": [entity], "at": stamp, "a_x": a_x, "a_y": a_y, "u_x": u_x, "u_y": u_y})

    return make
