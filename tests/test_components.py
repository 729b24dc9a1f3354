"""What is wrong with components that can be built: found before any data are read."""

import pandas as pd
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import OneHotEncoder

from mlsys.components import Components, _place
from mlsys.compose import compose_config
from mlsys.data.panel import Panel
from mlsys.errors import ConfigError
from mlsys.features.base import FeatureInfo
from mlsys.launch import EXECUTION_WHITELIST
from mlsys.pipeline.class_weights import class_weights_in_library_form
from mlsys.pipeline.parameter_checks import fitted_separately
from mlsys.pipeline.traits import Traits
from mlsys.recording import config_text


def components(*overrides):
    plain = compose_config(overrides).model_dump(by_alias=True)
    return {problem.where: problem for problem in Components.build(plain)[1]}


class Own(GaussianNB):
    """An estimator that no list of trusted types names."""


class OwnTransformer(OneHotEncoder):
    """Nor this transformer."""


class OwnEncoder:
    """What an own encoder builds."""

    def build(self, numbers, categories, needs):
        return ColumnTransformer([("levels", OwnTransformer(handle_unknown="ignore"), list(categories))])


class Unsaveable(GaussianNB):
    """Its state holds what no file can."""

    def fit(self, X, y):
        self.made_here_ = (number for number in ())
        return super().fit(X, y)


class Particular(GaussianNB):
    """It refuses made-up rows, so that its types are those of an unfitted one."""

    def fit(self, X, y):
        raise ValueError("not these rows")


class Bare:
    """It has the methods of a classifier, but nothing of scikit-learn's BaseEstimator."""

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return X


class Confused(GaussianNB):
    """Its traits have the wrong type."""

    mlsys_traits = "none"


class Mistyped(GaussianNB):
    """Its traits name parameters that it does not have."""

    mlsys_traits = Traits(
        iterations="trees", threads="n_jobs", fit_parameters={"verbose": 0}, categories_argument="cat"
    )


class Mismeasured(GaussianNB):
    """Its importances are a single number."""

    mlsys_traits = Traits(importances=lambda model: 3)


@pytest.fixture
def whitelisted(monkeypatch):
    """Return the target of a class of this module, which configs may then name."""
    monkeypatch.setattr("mlsys.config.EXECUTION_WHITELIST", [*EXECUTION_WHITELIST, f"{__name__}.*"])
    return lambda kind: f"{kind.__module__}.{kind.__qualname__}"


def test_every_type_that_loading_would_refuse_is_named_where_it_stands_before_anything_is_read(whitelisted):
    found = components(
        "~encoder", f"+encoder._target_={whitelisted(OwnEncoder)}",
        "model=vote", f"+model.members.own._target_={whitelisted(Own)}",
        "+model.members.near._target_=sklearn.neighbors.KNeighborsClassifier",
        "+model.members.network._target_=sklearn.ensemble.BaggingClassifier",
        f"+model.members.network.estimator._target_={whitelisted(Own)}",
    )  # fmt: skip
    own = ("model.members.own._target_", "model.members.network.estimator._target_")
    assert set(found) == {"encoder._target_", *own, "model._target_"}  # the last for what only a fitted neighbour holds
    assert whitelisted(OwnTransformer) in found["encoder._target_"].got
    assert all(whitelisted(Own) in found[where].got for where in own)
    assert all("add it to mlsys/runs/trusted.py" in problem.allowed for problem in found.values())


def test_types_that_only_a_fitted_model_holds_are_found_too():
    plain = compose_config(["~model", "+model._target_=sklearn.neighbors.KNeighborsClassifier"]).to_dict()
    named = [problem.got.split(",")[0] for problem in Components.build(plain)[1]]
    assert named == ["sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree"]


def test_a_model_that_refuses_made_up_rows_is_looked_at_unfitted(whitelisted):
    found = components("~model", f"+model._target_={whitelisted(Particular)}")
    assert whitelisted(Particular) in found["model._target_"].got


def test_a_model_without_scikit_learns_base_class_is_refused(whitelisted):
    found = components("~model", f"+model._target_={whitelisted(Bare)}")
    assert "has no get_params and no __sklearn_tags__" in found["model._target_"].got


@pytest.mark.parametrize("where", ["model", "model.members.own"])
def test_traits_of_the_wrong_type_are_a_problem(whitelisted, where):
    change = ["~model"] if where == "model" else ["model=vote"]
    found = components(*change, f"+{where}._target_={whitelisted(Confused)}")
    assert "Confused.mlsys_traits has the type str" in found[f"{where}._target_"].got


def test_traits_that_name_unknown_parameters_are_a_problem(whitelisted):
    plain = compose_config(["~model", f"+model._target_={whitelisted(Mistyped)}"]).model_dump(by_alias=True)
    named = [problem.got for problem in Components.build(plain)[1]]
    expected = ("iterations='trees'", "threads='n_jobs'", "fit_parameters='verbose'", "categories_argument='cat'")
    assert named == [f"mlsys_traits.{entry}" for entry in expected]


def test_importances_of_the_wrong_shape_are_a_problem(whitelisted):
    found = components("~model", f"+model._target_={whitelisted(Mismeasured)}")
    assert "importances of Mismeasured returned an array of shape ()" in found["model._target_"].got


def test_a_model_that_cannot_be_saved_is_named_before_anything_is_read(whitelisted):
    found = components("~model", f"+model._target_={whitelisted(Unsaveable)}")
    assert "The pipeline cannot be saved" in found["model._target_"].got


@pytest.mark.parametrize(
    ("config", "name", "place"),
    [
        ({}, "estimator", "model.estimator"),
        ({"members": {"a": {}}}, "a", "model.members.a"),
        ({"members": {"a": {"members": {"b": {}}}}}, "a__b", "model.members.a.members.b"),
        ({"estimators": [["a", {}]]}, "a__base", "model.estimators.a.base"),
    ],
)
def test_inner_estimators_are_named_by_their_key(config, name, place):
    assert _place(config, name) == place


# Parameters that are lists and maps, or refer to columns

LISTS_AND_MAPS = {
    "catboost": [
        "+model.class_weights={0:1,1:10}",
        "+model.monotone_constraints={users:1}",
        "+model.ignored_features=[0]",
    ],
    "xgboost": ["+model.monotone_constraints=[0,1]", "+model.interaction_constraints=[[users,plan]]"],
    "lightgbm": [
        "+model.class_weight=[1,10]",
        "+model.monotone_constraints={users:1}",
        "+model.max_bin_by_feature=[9,9]",
    ],
    "ebm": ["+model.monotone_constraints={users:1}", "model.interactions=[[users,plan]]", "+model.exclude=[[plan]]"],
    "hist_gradient_boosting": ["model.class_weight={1:10}", "+model.monotonic_cst={users:-1}"],
    "vote": ["+model.members.xgboost.monotone_constraints={users:1}", "+model.members.logistic.class_weight=[1,10]"],
    "stack": ["+model.members.xgboost.monotone_constraints={users:1}", "+model.members.logistic.class_weight=[1,10]"],
}


def estimator_of(plain):
    parts, problems = Components.build(plain)
    assert problems == []
    return parts.estimator


def parameters_as_fitted(estimator):
    members = fitted_separately(estimator).items()
    return {where: sorted((each.get_params() | class_weights_in_library_form(each)).items()) for where, each in members}


@pytest.mark.parametrize("model", LISTS_AND_MAPS)
def test_lists_and_maps_survive_a_saved_config(model):
    config = compose_config([f"model={model}", *LISTS_AND_MAPS[model]]).to_dict()
    again = yaml.safe_load(config_text(config))
    first, second = map(parameters_as_fitted, (estimator_of(config), estimator_of(again)))
    assert repr(first) == repr(second)


def panel_with(**kinds):
    return Panel(pd.DataFrame(), tuple(FeatureInfo(name, kind, name) for name, kind in kinds.items()))


def test_columns_are_checked_with_the_panel_before_any_fit():
    overrides = ["model=lightgbm", "+model.monotone_constraints={plan:1,user:1}", "+model.feature_contri=[1]"]
    parts, problems = Components.build(compose_config(overrides).to_dict())
    assert problems == []
    with pytest.raises(ConfigError, match=r"closest: users[\s\S]*Nothing was trained") as caught:
        parts.pipeline_spec(panel_with(users="number", plan="category"))
    assert [problem.where for problem in caught.value.problems] == [
        "model.monotone_constraints.plan", "model.monotone_constraints.user", "model.feature_contri",
    ]  # fmt: skip


def test_a_half_life_is_checked_with_the_times_of_the_panel():
    parts, _ = Components.build(compose_config(["model=logistic", "fit.half_life_days=0.5"]).to_dict())
    frame = pd.DataFrame({"as_of": pd.to_datetime(["2020-01-01", "2020-07-01"])})
    with pytest.raises(ConfigError, match=r"rows span 182 days[\s\S]*at least 2 days[\s\S]*Nothing was trained"):
        parts.pipeline_spec(Panel(frame, ()))


def test_an_infinite_half_life_is_refused():
    with pytest.raises(ConfigError, match="a finite number"):
        compose_config(["fit.half_life_days=inf"])


def test_columns_may_be_written_as_in_the_raw_table():
    plain = compose_config(["model=lightgbm", r"+model.monotone_constraints={seats \[x\]:1}"]).to_dict()
    panel = Panel(pd.DataFrame(), (FeatureInfo("seats _x_", "number", "seats", raw_name="seats [x]"),))
    assert Components.build(plain)[0].pipeline_spec(panel).raw_names == {"seats [x]": "seats _x_"}


@pytest.mark.parametrize("alias", ["monotone_constraints_method", "mc_method"])
def test_what_would_crash_lightgbm_is_refused(alias):
    problems = components("model=lightgbm", f"+model.{alias}=advanced")
    assert problems[f"model.{alias}"].allowed == "null, or model.monotone_constraints beside it"
    assert components("model=lightgbm", f"+model.{alias}=advanced", "+model.mc={users:1}") == {}


def test_columns_of_an_estimator_inside_another_are_refused():
    problems = components(
        "model=dummy", "~model", "+model._target_=sklearn.ensemble.BaggingClassifier",
        "+model.estimator._target_=xgboost.XGBClassifier", "+model.estimator.monotone_constraints={users:1}",
    )  # fmt: skip
    assert "the estimator around this one" in problems["model.estimator.monotone_constraints"].allowed


def test_wrong_class_weights_are_a_problem_of_their_estimator():
    assert set(components("model=vote", "+model.members.logistic.class_weight=[1]")) == {
        "model.members.logistic.class_weight"
    }


@pytest.mark.parametrize(
    ("overrides", "where", "nearest"),
    [
        (["model=hist_gradient_boosting", "+model.monotone_constraints={a:1}"],
         "model.monotone_constraints", "monotonic_cst"),
        (["model=xgboost", "+model.monotonic_cst={a:1}"], "model.monotonic_cst", "monotone_constraints"),
        (["model=vote", "+model.members.xgboost.max_dept=3"], "model.members.xgboost.max_dept", "max_depth"),
        (["model=catboost", "+model.dept=3"], "model.dept", "depth"),
        (["model=ebm", "+model.interaction=3"], "model.interaction", "interactions"),
        (["model=vote", "+model.wieghts=[1]"], "model.wieghts", "weights"),
        (["model=stack", "+model.members.xgboost.max_dept=3"], "model.members.xgboost.max_dept", "max_depth"),
        (["model=stack", "+model.fold=3"], "model.fold", "folds"),
        (["sampler=smotenc", "+sampler.k_neighbours=3"], "sampler.k_neighbours", "k_neighbors"),
    ],
)  # fmt: skip
def test_an_argument_that_a_component_does_not_have_gets_the_closest_name(overrides, where, nearest):
    assert components(*overrides)[where].closest == nearest


@pytest.mark.parametrize(
    ("overrides", "where", "got"),
    [
        (["model=logistic", "model.C=-1"], "model.C", "-1"),
        (["model=hist_gradient_boosting", "model.learning_rate=fast"], "model.learning_rate", "'fast'"),
        (["model=vote", "model.members.logistic.max_iter=many"], "model.members.logistic.max_iter", "'many'"),
    ],
)
def test_a_value_that_scikit_learn_never_accepts_is_found_before_anything_is_read(overrides, where, got):
    (problem,) = components(*overrides).values()
    assert (problem.where, problem.got) == (where, got)
    assert problem.allowed.startswith(("a float in the range", "an int in the range"))


def test_a_value_is_named_in_the_member_that_has_it_not_in_another_of_its_class():
    second = ["+model.members.second={_target_: sklearn.linear_model.LogisticRegression, C: -1, tol: -2}"]
    assert list(components("model=vote", *second)) == ["model.members.second.C", "model.members.second.tol"]


def test_the_second_trial_of_a_sweep_is_checked_too():
    assert components("model=logistic", "model.C=1") == {}
    assert set(components("model=logistic", "model.C=-1")) == {"model.C"}


@pytest.mark.parametrize(
    ("model", "override", "allowed"),
    [
        ("xgboost", "+model.objective=reg:squarederror", "binary:logistic or reg:logistic"),
        ("xgboost", "+model.objective=binary:hinge", "binary:logistic or reg:logistic"),
        ("xgboost", "+model.objective=binary:logitraw", "binary:logistic or reg:logistic"),
        ("lightgbm", "+model.objective=regression", "binary"),
        ("lightgbm", "+model.app=cross_entropy_lambda", "binary"),
        ("ebm", "+model.objective=rmse", "log_loss"),
        ("catboost", "+model.loss_function=MultiClass", "Logloss or CrossEntropy or Focal"),
        ("catboost", "+model.objective=RMSE", "Logloss or CrossEntropy or Focal"),
        ("vote", "+model.members.lightgbm.objective=poisson", "binary"),
    ],
)
def test_an_objective_without_probabilities_of_two_classes_is_refused(model, override, allowed):
    (problem,) = components(f"model={model}", override).values()
    assert problem.where == override[1:].partition("=")[0]
    assert problem.allowed == f"{allowed}, for probabilities of two classes"


@pytest.mark.parametrize(
    ("model", "override"),
    [
        ("xgboost", "+model.objective=binary:logistic"),
        ("xgboost", "+model.objective=reg:logistic"),
        ("lightgbm", "+model.objective=binary"),
        ("catboost", "+model.loss_function='Focal:focal_alpha=0.5;focal_gamma=2'"),
    ],
)
def test_an_objective_with_probabilities_of_two_classes_passes(model, override):
    assert components(f"model={model}", override) == {}


@pytest.mark.parametrize(("model", "name"), [("xgboost", "foo"), ("xgboost", "predictor"), ("lightgbm", "foo")])
def test_an_argument_that_a_library_would_ignore_is_refused_even_if_no_name_is_close(model, name):
    assert components(f"model={model}", f"+model.{name}=1")[f"model.{name}"].got == "an unknown key"


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            "xgboost",
            "eta min_split_loss lambda alpha updater refresh_leaf process_type max_cached_hist_node seed_per_iteration "
            "sample_type normalize_type rate_drop one_drop skip_drop feature_selector top_k nthread seed",
        ),
        ("lightgbm", "eta drop_rate xgboost_dart_mode linear_tree extra_trees path_smooth bagging_seed lambda_l1"),
    ],
)
def test_every_argument_that_a_library_documents_passes(model, names):
    assert components(f"model={model}", *(f"+model.{name}=1" for name in names.split())) == {}


@pytest.mark.parametrize(
    ("overrides", "where", "allowed", "nearest"),
    [
        (["model=uplift", "model.method=t_lerner"], "model.method", "x_learner or t_learner", "t_learner"),
        (["model=uplift", "model.propensity=foo"], "model.propensity", "or null where each row had the same", None),
        (["model=uplift", "model.effect=null"], "model.effect", "a regressor, such as", None),
        (["model=uplift", "model.outcome=null"], "model.outcome", "a classifier", None),
        (["model=survival", "model.hazard=5"], "model.hazard", "a classifier", None),
        (["model=survival", "model.intervals=[7,7]"], "model.intervals", "from 1 and rising", None),
        (["model=stack", "model.folds=0"], "model.folds", "a whole number of at least 1", None),
        (["model=stack", "model.shrinkage=-1"], "model.shrinkage", "a number of at least 0", None),
        (["model=stack", "model.min_converters=many"], "model.min_converters", "a whole number of at least 1", None),
        (["model=vote", "model.weights=[1,2]"], "model.weights", "one number for each member", None),
        (["model=vote", "model.weights=3"], "model.weights", "one number for each member", None),
        (["model=vote", "model.members.logistic=x"], "model.members.logistic", "or null to leave it out", None),
        (["model=ebm", "model.interactions=-1"], "model.interactions", "pairs of at least 0", None),
        (["model=ebm", "model.interactions=2.5"], "model.interactions", "pairs of at least 0", None),
        (["model=ebm", "model.interactions=three"], "model.interactions", "a text such as 3x", None),
        (["model=ebm", "model.outer_bags=0"], "model.outer_bags", "a whole number of at least 1", None),
        (["model=ebm", "model.validation_size=0"], "model.validation_size", "0 only with outer_bags=1", None),
        (["model=ebm", "model.learning_rate=.nan"], "model.learning_rate", "a number above 0", None),
        (["model=logistic", "model.C=foo"], "model.C", "a float in the range (0.0, inf], or auto", None),
        (["model=logistic", "model.C=atuo"], "model.C", "or auto", "auto"),
        (["model=random_forest", "model.max_depth=foo"], "model.max_depth", "or auto", None),
        (["model=lightgbm", "model.num_leaves=atuo"], "model.num_leaves", "a number, or auto", "auto"),
        (["model=hist_gradient_boosting", "model.l2_regularization=foo"], "model.l2_regularization", "or auto", None),
    ],
)  # fmt: skip
def test_a_value_that_a_model_cannot_use_is_found_before_anything_is_read(overrides, where, allowed, nearest):
    (problem,) = components(*overrides).values()
    assert (problem.where, problem.closest) == (where, nearest)
    assert allowed in problem.allowed


@pytest.mark.parametrize("model", ["vote", "stack"])
def test_a_model_without_members_is_found_before_anything_is_read(model):
    without = [f"model.members.{name}=null" for name in ("xgboost", "lightgbm", "logistic")]
    (problem,) = components(f"model={model}", *without).values()
    assert (problem.where, problem.got) == ("model.members", "no member that is not null")


@pytest.mark.parametrize(
    "override",
    ["interactions=0", "interactions=0.5", "interactions=2x", "interactions=[[users,plan]]", "validation_size=30"],
)
def test_what_explainable_boosting_machines_accept_passes(override):
    assert components("model=ebm", f"model.{override}") == {}


@pytest.mark.parametrize(
    ("inner", "outer", "place"),
    [
        ("uplift", "vote", "members"),
        ("uplift", "stack", "members"),
        ("uplift", "auto", "candidates"),
        ("survival", "auto", "candidates"),
    ],
)
def test_a_model_that_gives_more_than_a_probability_is_no_part_of_another(inner, outer, place):
    problem = components(f"model={outer}", f"+model@model.{place}.new={inner}")[f"model.{place}.new._target_"]
    assert problem.got.endswith("as a candidate" if outer == "auto" else "inside another model")
    assert problem.allowed.endswith("Make it the model itself")
    assert ("uplift, probability_if_treated" if inner == "uplift" else "by_7d, by_14d") in problem.allowed


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["model=uplift", "model.effect._target_=sklearn.linear_model.Ridge"], "model.effect"),
        (["model=survival", "model.hazard._target_=sklearn.linear_model.LogisticRegression"], "model.hazard"),
        (["model=vote", "model.members.xgboost._target_=sklearn.linear_model.LogisticRegression"],
         "model.members.xgboost"),
        (["model=stack", "model.members.xgboost._target_=sklearn.naive_bayes.GaussianNB"], "model.members.xgboost"),
        (["model=xgboost", "model._target_=sklearn.linear_model.LogisticRegression"], "model"),
    ],
)  # fmt: skip
def test_another_class_with_the_arguments_of_the_earlier_one_says_the_way_out(overrides, where):
    (problem,) = components(*overrides).values()
    kind = overrides[1].rpartition(".")[2]
    assert (problem.where, problem.got[: len(kind)]) == (where, kind)
    assert "n_estimators, learning_rate" in problem.got
    assert f"~{where}.n_estimators ~{where}.learning_rate" in problem.allowed
    assert f"(~{where} '+{where}={{_target_: " in problem.allowed


def test_a_single_argument_that_a_member_does_not_have_is_named_there():
    problem = components("model=vote", "+model.members.logistic.depth=3")["model.members.logistic.depth"]
    assert problem.got == "an unknown key of LogisticRegression"
    assert problem.allowed.endswith("; ~model.members.logistic.depth leaves it out")


@pytest.mark.parametrize("override", ["ebm model.max_rounds", "random_forest model.n_estimators"])
def test_a_parameter_has_one_problem_at_a_time(override):
    model, name = override.split()
    plain = compose_config([f"model={model}", f"{name}=0"]).model_dump(by_alias=True)
    assert [problem.where for problem in Components.build(plain)[1]] == [name]


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["model=uplift", "~model.outcome"], "model.outcome"),
        (["model=vote", "~model.members"], "model.members"),
        (["model=stack", "+model.members.new._target_=mlsys.pipeline.survival.DiscreteTimeHazard"],
         "model.members.new.hazard"),
    ],
)  # fmt: skip
def test_an_argument_that_a_component_needs_is_named_where_it_is_missing(overrides, where):
    (problem,) = components(*overrides).values()
    assert (problem.where, problem.got) == (where, "nothing")
    assert problem.allowed.endswith(" needs it")
