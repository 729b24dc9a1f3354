"""A sample of the negative rows of a flat table."""

import pandas as pd

from mlsys.data.flat import load_table
from mlsys.data.negatives import WholeTests
from tests.data.test_flat import config, leads, load  # noqa: F401 - fixtures

FRACTION = 0.3


def test_a_flat_table(load, leads):  # noqa: F811
    options = {"id": "lead", "time": "day", "group": "firm", "value": "worth"}
    whole, sampled = (load(leads, **options, negatives=fraction).panel.frame for fraction in (1.0, FRACTION))
    rows = whole[whole["id"].isin(sampled["id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(sampled.drop(columns="sampling_weight"), rows, check_exact=True)
    assert set(whole["id"][whole["label"] == 1]) <= set(sampled["id"])
    assert len(rows) < len(whole)
    more = pd.concat([leads.assign(lead="X" + leads["lead"]), leads])
    again = load(more, **options, negatives=FRACTION).panel.frame
    assert set(again["id"][~again["id"].str.startswith("X")]) == set(sampled["id"])


def test_rows_without_an_id_stay_by_their_values(load, leads):  # noqa: F811
    leads = leads.drop(columns="lead")

    def days(rows):
        frame = load(rows, time="day", negatives=FRACTION).panel.frame
        assert frame["as_of"].tolist() == load(rows, time="day").panel.frame["as_of"][frame["id"]].tolist()
        return set(frame["as_of"])

    assert days(leads) == days(leads.iloc[::-1])


def test_the_reading_of_a_flat_table_does_not_depend_on_the_sample(load, leads):  # noqa: F811
    whole, sampled = (load(leads, negatives=fraction) for fraction in (1.0, 0.1))
    assert whole.recipe == sampled.recipe


def test_a_flat_table_that_is_tested_on_all_rows(load, leads, tmp_path):  # noqa: F811
    everything = load(leads, id="lead").panel.frame
    frame = load_table(config(tmp_path / "leads.csv", id="lead", negatives=FRACTION), WholeTests("auto")).panel.frame
    assert frame["id"].tolist() == everything["id"].tolist()
    assert set(frame["sampling_weight"].round(3)) == {0, 1, round(1 / FRACTION, 3)}
    assert (frame["test_weight"] == 1).all()
