import numpy as np
import pytest
from scipy.stats import binom

from mlsys.evaluation.audit.missingness import FALSE_ALARM_RATE, missingness

from .subjects import Attributes, accounts, audited, flat, leads


def emptied(frame, of_positives, of_others, seed=0):
    """Empty ``size`` in all rows of randomly chosen accounts, at a given rate per class."""
    generator = np.random.default_rng(seed)
    converters = frame.groupby("id")["label"].transform("max") == 1
    draw = frame["id"].map(dict(zip(frame["id"].unique(), generator.random(frame["id"].nunique()), strict=True)))
    return frame.assign(size=frame["size"].mask(draw < np.where(converters, of_positives, of_others)))


def run(frame, attributes=("size", "sector"), limit=0.05):
    rebuild = Attributes({name: [name] for name in attributes})
    return missingness(audited(frame, score="usage", rebuild=rebuild), limit=limit)


def test_equal_missing_rates_pass():
    check = run(emptied(accounts(count=600), 0.3, 0.3))
    assert check.status == "pass"
    assert "1 event feature" in check.message


@pytest.mark.parametrize(("of_positives", "of_others"), [(0.0, 0.3), (0.4, 0.0)])
def test_a_column_filled_in_by_label_is_a_warning_with_both_rates(of_positives, of_others):
    check = run(emptied(accounts(count=600), of_positives, of_others))
    assert check.status == "warn"
    assert check.value > 0.2
    assert "size (" in check.message
    assert "% versus " in check.message


def test_usage_features_are_not_compared():
    frame = accounts(count=600)
    frame["usage"] = frame["usage"].where(frame["label"] == 1)
    rebuild = Attributes({"size": ["size"], "sector": ["sector"]})
    check = missingness(audited(frame, score="size", rebuild=rebuild), limit=0.05)
    assert check.status == "pass"
    assert "Not compared: 1 event feature, which can be missing because nothing happened." in check.message


def test_a_value_is_not_missing_if_any_of_its_features_is_present():
    """A site without a web rank has no log rank, but it is known to be unranked."""
    frame = accounts(count=600)
    frame["unranked"] = (frame["label"] == 0).astype(float)
    frame["log_rank"] = frame["size"].mask(frame["unranked"] == 1)
    together, apart = {"rank": ["log_rank", "unranked"]}, {"rank": ["log_rank"], "flag": ["unranked"]}
    checks = [missingness(audited(frame, rebuild=Attributes(of)), limit=0.05) for of in (together, apart)]
    assert [check.status for check in checks] == ["pass", "warn"]


def test_an_events_panel_without_attributes_has_nothing_to_compare():
    check = run(accounts(), attributes=())
    assert (check.status, check.value) == ("pass", None)


def test_every_column_of_a_flat_table_is_compared():
    frame = leads()
    check = missingness(flat(frame.assign(closed=frame["size"].where(frame["label"] == 1))), limit=0.05)
    assert check.status == "warn"
    assert "closed (0.0% versus 100.0%)" in check.message


def test_a_difference_that_a_few_rows_show_by_chance_passes():
    frame = leads(count=400)
    frame["label"] = (frame["id"] % 40 == 0).astype(np.int8)  # 10 positive rows
    frame["size"] = frame["size"].mask((frame["id"] % 40 != 0) & (frame["id"] % 9 == 0))
    check = missingness(flat(frame, score="id"), limit=0.05)
    assert check.value > 0.1
    assert check.status == "pass"


def test_rows_of_one_entity_are_not_independent_evidence():
    """Five converters with twenty rows each are no more evidence than five rows."""
    frame = leads(count=2000)
    frame["group"] = np.where(frame["id"] < 100, frame["id"] // 20, frame["id"])
    frame["label"] = (frame["id"] < 100).astype(np.int8)
    frame["size"] = frame["size"].mask(frame["id"] >= 1800)
    alone = missingness(flat(frame.assign(group=frame["id"]), score="id"), limit=0.05)
    together = missingness(flat(frame, score="id"), limit=0.05)
    assert (alone.status, together.status) == ("warn", "pass")
    assert alone.value == together.value


def test_the_limit_is_a_difference_of_rates():
    frame = emptied(accounts(count=600), 0.0, 0.3)
    assert run(frame, limit=0.5).status == "pass"


def test_a_single_class_cannot_be_compared():
    assert run(accounts().assign(label=np.int8(0))).value is None


@pytest.mark.parametrize(("positives", "groups_of"), [(8, 1), (100, 1), (30, 6)])
def test_columns_missing_at_random_rarely_raise_an_alarm(positives, groups_of):
    """Of 200 tables of 8 columns each, no more warn than the level allows, at any missing rate."""
    generator = np.random.default_rng(1)
    tables, rows = 200, 1000
    warned = 0
    for _ in range(tables):
        frame = leads(count=rows)
        frame["label"] = (frame["id"] < positives * groups_of).astype(np.int8)
        frame["group"] = frame["id"] // groups_of
        for number, rate in enumerate((0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.74, 0.95)):
            chosen = generator.random(rows) < rate  # one draw per group
            frame[f"column_{number}"] = np.where(chosen[frame["group"]], np.nan, 1.0)
        warned += missingness(flat(frame, score="id"), limit=0.05).status == "warn"
    assert warned <= binom.ppf(0.999, tables, FALSE_ALARM_RATE)
