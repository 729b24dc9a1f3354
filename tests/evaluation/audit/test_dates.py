from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace

import pandas as pd
import pytest

from mlsys.evaluation.audit.dates import dates

from .subjects import accounts, audited, flat, leads

END = date(2020, 8, 1)


@dataclass(frozen=True)
class Days:
    """A fake Rebuild that only has the days of events and outcomes."""

    events: pd.DatetimeIndex
    outcomes: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))
    end: date = END
    data: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(end=None))

    def rows_by_day(self):
        return {name: getattr(self, name).value_counts().sort_index() for name in ("events", "outcomes")}


def check(events, **others):
    return dates(audited(accounts(), rebuild=Days(pd.DatetimeIndex(events), **others)))


def swapped(days):
    """Exchange day and month."""
    return pd.to_datetime([day.strftime("%Y-%d-%m") for day in days])


FIRSTS = pd.date_range("2019-10-01", periods=10, freq="MS")


@pytest.mark.parametrize(
    "events",
    [
        FIRSTS,
        pd.date_range("2018-01-01", periods=30, freq="WOM-1MON"),
        pd.date_range("2019-10-01", periods=10, freq="ME"),
        pd.date_range("2019-10-07", periods=40, freq="7D"),
        pd.date_range("2017-01-01", periods=12, freq="QS"),
        FIRSTS.union(FIRSTS + pd.Timedelta(days=9)),
        pd.to_datetime([f"{year}-12-{day:02}" for year in range(2014, 2020) for day in (5, 6, 7)]),
        pd.date_range("2019-01-01", periods=300, freq="D"),
    ],
    ids=["first days", "first Mondays", "last days", "weeks", "quarters", "1st and 10th", "fairs", "days"],
)
def test_calendars_pass(events):
    found = check(events)
    assert (found.status, found.value) == ("pass", 0)


@pytest.mark.parametrize(
    "events",
    [pd.date_range("2020-01-01", periods=11, freq="D"), pd.to_datetime(["2019-01-03", "2019-05-10", "2020-02-12"])],
    ids=["eleven days", "few"],
)
def test_too_few_days_are_not_judged(events):
    found = check(events)
    assert found.message.startswith("Does not apply: no table has 8 different days over more than 31 days")


def test_years_read_as_days_are_found():
    firsts = pd.date_range("2018-01-01", periods=60, freq="MS")
    misread = pd.to_datetime([day.strftime("%d.%m.%y") for day in firsts], format="%y.%m.%d")
    assert "events: all 60 different dates are from day 18 to 22 of their months" in check(misread).message


def test_exchanged_days_of_weekly_data_are_found():
    weeks = pd.date_range("2019-01-07", periods=80, freq="7D")
    assert check(weeks).status == "pass"
    misread = [day.replace(month=day.day, day=day.month) if day.day <= 12 else day for day in weeks]
    found = check(misread, end=date(2021, 1, 1))
    assert (
        "events: dates after the 12th are on Mondays, the others would be if day and month were exch" in found.message
    )


def test_exchanged_first_days_of_months_are_found():
    found = check(swapped(FIRSTS))
    assert (found.status, found.value) == ("warn", 2)
    assert "events: none of 10 different dates has a day after the 12th" in found.message
    assert "11 of 13 months have no date, others have several" in found.message
    assert "data.dates sets the order" in found.message


def test_exchanged_outcomes_are_found():
    days = pd.date_range("2019-01-01", periods=300, freq="D")
    found = check(FIRSTS, outcomes=days[days.day <= 12], end=date(2021, 1, 1))
    assert "outcomes: none of 120 different dates has a day after the 12th" in found.message


def test_events_after_the_end_of_the_data_are_found():
    weeks = pd.date_range("2019-10-07", periods=50, freq="7D")
    assert check(weeks, data=SimpleNamespace(end=END)).status == "pass"
    found = check(weeks)
    assert found.message.startswith("events: 7 of 50 lie after the end of the data, 2020-08-01. This happens when")


def test_the_times_of_a_flat_table():
    frame = leads()
    assert dates(flat(frame)).message.startswith("Does not apply")
    days = pd.date_range("2018-01-01", periods=len(frame), freq="D")
    assert dates(flat(frame.assign(as_of=days))).status == "pass"
    early = days[days.day <= 12]
    found = dates(flat(frame.assign(as_of=early.repeat(len(frame) // len(early) + 1)[: len(frame)])))
    assert "rows: none of" in found.message


def test_the_days_of_raw_tables(shop):
    rows = shop.rebuild([]).rows_by_day()
    assert rows["events"].index[0] == pd.Timestamp("2020-01-06")
    assert rows["events"].sum() == shop.raw.events.count().to_pyarrow().as_py()
    assert rows["outcomes"].sum() == 20
