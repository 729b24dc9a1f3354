"""Regularisation that is ``auto``: the rule, the choice on the validation rows, and what becomes of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.regularisation import choose, converters
from mlsys.pipeline.traits import DEPTH, INVERSE_PENALTY, LEAF_SIZE, LEAVES, PENALTY

AUTO = [("logistic", INVERSE_PENALTY), ("random_forest", LEAF_SIZE), ("xgboost", PENALTY)]


def strong_signal(rows, rate=0.4, seed=0):
    """Return rows whose label depends on many categories, and those of another draw to score."""
    rng = np.random.default_rng(seed)
    effects, frequencies = rng.normal(0, 2, (5, 12)), 1 / np.arange(1, 13)
    tables = []
    for _ in range(2):
        levels = rng.choice(12, (rows, 5), p=frequencies / frequencies.sum())
        log_odds = effects[np.arange(5), levels].sum(axis=1)
        log_odds += np.log(rate / (1 - rate))
        labels = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
        tables.append((pd.DataFrame(levels, columns=list("abcde")).map("level {}".format).astype("str"), labels))
    return tables


@pytest.fixture
def logistic(spec, component):
    return replace(spec(component("model", "logistic", C="auto")), numbers=[], categories=list("abcde"))


def halves(rows):
    late = np.arange(rows) % 4 == 0
    return late, ~late


@pytest.mark.parametrize("parameter", [INVERSE_PENALTY, LEAF_SIZE, DEPTH, LEAVES, PENALTY], ids=lambda each: each.name)
def test_the_rule_weakens_with_the_number_of_converters_from_end_to_end(parameter):
    starts = [parameter.start(count, 10**6) for count in np.geomspace(1, 1e6, 200).astype(int)]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert starts[-1] == len(parameter.values) - 1
    assert parameter.values[parameter.start(75, 35_000)] in (0.01, 50, 6, 10, 7)


@pytest.mark.parametrize(
    ("count", "rows", "leaf"),
    [
        (20, 26_000, 100),
        (46, 26_000, 50),
        (27, 13_000, 50),
        (141, 380, 10),
        (190, 1_600, 10),
        (1_900, 10**6, 50),
        (1_000, 3_300, 5),
        (2_500, 6_700, 2),
    ],
)
def test_a_leaf_is_large_where_converters_are_rare_and_not_where_rows_are_few(count, rows, leaf):
    assert LEAF_SIZE.values[LEAF_SIZE.start(count, rows)] == leaf


def test_a_converter_in_rows_of_several_as_ofs_counts_once():
    labels = np.array([1, 1, 1, 0, 0, 0, 0], dtype=np.int8)
    assert converters(labels) == 3
    assert converters(labels, np.array(["a", "a", "b", "c", "d", "e", "f"])) == 2


def test_rows_of_the_same_entities_are_no_more_evidence():
    gains = np.tile([1.05, -0.95], 50)  # mean 0.05, standard error 0.1
    once = choose(0, 2, lambda position: position * -gains, np.arange(100))
    rows = np.repeat(gains, 50)
    assert once == 0
    assert choose(0, 2, lambda position: position * -rows, np.repeat(np.arange(100), 50)) == once
    assert choose(0, 2, lambda position: position * -rows, np.arange(5000)) == 1


def test_the_choice_moves_in_either_direction_and_stays_among_the_values():
    for best in (0, 5):
        assert choose(2, 6, lambda position, best=best: np.full(9, 1.0 + abs(position - best)), np.arange(9)) == best


@pytest.mark.parametrize(("model", "parameter"), AUTO, ids=["logistic", "random_forest", "xgboost"])
def test_the_fitted_estimator_has_the_chosen_number_and_equals_one_configured_with_it(
    model, parameter, spec, component, table
):
    late = np.arange(len(table.labels)) >= 200
    rows = Training(table.inputs, table.labels, late, ~late)
    others = {"max_depth": 6} if model == "random_forest" else {}
    automatic = fit(spec(component("model", model, **others, **{parameter.name: "auto"})), rows)
    chosen = automatic.pipeline[-1].get_params()[parameter.name]
    assert chosen in parameter.values
    assert str(automatic.choice) == f"{parameter.name}={chosen:g}"
    explicit = fit(spec(component("model", model, **others, **{parameter.name: chosen})), rows)
    assert str(explicit.choice) == ""
    assert np.array_equal(automatic.scores(table.inputs), explicit.scores(table.inputs))


def test_few_converters_keep_the_rules_value_and_many_do_not(logistic):
    (inputs, labels), _ = strong_signal(2000)
    late, early = halves(2000)
    assert fit(logistic, Training(inputs, labels, late, early)).pipeline[-1].C > 0.1
    few = np.where(np.cumsum(labels) <= 24, labels, 0).astype(np.int8)
    few = np.random.default_rng(1).permutation(few)
    assert fit(logistic, Training(inputs, few, late, early)).pipeline[-1].C == 0.003  # of the rule, for 24 converters


def test_without_validation_rows_the_rule_decides_with_a_warning(logistic, caplog):
    (inputs, labels), _ = strong_signal(400)
    assert fit(logistic, Training(inputs, labels)).pipeline[-1].C == 0.03
    assert "Nothing to choose C by; using C=0.03: The earlier training rows do not contain both classes" in caplog.text


def test_a_table_with_much_signal_is_not_penalised_as_one_with_few_converters(logistic, component):
    (inputs, labels), (others, outcomes) = strong_signal(1500)
    late, early = halves(1500)
    rows = Training(inputs, labels, late, early)
    auc = [
        roc_auc_score(outcomes, fit(each, rows).scores(others))
        for each in (logistic, replace(logistic, estimator=component("model", "logistic", C=0.01)))
    ]
    assert auc[0] > auc[1] + 0.005


def test_a_forest_on_few_rows_finds_the_small_groups_that_convert(spec, component):
    rng = np.random.default_rng(0)
    inputs = pd.DataFrame(rng.normal(size=(2, 400, 4)).reshape(800, 4), columns=list("abcd"))
    labels = ((inputs["a"] > 0.9) | ((inputs["b"] < -0.9) & (inputs["c"] > 0))).to_numpy().astype(np.int8)
    rows = Training(inputs[:400], labels[:400])
    auto = {"min_samples_leaf": "auto", "max_depth": "auto"}
    forests = [
        replace(spec(component("model", "random_forest", **each)), numbers=list("abcd"), categories=[])
        for each in (auto, {"min_samples_leaf": 50, "max_depth": 6})
    ]
    automatic, fixed = (average_precision_score(labels[400:], fit(each, rows).scores(inputs[400:])) for each in forests)
    assert automatic > fixed + 0.01


def test_each_member_of_a_vote_chooses_for_itself(spec, component, table):
    late = np.arange(len(table.labels)) >= 200
    members = {"trees": component("model", "xgboost"), "linear": component("model", "logistic", C="auto")}
    both = fit(spec(vote(members), stop_after=3), Training(table.inputs, table.labels, late, ~late))
    trees, linear = (member.estimator[-1] for member in both.pipeline[-1].estimators_)
    chosen = both.choice.members
    assert chosen["members.linear"].values["C"] == linear.C
    assert trees.get_booster().num_boosted_rounds() == chosen["members.trees"].iterations
    assert both.iterations is None
