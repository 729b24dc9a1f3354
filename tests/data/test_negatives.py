"""A sample of the rows without a conversion: which rows stay, and for how many others."""

import logging
from datetime import date, timedelta
from functools import partial

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from mlsys.data.load import check_source, load_events
from mlsys.data.negatives import ON_SAMPLE, NegativeSample, WholeTests, auto_fraction
from mlsys.data.spine import EPOCH, to_day
from mlsys.evaluation.splits import (
    Backtest,
    GroupKFold,
    Holdout,
    reported_folds,
    selection_and_reported_folds,
    whole_tests,
)
from tests.data.test_load import BLOCKS, copy, edit, loaded  # noqa: F401 - copy is a fixture
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
    recorded = {
        "fraction": FRACTION,
        "seed": 0,
        "whole_from": None,
        "rows": len(whole),
        "positives": int(whole["label"].sum()),
    }
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


def whole(crm, tests, **changes):
    data = crm.data(cache=False, **changes)
    raw = check_source(data, BLOCKS, threads=1)
    return load_events(data, BLOCKS, raw, tests).panel.frame


def test_tested_as_ofs_keep_all_rows_and_training_has_the_sample(crm):
    everything, sampled = (whole(crm, ON_SAMPLE, negatives=fraction) for fraction in (1.0, FRACTION))
    frame = whole(crm, WholeTests("all", as_ofs=2), negatives=FRACTION)
    as_ofs = sorted(everything["as_of"].unique())
    tested = frame["as_of"] >= as_ofs[-2]
    assert keys(frame[tested]) == keys(everything[everything["as_of"] >= as_ofs[-2]])
    assert (frame["test_weight"][tested] == 1).all()
    in_sample = frame[frame["sampling_weight"] > 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(in_sample.drop(columns="test_weight"), sampled, check_exact=True)


def test_small_samples_are_tested_on_all_rows(crm):
    assert "test_weight" in whole(crm, WholeTests("auto", as_ofs=2), negatives=FRACTION)
    assert "test_weight" not in whole(crm, WholeTests("same", as_ofs=2), negatives=FRACTION)


def test_folds_learn_from_the_sample(crm):
    frame = whole(crm, WholeTests("all", as_ofs=2), negatives=FRACTION)
    split = Backtest(folds=2, horizon_days=30)
    for folds in (
        reported_folds(split, frame, None),
        reported_folds(split, frame, (1, 1)),
        *selection_and_reported_folds(split, frame, 2),
        reported_folds(GroupKFold(2), frame, None),
    ):
        for fold in folds:
            assert (frame["sampling_weight"].iloc[fold.train] > 0).all()
    tested = frame.iloc[reported_folds(split, frame, None)[-1].test]
    assert (tested["sampling_weight"] == 0).any()


def test_which_as_ofs_a_split_tests():
    assert whole_tests(Backtest(4, horizon_days=30), None) == WholeTests("auto", 4)
    assert whole_tests(Backtest(4, horizon_days=30, test_negatives="all"), (3, 2)) == WholeTests("all", 5)
    assert whole_tests(GroupKFold(test_negatives="same"), None) == WholeTests("same")
    assert whole_tests(Holdout(), None) == WholeTests("auto")
    days = [date(2020, month, 1) for month in range(1, 5)]
    first = partial(WholeTests.first, as_ofs=days, fraction=0.5, positives=1)
    assert first(WholeTests("all", as_ofs=2, until=days[2])) == days[1]
    assert first(WholeTests("all", as_ofs=9)) == days[0]
    assert first(WholeTests("all")) == date.min


@pytest.mark.parametrize("negatives", [0, -1, 1.5, "all", True, None, 1e-9])
def test_what_is_no_fraction(crm, negatives):
    with pytest.raises(ValidationError, match=r"auto, or a fraction from 0.0001 to 1"):
        crm.data(negatives=negatives)


@pytest.mark.parametrize(
    ("positives", "negatives", "as_ofs", "fraction"),
    [
        (10, 1000, 1, 1.0),
        (1_000, 400_000, 5, 0.5),
        (1_000, 390_000, 5, 1.0),  # fewer than 200,000 would stay
        (1_000, 400_000, 6, 1.0),  # fewer than 100 per as-of and sampled row
        (40_000, 4_000_000, 5, 0.2),  # 20 per positive row
        (40_000, 10**9, 1, 0.01),
    ],
)
def test_auto_keeps_enough(positives, negatives, as_ofs, fraction):
    assert auto_fraction(positives, negatives, as_ofs) == fraction


def test_the_log_says_how_many_rows_stay(crm, caplog):
    with caplog.at_level(logging.INFO):
        frame = loaded(crm.data(cache=False, negatives=FRACTION)).panel.frame
    assert f"data.negatives=0.3: 0.3 of the rows without a conversion, {len(frame):,} of " in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option is deprecated")  # Ibis 12 with pandas 3
def test_postgresql_keeps_the_same_rows(postgresql):
    count = 300
    ids = [f"{word} {number}" for number, word in zip(range(count), ["a", "Ä", "x:1", "'", "漢"] * count, strict=False)]
    days, labels = [18_000 + n % 90 for n in range(count)], [int(n % 20 == 0) for n in range(count)]
    table = pa.table({"id": ids, "as_of_day": days, "label": labels})
    sample = NegativeSample(FRACTION, 1, whole_from=EPOCH + timedelta(days=18_080))
    found = []
    for connection in (ibis.duckdb.connect(), ibis.connect(postgresql.replace("postgresql+psycopg://", "postgres://"))):
        rows = connection.to_pyarrow(sample.of_spine(ibis.memtable(table)))
        found.append(rows.to_pandas().sort_values("id", ignore_index=True))
        connection.disconnect()
    pd.testing.assert_frame_equal(*found, check_exact=True)
    assert 0 < (found[0]["sampling_weight"] == 0).sum() < (found[0]["sampling_weight"] == 1 / FRACTION).sum()
