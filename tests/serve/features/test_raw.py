"""Columns of the raw tables take the values that their own error messages and training's tables show."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from serve.features.raw import RawColumn


@pytest.mark.parametrize(
    ("dtype", "formats", "value", "expected"),
    [
        ("date", ("%m/%d/%Y",), "02/24/2020", date(2020, 2, 24)),
        ("timestamp", ("%m/%d/%Y",), "02/24/2020", datetime(2020, 2, 24)),
        ("timestamp", ("%m/%d/%Y", "%d.%m.%Y"), "24.02.2020", datetime(2020, 2, 24)),
        ("timestamp", ("unix_s",), 1582533000, datetime(2020, 2, 24, 8, 30)),
        ("timestamp", ("excel",), 43885.5, datetime(2020, 2, 24, 12)),
        ("timestamp", ("%Y%m%d",), 20200224, datetime(2020, 2, 24)),
        ("timestamp", ("%Y%m%d",), 20200224.0, datetime(2020, 2, 24)),
        ("timestamp", ("unix_s",), "2020-02-24", datetime(2020, 2, 24)),
    ],
)
def test_dates_are_taken_in_trainings_formats(dtype, formats, value, expected):
    for meaning in ("entities.attributes.due", "entities.created"):
        column = RawColumn("due", meaning, dtype, nullable=True, date_formats=formats)
        assert column.fits(value)
        found = column.array([value])[0].as_py()
        assert (datetime.fromisoformat(found).isoformat() if column.is_time else found.isoformat()).startswith(
            expected.isoformat()
        )


@pytest.mark.parametrize(
    ("formats", "value"),
    [
        ((), 1582533000),
        (("%m/%d/%Y",), 20200224),
        (("unix_s",), True),
        (("unix_s",), float("inf")),
        (("%m/%d/%Y", "%d/%m/%Y"), "03/04/2020"),  # the tables of training differ, so nothing tells which it is
    ],
)
def test_other_values_are_not_dates(formats, value):
    assert not RawColumn("at", "events.time", "timestamp", nullable=False, date_formats=formats).fits(value)


def test_formats_are_described_by_an_example():
    column = RawColumn("at", "events.time", "timestamp", nullable=False, date_formats=("unix_s", "%d/%m/%Y"))
    assert column.expected.endswith(", or Unix seconds such as 1582533000, or a date such as 24/02/2020 as in training")
