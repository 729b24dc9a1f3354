"""Features ignore events after the as-of, and rows do not depend on other entities."""

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlsys.features import EmployeeRange, Industry, WebRank, WholeHistory

AS_OF = pd.Timestamp("2020-03-02")
LATER = AS_OF + pd.Timedelta(days=9)  # a second as-of in the same panel, at which more events are visible
AFTER_DAYS = 7
MEASURES = ["a_x", "a_y", "u_x", "u_y"]

# No shrinking: it would build hundreds of panels.
fast = settings(max_examples=5, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
count = st.none() | st.integers(0, 40)
minutes = st.sampled_from([0, 0, 1, 600, 1439])


def events_of(days_before):
    """Draw event rows of sixteen entities; ``days_before`` is the days from becoming known to the as-of."""
    known = st.tuples(days_before, minutes).map(lambda back: AS_OF - pd.Timedelta(days=back[0], minutes=-back[1]))
    row = st.tuples(st.integers(1, 16), known, count, count, count, count)
    return st.lists(row, min_size=10, max_size=100).map(frame_of)


def frame_of(rows):
    frame = pd.DataFrame(rows, columns=["id", "at", *MEASURES])
    frame["at"] = pd.to_datetime(frame["at"]).dt.as_unit("us") - pd.Timedelta(days=AFTER_DAYS)
    return frame.astype(dict.fromkeys(MEASURES, "float64") | {"id": "int64"})


def known(events):
    return events["at"] + pd.Timedelta(days=AFTER_DAYS)


visible_or_not = events_of(st.integers(-30, 120))
invisible = events_of(st.integers(-90, -1))


def companies(ids):
    ids = list(ids)
    return pd.DataFrame(
        {
            "id": ids,
            "alexa_rank": [None if number % 3 == 0 else 10.0 * number for number in ids],
            "employee_range": ["2 to 5" if number % 2 else None for number in ids],
            "industry": ["RETAIL" if number % 4 else None for number in ids],
        }
    )


@pytest.fixture(scope="session")
def blocks(event_blocks):
    return [*event_blocks, WebRank(), EmployeeRange(), Industry()]


@pytest.fixture(scope="session")
def rows(panel_of, blocks):
    """Return a function that builds the panel rows of both as-ofs, indexed by id and as-of."""

    def build(events, ids=range(1, 17), *, extra=()):
        as_ofs = [str(as_of.date()) for as_of in (AS_OF, LATER)]
        frame = panel_of([*blocks, *extra], as_ofs, events, companies(ids), available_after_days=AFTER_DAYS).frame
        return frame.drop(columns="group").set_index(["id", "as_of"])

    return build


@fast
@given(
    events=visible_or_not, added=invisible, removed=st.sets(st.integers(0, 100)), factor=st.sampled_from([-3, 0, 1000])
)
def test_invisible_events_do_not_change_features(rows, events, added, removed, factor):
    # Entity n keeps its history; entity n + 100 gets the same history with a different future.
    unseen = known(events) > AS_OF
    other = events.copy()
    other.loc[unseen, MEASURES] = other.loc[unseen, MEASURES].fillna(1) * factor + 7
    other = pd.concat([other[~(unseen & other.index.isin(removed))], added])
    both = pd.concat([events, other.assign(id=other["id"] + 100)], ignore_index=True)
    people = [*range(1, 17), *range(101, 117)]
    frame = rows(both, people).drop(
        columns=["web_rank_log10", "web_unranked", "employees", "employee_range", "industry"]
    )
    at_the_as_of = frame.xs(AS_OF, level="as_of")
    altered = at_the_as_of.loc[101:].rename(index=lambda number: number - 100)
    pd.testing.assert_frame_equal(at_the_as_of.loc[:16], altered)


def test_a_feature_that_looks_ahead_would_be_detected(rows, event):
    later = event("2020-04-01", entity=101, a_x=9.0)
    frame = rows(later, [1, 101], extra=[WholeHistory(measures=["actions"])]).xs(AS_OF, level="as_of")
    assert frame["actions_ever"].fillna(0).tolist() == [0.0, 9.0]


@fast
@given(events=visible_or_not, others=visible_or_not, kept=st.integers(1, 16), seed=st.integers(0, 2**32 - 1))
def test_rows_do_not_depend_on_other_entities_or_on_row_order(rows, events, others, kept, seed):
    own = events["id"] == kept
    alone = rows(events[own], [kept])
    strangers = others.assign(id=others["id"] + 50)
    altered = events[~own].assign(**{name: events[name] + 5 for name in MEASURES}).iloc[::2]
    crowd = pd.concat([strangers, events[own], altered]).sample(frac=1, random_state=seed, ignore_index=True)
    frame = rows(crowd, [*range(66, 50, -1), *range(1, 17)])
    pd.testing.assert_frame_equal(frame.loc[[kept]], alone, check_dtype=False, check_exact=True)


def test_rows_do_not_depend_on_other_as_ofs(panel_of, event_blocks, histories):
    alone = panel_of(event_blocks, ["2020-02-03"], histories).frame
    with_others = panel_of(event_blocks, ["2020-01-06", "2020-02-01", "2020-02-03", "2020-03-02"], histories).frame
    among = with_others[with_others["as_of"] == "2020-02-03"].reset_index(drop=True)
    at_the_end = ["label_complete", "days_known"]
    pd.testing.assert_frame_equal(among.drop(columns=at_the_end), alone.drop(columns=at_the_end))


def test_deduplication_does_not_depend_on_row_order(panel_of, event):
    accounts = pd.DataFrame(
        {
            "id": [1, 1, 1, 2, 2],
            "industry": [None, "Retail", "SaaS", None, "Retail"],
            "employee_range": ["1", "2 to 5", "1", "1", None],
            "joined": pd.to_datetime(["2019-01-01", "2019-01-01", "2019-01-01", "2020-02-20", "2019-01-01"]),
        }
    )
    found = [
        panel_of([Industry(), EmployeeRange()], ["2020-02-01"], event("2020-01-01"), accounts.iloc[order]).frame
        for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 1, 4, 3])
    ]
    for frame in found[1:]:
        pd.testing.assert_frame_equal(frame, found[0])
    assert found[0]["industry"].iloc[0] in ("retail and consumer", "technology")  # of the two complete rows
