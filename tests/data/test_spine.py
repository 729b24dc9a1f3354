"""Eligibility, labels and as-ofs of the spine."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mlsys.data.config import SpineConfig
from mlsys.data.spine import as_of_dates, to_day
from mlsys.errors import DataError
from mlsys.features import Windows

BLOCKS = [Windows(measures=["actions"], windows=[28])]
VISITS = pd.DataFrame({"id": [1], "at": pd.to_datetime(["2019-06-01"]).as_unit("us"), "a_x": 1.0, "a_y": 0.0})
VISITS = VISITS.assign(u_x=1.0, u_y=0.0)


@pytest.fixture
def spine_of(panel_of):
    """Return a function that builds the rows of accounts 1, 2, … with the given outcome and creation times."""

    def build(as_ofs, outcomes, *, joined=None, worth=10.0, **changes):
        ids = range(1, len(outcomes) + 1)
        accounts = pd.DataFrame({"id": ids})
        if joined is not None:
            accounts["joined"] = pd.to_datetime(joined, format="ISO8601")
        orders = pd.DataFrame({"id": ids, "at": pd.to_datetime(outcomes, format="ISO8601"), "worth": worth})
        return panel_of(BLOCKS, as_ofs, VISITS, accounts, orders, **changes).frame

    return build


def labels(frame, as_of="2020-02-01"):
    return frame[frame["as_of"] == as_of].set_index("id")["label"].to_dict()


def test_label_window_boundaries(spine_of):
    outcomes = [
        *("2020-01-31", "2020-02-01", "2020-02-02", "2020-03-02", "2020-03-03", None),
        *("2020-02-01 00:00:01", "2020-03-02 00:00:01", "2020-01-31 23:59"),
    ]
    frame = spine_of(["2020-02-01"], outcomes, horizon_days=30)
    # 1, 2 and 9 have converted by the as-of; 30 days later is the 2nd of March, at midnight.
    assert labels(frame) == {3: 1, 4: 1, 5: 0, 6: 0, 7: 1, 8: 0}
    assert frame["label"].dtype == "int8"


def test_a_date_counts_as_its_midnight(panel_of):
    orders = pd.DataFrame({"id": [1, 2, 3], "at": [date(2020, 2, 1), date(2020, 2, 2), date(2020, 3, 3)], "worth": 1.0})
    accounts = pd.DataFrame({"id": [1, 2, 3]})
    assert labels(panel_of(BLOCKS, ["2020-02-01"], VISITS, accounts, orders).frame) == {2: 1, 3: 0}


def test_accounts_are_eligible_until_they_convert(spine_of):
    frame = spine_of(["2020-01-01", "2020-02-01", "2020-03-01"], ["2020-02-15", None])
    rows = list(zip(frame["as_of"].dt.strftime("%m"), frame["id"], frame["label"], strict=True))
    assert rows == [("01", 1, 0), ("01", 2, 0), ("02", 1, 1), ("02", 2, 0), ("03", 2, 0)]


def test_accounts_are_eligible_from_their_creation(spine_of):
    joined = ["2020-01-31 15:00", "2020-02-01", "2020-02-01 00:01", None, "2020-03-01"]
    frame = spine_of(["2020-02-01", "2020-03-01"], [None] * 5, joined=joined)
    assert sorted(labels(frame)) == [1, 2, 4]  # without a creation time, an account always exists
    assert sorted(labels(frame, "2020-03-01")) == [1, 2, 3, 4, 5]


def test_labels_are_complete_if_the_window_ends_within_the_data(spine_of):
    frame = spine_of(["2020-01-01", "2020-01-31", "2020-02-01"], [None, "2020-02-10"], end="2020-03-01")
    complete = frame.groupby(frame["as_of"].dt.strftime("%m-%d"))["label_complete"].agg(["all", "any"])
    assert complete.to_dict("index") == {
        "01-01": {"all": True, "any": True},
        "01-31": {"all": True, "any": True},  # 30 days later is the last day
        "02-01": {"all": False, "any": False},
    }
    assert labels(frame) == {1: 0, 2: 1}  # labels of open windows are kept and flagged


def test_when_the_outcome_comes_is_known_up_to_the_end_of_the_data(spine_of):
    outcomes = ["2020-02-02", "2020-03-02", "2020-03-20", "2020-03-21", None]
    frame = spine_of(["2020-02-01", "2020-03-10"], outcomes, horizon_days=30, end="2020-03-20")
    days = frame.set_index(["as_of", "id"])["days_to_outcome"].unstack("as_of").to_numpy()
    np.testing.assert_array_equal(
        days, [[1, np.nan], [30, np.nan], [48, 10], [np.nan, np.nan], [np.nan, np.nan]]
    )  # the fourth comes after the end, and the first two are customers by the second as-of
    assert frame.groupby("as_of")["days_known"].unique().str[0].tolist() == [48, 10]
    assert frame["days_to_outcome"].dtype == frame["days_known"].dtype == "float64"


def test_positive_rows_have_a_value(spine_of):
    frame = spine_of(["2020-02-01", "2019-12-01"], ["2020-02-15", "2020-02-15", None], worth=[99.5, -5.0, 7.0])
    value = frame.set_index(["as_of", "id"])["value"]
    assert value.dropna().to_dict() == {(pd.Timestamp("2020-02-01"), 1): 99.5}  # a non-positive value is unknown
    assert value.dtype == "float64"


def test_the_first_of_several_outcomes_counts(panel_of):
    times = pd.to_datetime(["2020-06-01", "2020-02-10", "2020-02-10", None]).as_unit("us")
    orders = pd.DataFrame({"id": [1, 1, 1, 2], "at": times, "worth": [1.0, 2.0, 3.0, 4.0]})
    frame = panel_of(BLOCKS, ["2020-02-01"], VISITS, pd.DataFrame({"id": [1, 2]}), orders).frame
    assert labels(frame) == {1: 1, 2: 0}
    assert frame["value"].dropna().tolist() == [3.0]


def test_outcomes_of_unknown_or_missing_ids_are_ignored(panel_of):
    orders = pd.DataFrame({"id": [8, None], "at": pd.to_datetime(["2020-02-10"] * 2).as_unit("us"), "worth": 1.0})
    accounts = pd.DataFrame({"id": [1, None]}).astype("Int64")
    frame = panel_of(BLOCKS, ["2020-02-01"], VISITS, accounts, orders.astype({"id": "Int64"})).frame
    assert labels(frame) == {1: 0}


def test_rows_are_sorted_by_as_of_and_id(spine_of):
    frame = spine_of(["2020-03-01", "2020-02-01"], [None] * 4)
    assert frame["as_of"].is_monotonic_increasing
    assert frame.groupby("as_of")["id"].apply(list).tolist() == [[1, 2, 3, 4]] * 2


def test_a_panel_without_rows_is_an_error(spine_of):
    with pytest.raises(
        DataError, match=r"no entity exists and is unconverted at any as-of from 2020-02-01 to 2020-02-01 \(1 as-of\)"
    ):
        spine_of(["2020-02-01"], ["2020-01-01"])


def dates(config=None, *, first="2019-01-14", last="2020-08-18", horizon_days=30):
    found = as_of_dates(
        SpineConfig.model_validate(config or {}),
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        horizon_days=horizon_days,
    )
    return [str(day) for day in found]


def test_the_default_last_as_of_has_a_complete_window():
    found = dates({"every_days": 100})
    assert found == ["2019-06-15", "2019-09-23", "2020-01-01", "2020-04-10", "2020-07-19"]
    assert to_day(date(2020, 7, 19)) + 30 == to_day(date(2020, 8, 18))


def test_explicit_dates_are_kept_and_earlier_ones_added():
    found = dates({"dates": ["2020-07-27", "2020-02-24", "2020-02-24"], "every_days": 90})
    assert found == ["2019-05-30", "2019-08-28", "2019-11-26", "2020-02-24", "2020-07-27"]


def test_start_moves_the_first_as_of():
    assert dates({"dates": ["2020-02-24"], "start": "2020-01-27"}) == ["2020-01-27", "2020-02-24"]
    assert dates({"dates": ["2020-02-24"], "start": "2020-01-28"}) == ["2020-02-24"]
    assert dates({"dates": ["2020-02-24"], "start": "2021-01-01"}) == ["2020-02-24"]


def test_the_first_as_of_is_one_step_after_the_first_event():
    assert dates({"every_days": 28}, first="2020-06-21", last="2020-08-18") == ["2020-07-19"]
    with pytest.raises(
        DataError,
        match=r"No as-of fits: the data run from 2020-06-22 to 2020-08-18, .* possible as-of is 2020-07-20",
    ):
        dates({"every_days": 28}, first="2020-06-22", last="2020-08-18")


def test_data_that_are_too_short():
    with pytest.raises(DataError, match=r"label window is 30 days\. Set data\.spine\.start, data\.spine\.dates or a"):
        dates(first="2020-08-01", last="2020-08-18")


@pytest.mark.parametrize(
    "day", ["03/29/2020", "29.03.2020", "2020-03-29T02:30:00+01:00", "2020-03-29 02:30", "2020-03-29T00:00Z", 20200329]
)
@pytest.mark.parametrize("key", ["dates", "start"])
def test_days_have_neither_a_time_nor_a_second_reading(day, key):
    with pytest.raises(ValidationError, match="a day such as 2020-03-29, without a time or a zone"):
        SpineConfig.model_validate({key: [day] if key == "dates" else day})


@pytest.mark.parametrize("day", ["2020-03-29", "2020-03-29T00:00:00", date(2020, 3, 29)])
def test_days_of_a_clock_change_are_days(day):
    assert SpineConfig.model_validate({"dates": [day]}).dates == [date(2020, 3, 29)]
