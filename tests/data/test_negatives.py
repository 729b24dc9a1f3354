"""A sample of the rows without a conversion: which rows stay, and for how many others."""

import logging

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mlsys.data.negatives import NegativeSample, auto_fraction
from mlsys.data.spine import to_day
from tests.data.test_flat import leads  # noqa: F401 - fixtures
from tests.data.test_load import copy, edit, loaded  # noqa: F401 - copy is a fixture
from tests.data.test_partitions import DATES, built, load  # noqa: F401 - fixtures

FRACTION = 0.3


def keys(frame):
    return set(zip(frame["id"], frame["as_of"], strict=True))


def test_converters_stay_and_weights_stand_for_the_others(crm):
    whole = loaded(crm.data(cache=False)).panel.frame
    result = loaded(crm.data(cache=False, negatives=FRACTION))
    sampled = result.panel.frame
    days = [to_day(as_of.date()) for as_of in whole["as_of"]]
    expected = (whole["label"] == 1) | NegativeSample(FRACTION, 0).contains(whole["id"], days)
    rows = whole[expected].reset_index(drop=True)
    pd.testing.assert_frame_equal(sampled.drop(columns="sampling_weight"), rows, check_exact=True)
    assert sampled["sampling_weight"].to_numpy() == pytest.approx(np.where(rows["label"] == 1, 1, 1 / FRACTION))
    assert sampled["sampling_weight"].sum() == pytest.approx(len(whole), rel=0.05)
    recorded = {"fraction": FRACTION, "seed": 0, "rows": len(whole), "positives": int(whole["label"].sum())}
    assert result.facts["negatives"] == recorded


def test_without_a_sample_nothing_is_added(crm):
    result = loaded(crm.data(cache=False, negatives="auto"))  # so few rows all stay
    assert "sampling_weight" not in result.panel.frame
    assert result.panel.weights is None
    assert "negatives" not in result.facts


def test_a_row_stays_when_as_ofs_accounts_and_outcomes_become_known(crm, copy):  # noqa: F811
    def panel(**changes):
        return loaded(crm.data(dir=str(copy), cache=False, negatives=FRACTION, **changes)).panel.frame

    spine = {"dates": DATES, "start": DATES[0]}
    early = panel(spine={**spine, "dates": DATES[:2]}, end="2019-12-15")  # the second label window is not over
    late = panel(spine=spine)
    assert (~early["label_complete"]).any()
    assert keys(early) <= keys(late)
    both = late.merge(early, on=["id", "as_of"], suffixes=("", "_before"))
    assert (both["label"] >= both["label_before"]).all()
    converted = both[both["label"] > both["label_before"]]
    assert (converted["sampling_weight"] == 1).all()
    edit(copy, "noncustomers", lambda rows: rows.iloc[: len(rows) // 2])
    fewer = panel(spine=spine)
    assert keys(fewer) == {key for key in keys(late) if key[0] in set(fewer["id"])}


def test_a_larger_fraction_has_all_rows_of_a_smaller_one(crm):
    small, large = (loaded(crm.data(cache=False, negatives=fraction)).panel.frame for fraction in (0.1, 0.4))
    assert keys(small) < keys(large)


def test_another_seed_has_other_rows(crm):
    first, second = (
        loaded(crm.data(cache=False, negatives=FRACTION, negatives_seed=seed)).panel.frame for seed in (0, 1)
    )
    assert keys(first) - keys(second)


def test_pieces_in_the_cache_follow_the_sample(load, copy):  # noqa: F811
    edit(copy, "customers", lambda rows: rows)
    assert load(negatives=FRACTION) == DATES  # `load` compares with a panel built without the cache
    assert load(negatives=FRACTION) == []
    assert load(negatives=0.2) == DATES
    assert load() == DATES
    assert load(negatives_seed=5) == []  # no sample, so no seed either
    closed = pd.to_datetime(pd.read_csv(copy / "customers.csv")["CLOSEDATE"])
    later = closed.where(closed <= DATES[-1], closed.max())
    assert (later != closed).any()
    edit(copy, "customers", lambda rows: rows.assign(CLOSEDATE=later.dt.strftime("%Y-%m-%d")))
    assert load(negatives=FRACTION) == DATES[-1:]  # the rows of the others have the same labels as before


def test_a_flat_table(load_flat, leads):  # noqa: F811
    options = {"id": "lead", "time": "day", "group": "firm", "value": "worth"}
    whole, sampled = (load_flat(leads, **options, negatives=fraction).panel.frame for fraction in (1.0, FRACTION))
    rows = whole[whole["id"].isin(sampled["id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(sampled.drop(columns="sampling_weight"), rows, check_exact=True)
    assert set(whole["id"][whole["label"] == 1]) <= set(sampled["id"])
    assert len(rows) < len(whole)
    more = pd.concat([leads.assign(lead="X" + leads["lead"]), leads])
    again = load_flat(more, **options, negatives=FRACTION).panel.frame
    assert set(again["id"][~again["id"].str.startswith("X")]) == set(sampled["id"])


def test_rows_without_an_id_stay_by_their_values(load_flat, leads):  # noqa: F811
    leads = leads.drop(columns="lead")

    def days(rows):
        frame = load_flat(rows, time="day", negatives=FRACTION).panel.frame
        assert frame["as_of"].tolist() == load_flat(rows, time="day").panel.frame["as_of"][frame["id"]].tolist()
        return set(frame["as_of"])

    assert days(leads) == days(leads.iloc[::-1])


def test_the_reading_of_a_flat_table_does_not_depend_on_the_sample(load_flat, leads):  # noqa: F811
    whole, sampled = (load_flat(leads, negatives=fraction) for fraction in (1.0, 0.1))
    assert whole.recipe == sampled.recipe


@pytest.mark.parametrize("negatives", [0, -1, 1.5, "all", True, None, 1e-9])
def test_what_is_no_fraction(crm, negatives):
    with pytest.raises(ValidationError, match=r"auto, or a fraction from 0.0001 to 1"):
        crm.data(negatives=negatives)


@pytest.mark.parametrize(
    ("positives", "negatives", "fraction"),
    [(10, 1000, 1.0), (10, 400_000, 0.5), (10, 390_000, 1.0), (40_000, 4_000_000, 0.2), (40_000, 10**9, 0.01)],
)
def test_auto_keeps_enough(positives, negatives, fraction):
    assert auto_fraction(positives, negatives) == fraction
    assert fraction == 1.0 or fraction * negatives >= max(200_000, 20 * positives)


def test_the_log_says_how_many_rows_stay(crm, caplog):
    with caplog.at_level(logging.INFO):
        frame = loaded(crm.data(cache=False, negatives=FRACTION)).panel.frame
    assert f"data.negatives=0.3: 0.3 of the rows without a conversion, {len(frame):,} of " in caplog.text
