"""Parameters that refer to columns: the same names for every library and encoder, checked, saved and loaded."""

import re

import numpy as np
import pandas as pd
import pytest
from lightgbm.basic import _ConfigAliases
from sklearn.base import clone

from mlsys.pipeline import column_parameters
from mlsys.pipeline.column_parameters import ColumnParameter, Columns
from mlsys.pipeline.encoders import Native, outputs_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.parameter_checks import column_problems
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.storable import untrusted_parts
from mlsys.pipeline.traits import traits_of
from mlsys.runs.model_io import model_bytes, model_from_bytes

# In the order of schema.json, which is not the order of the encoded columns: there, numbers come first.
COLUMNS = Columns(["plan", "seats", "country", "gaps"], ["plan", "country"])
MONOTONE = {
    "xgboost": "monotone_constraints", "lightgbm": "monotone_constraints", "catboost": "monotone_constraints",
    "hist_gradient_boosting": "monotonic_cst", "random_forest": "monotonic_cst", "ebm": "monotone_constraints",
}  # fmt: skip
EXAMPLES = {
    "values": {"direction": {"seats": 1}, "weight": {"seats": 2, "gaps": 3}, "count": {"seats": 9}},
    "groups": [["plan", "seats"], ["gaps", "country"]],
    "terms": [["plan", "seats"], ["gaps", 2]],
    "columns": ["country", 3],
    "categories": ["plan"],
}


@pytest.fixture(scope="module")
def rows():
    """Rows whose outcome becomes rarer with more seats."""
    rng = np.random.default_rng(4)
    seats, plan = rng.integers(1, 100, 400).astype(float), rng.choice(["free", "pro", "team"], 400)
    gaps = np.where(rng.random(400) < 0.2, np.nan, rng.normal(size=400))
    labels = ((plan == "pro") - seats / 40 + np.nan_to_num(gaps) + rng.normal(size=400) > -0.8).astype(np.int8)
    country = rng.choice(["DE", "FR"], 400)
    frame = pd.DataFrame({"plan": plan, "seats": seats, "country": country, "gaps": gaps})
    return frame.astype({"plan": "str", "country": "str"}), labels


@pytest.fixture
def fitted(spec, component, rows):
    def make(model, encoder="native", sampler="none", **parameters):
        estimator = component("model", model, **parameters) if isinstance(model, str) else model
        made = spec(estimator, encoder, sampler, numbers=["seats", "gaps"], categories=COLUMNS.categories)
        return fit(made, Training(*rows))

    return make


def scores_by_seats(fitted, rows):
    """Return the scores of the first rows when only their seats change, shape (rows, seats)."""
    grid = np.arange(1.0, 100.0, 3.0)
    repeated = rows[0].head(8).loc[np.repeat(np.arange(8), len(grid))]
    return fitted.scores(repeated.assign(seats=np.tile(grid, 8))).reshape(8, len(grid))


@pytest.mark.parametrize("model", MONOTONE)
def test_a_constraint_by_name_holds_under_each_encoder(model, any_encoder, fitted, rows):
    assert np.diff(scores_by_seats(fitted(model, any_encoder), rows)).min() < 0
    rising = fitted(model, any_encoder, **{MONOTONE[model]: {"seats": 1}})
    assert np.diff(scores_by_seats(rising, rows)).min() >= -1e-7  # XGBoost adds up float32


@pytest.mark.parametrize("model", MONOTONE)
def test_a_constraint_in_the_direction_of_the_data_leaves_the_effect(model, fitted, rows):
    scores = scores_by_seats(fitted(model, **{MONOTONE[model]: {"seats": -1}}), rows)
    assert np.diff(scores).max() <= 1e-7
    assert np.ptp(scores) > 0.1


@pytest.mark.parametrize("model", MONOTONE)
def test_a_list_follows_the_order_of_the_schema(model, fitted):
    named = fitted(model, **{MONOTONE[model]: {"seats": 1, "gaps": -1}})
    listed = fitted(model, **{MONOTONE[model]: [0, 1, 0, -1]})
    assert model_bytes(named.pipeline) == model_bytes(listed.pipeline)


@pytest.mark.parametrize("sampler", ["smote", "smotenc"])
def test_a_constraint_holds_on_numbers_that_a_sampler_wants_scaled(sampler, fitted, rows):
    rising = fitted("lightgbm", sampler=sampler, monotone_constraints={"seats": 1})
    assert np.diff(scores_by_seats(rising, rows)).min() >= 0


def test_each_member_of_a_vote_has_its_own_constraints(component, fitted, rows):
    members = {name: component("model", name, **{MONOTONE[name]: {"seats": 1}}) for name in MONOTONE}
    assert untrusted_parts(Native(), vote(members)) == ((), ())
    assert np.diff(scores_by_seats(fitted(vote(members)), rows)).min() >= -1e-7


def cases():
    tables = {
        "xgboost": column_parameters.XGBOOST, "lightgbm": column_parameters.LIGHTGBM,
        "catboost": column_parameters.CATBOOST, "random_forest": column_parameters.SCIKIT_LEARN_TREES,
        "hist_gradient_boosting": column_parameters.HIST_GRADIENT_BOOSTING, "ebm": column_parameters.EBM,
    }  # fmt: skip
    texts = {"per_float_feature_quantization": {"seats": "border_count=9"}}
    texts |= {"per_feature_ctr": {"plan": "Borders:Prior=0.5/1"}}
    for model, table in tables.items():
        for name, parameter in table.items():
            if parameter.form != "types":
                example = EXAMPLES[parameter.form]
                yield (
                    model,
                    name,
                    texts.get(name) or (example[parameter.value] if isinstance(example, dict) else example),
                )


@pytest.mark.parametrize(("model", "name", "value"), list(cases()))
def test_each_parameter_of_each_library_is_fitted_saved_loaded_and_cloned(model, name, value, fitted, component, rows):
    assert column_problems(component("model", model, **{name: value}), COLUMNS) == []
    made = fitted(model, **{name: value})
    loaded = model_from_bytes(model_bytes(made.pipeline), "a test")
    assert np.array_equal(loaded.predict_proba(rows[0])[:, 1], made.scores(rows[0]))
    copies = [sorted(each.get_params().items()) for each in (clone(made.pipeline)[-1], made.pipeline[-1])]
    assert repr(copies[0]) == repr(copies[1])


@pytest.mark.parametrize(
    ("model", "name", "value", "encoder", "passed"),
    [
        ("xgboost", "interaction_constraints", [["plan", "seats"], [3]], "native", "[[0, 2], [1]]"),
        ("xgboost", "feature_weights", {"plan": 2}, "onehot", [1.0, 1.0, 2, 2, 2, 1.0, 1.0]),
        ("lightgbm", "interaction_constraints", [["plan", "seats"], ["gaps"]], "native", [[0, 2], [1]]),
        ("catboost", "ignored_features", ["country", "gaps"], "native", (1, 3)),
        ("catboost", "monotone_constraints", [0, 1, 0, 0], "native", "(1,0,0,0)"),
        ("hist_gradient_boosting", "interaction_cst", "no_interactions", "native", "no_interactions"),
        ("random_forest", "monotonic_cst", {"gaps": 1}, "ordinal", [0, 1, 0, 0]),
        ("ebm", "monotone_constraints", {"seats": 1}, "native", [1, 0, 0, 0]),
        ("ebm", "exclude", [["country"], ["seats", 0]], "native", [(3,), (0, 2)]),
        ("ebm", "exclude", "mains", "native", "mains"),
        ("ebm", "interactions", [["seats", "country"]], "onehot", [(0, 5), (0, 6)]),
        ("ebm", "interactions", "0.5x", "native", "0.5x"),
    ],
)  # fmt: skip
def test_columns_are_those_that_the_encoder_returns(model, name, value, encoder, passed, fitted):
    made = fitted(model, encoder, **{name: value})
    assert made.pipeline[-1].get_params()[name] == passed
    assert len(outputs_of(made.pipeline[0])) == (7 if encoder == "onehot" else 4)


def test_columns_without_a_value_have_that_of_the_model(fitted):
    made = fitted("lightgbm", max_bin=31, max_bin_by_feature={"seats": 5})
    assert made.pipeline[-1].get_params()["max_bin_by_feature"] == [5, 31, 31, 31]


def test_a_missing_value_indicator_has_no_direction_but_the_weight_of_its_column():
    outputs = [Output("gaps", False), Output("gaps", False, indicator=True)]
    weights = column_parameters.XGBOOST["feature_weights"]
    assert weights.translated({"gaps": 3}, COLUMNS, outputs) == [3, 3]
    constraints = column_parameters.XGBOOST["monotone_constraints"]
    assert constraints.translated({"gaps": 1}, COLUMNS, outputs) == (1, 0)


@pytest.mark.parametrize(
    ("name", "value", "where", "message"),
    [
        ("monotone_constraints", {"seat": 1}, ".seat", "an unknown column.*plan, seats, country, gaps.*closest: seats"),
        ("monotone_constraints", {"plan": 1}, ".plan", "a category column.*a number column: seats, gaps"),
        ("monotone_constraints", [1, 0, 0, 0], ".plan", "a category column"),
        ("monotone_constraints", [0, 1, 0], "", "a list of 3 values.*4 values, one per column: plan, seats"),
        ("monotone_constraints", {"seats": 2}, ".seats", "-1 \\(falling\\), 0 or 1"),
        ("monotone_constraints", {"seats": True}, ".seats", "-1 \\(falling\\), 0 or 1"),
        ("monotone_constraints", "(0,1,0,0)", "", "a map such as {seats: 1}, or a list in the order of schema.json"),
        ("monotone_constraints", 1, "", "a map such as"),
        ("interaction_constraints", [["plan", "seat"]], ".0", "'seat'.*closest: seats"),
        ("interaction_constraints", ["plan"], "", "a list of lists of columns, such as \\[\\[plan\\]\\]"),
        ("interaction_constraints", [[4]], ".0", "4.*a column of schema.json"),
        ("categorical_feature", ["seats"], "", "seats, a number column.*a category column: plan, country"),
        ("feature_contri", {"seats": "much"}, ".seats", "a finite number of at least 0"),
        ("feature_contri", {"seats": -1}, ".seats", "a finite number of at least 0"),
        ("feature_contri", {"seats": float("inf")}, ".seats", "a finite number of at least 0"),
        ("cegb_penalty_feature_lazy", [float("nan"), 0, 0, 0], ".plan", "a finite number of at least 0"),
        ("max_bin_by_feature", {"seats": 2.5}, ".seats", "a whole number of at least 2"),
        ("max_bin_by_feature", {"seats": 1}, ".seats", "a whole number of at least 2"),
        ("monotone_constraints", {True: 1}, ".True", 'true without quotes.*Put a name in quotes: "true"'),
        ("monotone_constraints", {7: 1}, ".7", "an unknown column"),
        ("interaction_constraints", [[2024]], ".0", '2024 without quotes.*Put a name in quotes: "2024"'),
    ],
)
def test_what_is_wrong_with_a_value_is_said_with_the_columns_to_choose_from(name, value, where, message, component):
    (problem,) = column_problems(component("model", "lightgbm", **{name: value}), COLUMNS)
    assert problem.where == f"model.{name}{where}"
    assert re.search(message, " ".join(str(problem).split()))


@pytest.mark.parametrize("value", [None, {"plan": 0, "seats": -1}, [0, 0, 0, 0], {}])
def test_a_category_may_have_the_value_that_constrains_nothing(value, component):
    assert column_problems(component("model", "lightgbm", monotone_constraints=value), COLUMNS) == []


@pytest.mark.parametrize(
    ("model", "name", "value", "default"),
    [
        ("lightgbm", "max_bin_by_feature", [31, 5, 31, 31], {"max_bin": 31}),
        ("lightgbm", "max_bin_by_feature", [None, 5, None, None], {"max_bin": 31}),
        ("catboost", "per_float_feature_quantization", [None, "border_count=5", None, None], {}),
        ("catboost", "monotone_constraints", [None, 1, None, 0], {}),
    ],
)
def test_a_list_gives_categories_the_value_of_the_model_or_null(model, name, value, default, component, fitted):
    assert column_problems(component("model", model, **{name: value}, **default), COLUMNS) == []
    listed, named = fitted(model, **{name: value}, **default), fitted(model, **{name: {"seats": value[1]}}, **default)
    assert model_bytes(listed.pipeline) == model_bytes(named.pipeline)


@pytest.mark.parametrize("model", MONOTONE)
def test_a_whole_number_may_have_a_decimal_point(model, fitted, component):
    name = MONOTONE[model]
    assert column_problems(component("model", model, **{name: {"seats": 1.0}}), COLUMNS) == []
    made = [fitted(model, **{name: {"seats": one}}) for one in (1, 1.0)]
    assert model_bytes(made[0].pipeline) == model_bytes(made[1].pipeline)


# What YAML reads as a number or a switch, and names that schema.json cannot have

ODD = Columns(["1", "2024", "seats _x_", "plan"], ["plan"], {"seats [x]": "seats _x_"})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["2024"], ["2024"]), (["1"], ["1"]), ([0, 3], ["1", "plan"]), ([3.0], ["plan"]),
        (["seats [x]"], ["seats _x_"]), (["seats _x_"], ["seats _x_"]),
    ],
)  # fmt: skip
def test_a_quoted_number_is_a_name_and_a_bare_one_a_position(written, meant):
    ignored = ColumnParameter("columns")
    assert ignored.problems(written, "model.ignored_features", ODD) == []
    assert ignored.translated(written, ODD, [Output(name, False) for name in meant]) == list(range(len(meant)))


def test_a_bare_number_that_is_both_a_name_and_a_position_is_refused():
    (problem,) = ColumnParameter("columns").problems([1], "model.ignored_features", ODD)
    assert problem.got == "1 without quotes"
    assert problem.allowed.endswith('Put a name in quotes: "1"')


@pytest.mark.parametrize("key", ["2024", 2024])
def test_a_number_as_a_key_is_a_name_before_and_after_it_is_saved(key):
    weights = column_parameters.XGBOOST["feature_weights"]
    assert weights.problems({key: 2}, "model.feature_weights", ODD) == []
    assert weights.translated({key: 2}, ODD, [Output("1", False), Output("2024", False)]) == [1.0, 2]


def test_a_raw_name_gets_its_value_and_the_closest_name_is_that_of_the_schema():
    monotone = column_parameters.LIGHTGBM["monotone_constraints"]
    assert monotone.translated({"seats [x]": 1}, ODD, [Output("plan", True), Output("seats _x_", False)]) == [0, 1]
    (problem,) = monotone.problems({"seats [y]": 1}, "model.mc", ODD)
    assert problem.closest == "seats _x_"
    (problem,) = monotone.problems({"seats [x]": 1, "seats _x_": -1}, "model.mc", ODD)
    assert problem.got == "two values, under two names"


def test_the_types_of_columns_cannot_be_set(component):
    (problem,) = column_problems(component("model", "xgboost", feature_types=["q"]), COLUMNS)
    assert problem.allowed == "null: types and names of the columns follow from the data"


@pytest.mark.parametrize(
    ("interactions", "got", "allowed", "closest"),
    [
        ([["seats", "plans"]], "'plans'", "a column of schema.json: plan, seats, country, gaps", "plan"),
        ([["seats", 1]], "[seats, 1]", "each column once, at least one", None),
        ([[]], "[]", "each column once, at least one", None),
        (
            ["seats"],
            "['seats']",
            "a list of lists of columns, such as [[plan]], or a number or a text such as 3x",
            None,
        ),
        *(
            (wrong, repr(wrong), "a list of lists of columns, such as [[plan]], or a number or a text such as 3x", None)
            for wrong in (-1, 1.5, "3", "x", True)
        ),
    ],
)
def test_terms_that_cannot_be_are_named(interactions, got, allowed, closest, component):
    (problem,) = column_problems(component("model", "ebm", interactions=interactions), COLUMNS)
    assert column_problems(component("model", "ebm", exclude="mians"), COLUMNS)[0].allowed.endswith(", or mains")
    assert (problem.got, problem.allowed, problem.closest) == (got, allowed, closest)


def test_problems_in_a_vote_name_the_member(component):
    members = {"first": component("model", "xgboost", monotone_constraints={"seat": 1})}
    (problem,) = column_problems(vote(members), COLUMNS)
    assert problem.where == "model.members.first.monotone_constraints.seat"


def test_long_lists_of_columns_are_cut():
    many = Columns([f"c{i}" for i in range(300)], [])
    (problem,) = ColumnParameter("columns").problems(["d"], "model.ignored_features", many)
    assert problem.allowed.endswith("c18, c19, … (300 in all)")


def test_every_alias_of_lightgbm_is_known(component):
    known = traits_of(component("model", "lightgbm")).column_parameters
    for name in ("monotone_constraints", "feature_contri", "categorical_feature", "interaction_constraints"):
        aliases = _ConfigAliases.get(name)
        assert {alias for alias in aliases if known.get(alias) is known[name]} == aliases
