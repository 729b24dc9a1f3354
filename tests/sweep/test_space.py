"""The search space and the overrides of its trials."""

from pathlib import Path

import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mlsys.components import Components
from mlsys.compose import compose_config
from mlsys.errors import ConfigError
from mlsys.launch import conf_folder
from mlsys.sweep.space import parse_space

MODELS = {
    "model=xgboost": {"model.max_depth": "range(2,7)", "model.learning_rate": "tag(log, interval(0.01, 0.2))"},
    "model=catboost": {"model.depth": "range(2,7)", "model.learning_rate": "tag(log, interval(0.02, 0.3))"},
    "model=logistic": {"model.C": "interval(0.1, 1.0)"},
}
PARAMS = {"model": "choice(xgboost, catboost, logistic)"}


def trials(space, number=30, config=None):
    """Return the overrides of several trials as dicts."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [dict(word.split("=", 1) for word in space.overrides(study.ask(), config)) for _ in range(number)]


@pytest.mark.parametrize(
    ("expression", "distribution"),
    [
        ("choice(a, b)", CategoricalDistribution(["a", "b"])),
        ("a,b", CategoricalDistribution(["a", "b"])),
        ("choice(1, 2.5, x)", CategoricalDistribution([1, 2.5, "x"])),
        ("choice(true, false)", CategoricalDistribution([True, False])),
        ("null,b", CategoricalDistribution(["null", "b"])),
        ("range(1,5)", IntDistribution(1, 4)),
        ("range(1,8,3)", IntDistribution(1, 7, step=3)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("shuffle(range(3))", CategoricalDistribution([0, 1, 2])),
        ("interval(0, 1)", FloatDistribution(0, 1)),
        ("int(interval(0, 4))", IntDistribution(0, 4)),
        ("tag(log, interval(0.1, 10))", FloatDistribution(0.1, 10, log=True)),
        ("tag(log, int(interval(1, 64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_every_sweep_syntax_is_understood(expression, distribution):
    assert parse_space({"key": expression}, {}, [], {}).base.searched == {"key": distribution}
    assert parse_space({}, {}, [f"key={expression}"], {}).base.searched == {"key": distribution}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("choice(true, false)", [True, False]),
        ("null,b", [None, "b"]),
        ("choice('a b', 'c,d')", ["a b", "c,d"]),
        ("choice('1', '2')", ["1", "2"]),
        ("choice('it\\'s', x)", ["it's", "x"]),
        ("choice('', x)", ["", "x"]),
        ("choice([1,2],[3])", [[1, 2], [3]]),
        ("choice({a: 1})", [{"a": 1}]),
        ("choice(1e-3, 2)", [0.001, 2]),
    ],
)
def test_hydra_parses_suggested_values_back_to_the_same_value(expression, values):
    parser = OverridesParser.create()
    written = {each["key"] for each in trials(parse_space({"key": expression}, {}, [], {}))}
    read = [parser.parse_override(f"key={word}") for word in written]
    assert not any(override.is_sweep_override() for override in read)
    actual = [override.value() for override in read]
    assert sorted(map(repr, actual)) == sorted(map(repr, values))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("choice(", r"key=choice\(  \(no viable alternative"),
        ("choice(null, a)", "NoneType is incompatible"),
        ("interval(5, 1)", "low <= high"),
        ("tag(log, interval(0, 1))", "low > 0"),
        ("range(3,3)", "at least one value"),
        ("range(1,5,0)", "nonzero"),
        ("glob(*)", r"glob\(\*\)  \(cannot be searched"),
    ],
)
def test_a_syntax_error_names_its_place_and_reason(expression, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_space({"key": expression}, {}, [], {})
    assert caught.value.problems[0].where == "hydra.sweeper.params"
    with pytest.raises(ConfigError, match=message) as caught:
        parse_space({"x": "a,b"}, {}, [f"key={expression}"], {})
    assert caught.value.problems[0].where == "the command line"
    with pytest.raises(ConfigError, match=message) as caught:
        parse_space({"x": "a,b"}, {"x=a": {"key": expression}}, [], {})
    assert caught.value.problems[0].where == "hydra.sweeper.conditions.x=a"


def test_all_invalid_expressions_are_listed():
    with pytest.raises(ConfigError) as caught:
        parse_space({"a": "choice(", "b": "range(3)", "c": "interval(2, 1)"}, {}, [], {})
    assert [problem.got.split("=")[0] for problem in caught.value.problems] == ["a", "c"]


def test_nothing_to_search_is_an_error():
    with pytest.raises(ConfigError, match=r"nothing to search[\s\S]*Leave out -m for a single run"):
        parse_space({}, {}, ["seed=1"], {})
    with pytest.raises(ConfigError, match="nothing to search"):
        parse_space({"x": "range(3)"}, {}, ["x=1"], {})


def test_the_command_line_fixes_and_adds():
    space = parse_space({"x": "range(3)", "y": "range(3)", "z": None}, {}, ["x=7", "w=1,2"], {})
    assert set(space.describe()) == {"y", "w"}
    assert {(each["x"], each["z"]) for each in trials(space)} == {("7", "null")}


def test_deletions_are_passed_to_every_trial():
    space = parse_space({"x": "range(3)"}, {}, ["~tags"], {})
    assert space.overrides(optuna.create_study().ask())[-1] == "~tags"
    assert next(space.corners())[-1] == "~tags"


def test_a_parameter_of_one_model_never_reaches_another():
    allowed = {
        "xgboost": {"model.max_depth", "model.learning_rate"},
        "catboost": {"model.depth", "model.learning_rate"},
        "logistic": {"model.C"},
    }
    seen = trials(parse_space(PARAMS, MODELS, [], {}))
    assert {each["model"] for each in seen} == set(allowed)
    for each in seen:
        assert set(each) == {"model"} | allowed[each["model"]]


def test_a_parameter_of_two_models_has_a_range_for_each():
    described = parse_space(PARAMS, MODELS, [], {}).describe()
    assert "low=0.01" in described["model.learning_rate@xgboost"]
    assert "low=0.02" in described["model.learning_rate@catboost"]


def test_a_model_fixed_on_the_command_line_has_only_its_own_parameters():
    space = parse_space(PARAMS, MODELS, ["model=xgboost"], {})
    assert {frozenset(each) for each in trials(space)} == {
        frozenset({"model", "model.max_depth", "model.learning_rate"})
    }
    assert all("catboost" not in " ".join(corner) for corner in space.corners())


def test_a_narrower_choice_leaves_the_other_conditions_unused():
    space = parse_space(PARAMS, MODELS, ["model=choice(xgboost,logistic)"], {})
    assert {each["model"] for each in trials(space)} == {"xgboost", "logistic"}


def test_the_default_option_of_a_group_meets_conditions():
    space = parse_space({"seed": "range(3)"}, MODELS, [], {"model": "logistic"})
    assert {frozenset(each) for each in trials(space, 5)} == {frozenset({"seed", "model.C"})}


def test_a_fixed_conditional_parameter_is_set_only_where_it_applies():
    seen = trials(parse_space(PARAMS, MODELS, ["model.learning_rate=0.1"], {}))
    by_model = {each["model"]: each.get("model.learning_rate") for each in seen}
    assert by_model == {"xgboost": "0.1", "catboost": "0.1", "logistic": None}


def test_the_command_line_changes_the_range_of_a_conditional_parameter():
    space = parse_space(PARAMS, MODELS, ["model.learning_rate=interval(0.5, 0.6)"], {})
    rates = [float(each["model.learning_rate"]) for each in trials(space) if each["model"] != "logistic"]
    assert rates
    assert all(0.5 <= rate <= 0.6 for rate in rates)
    assert "model.learning_rate" not in space.describe()


def test_the_command_line_may_search_a_value_that_a_condition_fixes():
    conditions = {"model=logistic": {"model.penalty": "l2"}}
    assert {each.get("model.penalty") for each in trials(parse_space(PARAMS, conditions, [], {}))} == {None, "l2"}
    widened = parse_space(PARAMS, conditions, ["model.penalty=l1,l2"], {})
    assert {each.get("model.penalty") for each in trials(widened)} == {None, "l1", "l2"}


NESTED = {
    "model=logistic": {"encoder": "choice(onehot, target)"},
    "encoder=target": {"encoder.smooth": "interval(1.0, 9.0)"},
}


@pytest.mark.parametrize("conditions", [NESTED, dict(reversed(NESTED.items()))], ids=["in order", "out of order"])
def test_a_nested_choice_of_a_group(conditions):
    space = parse_space({"model": "choice(xgboost, logistic)"}, conditions, [], {"encoder": "native"})
    seen = trials(space)
    kinds = {(each["model"], each.get("encoder"), "encoder.smooth" in each) for each in seen}
    assert kinds == {("xgboost", None, False), ("logistic", "onehot", False), ("logistic", "target", True)}
    deepest = [corner for corner in space.corners() if any(word.startswith("encoder.smooth") for word in corner)]
    assert len(deepest) == 1
    assert {"model=logistic", "encoder=target"} <= set(deepest[0])


def test_the_choice_of_a_condition_takes_precedence_over_the_default_option():
    conditions = {"encoder=native": {"encoder.a": "range(3)"}, "model=logistic": {"encoder": "onehot"}}
    seen = trials(parse_space({"model": "choice(xgboost, logistic)"}, conditions, [], {"encoder": "native"}))
    assert {(each["model"], "encoder.a" in each) for each in seen} == {("xgboost", True), ("logistic", False)}


@pytest.mark.parametrize("word", ["true", "True"])
def test_a_condition_on_a_boolean(word):
    space = parse_space({"on": "choice(true, false)"}, {f"on={word}": {"x": "range(3)"}}, [], {})
    assert {(each["on"], "x" in each) for each in trials(space)} == {("True", True), ("False", False)}


@pytest.mark.parametrize(
    ("condition", "message"),
    [("model", "key=value"), ("modle=xgboost", r"closest: model\b"), ("model=xgbost", "closest: xgboost")],
)
def test_a_condition_that_no_trial_can_meet_is_an_error(condition, message):
    with pytest.raises(ConfigError, match=message):
        parse_space(PARAMS, {condition: {"model.max_depth": "range(2,7)"}}, [], {})


@pytest.mark.parametrize(
    ("config", "choices", "params"),
    [
        ({"model": {"max_depth": 3, "learning_rate": 0.1}}, {"model": "xgboost"},
         {"model": "xgboost", "model.max_depth@xgboost": 3, "model.learning_rate@xgboost": 0.1}),
        ({"model": {"C": 1}}, {"model": "logistic"}, {"model": "logistic", "model.C@logistic": 1}),
        ({"model": {"C": 2.0}}, {"model": "logistic"}, {}),
        ({"model": {"C": None}}, {"model": "logistic"}, {}),
        ({"model": {}}, {"model": "logistic"}, {}),
        ({"model": {"C": 1}}, {"model": "dummy"}, {}),
    ],
)  # fmt: skip
def test_the_current_config_is_a_trial_if_it_lies_within_the_space(config, choices, params):
    assert parse_space(PARAMS, MODELS, [], choices).config_params(OmegaConf.create(config)) == params


@pytest.mark.parametrize(
    ("value", "written"), [([1, 10], "[1,10]"), ([1, 1], "[1,1]"), ({"seats": 1}, "{seats:1}"), ([2], None), ({}, None)]
)
def test_a_list_or_map_of_the_current_config_is_one_of_the_choices(value, written):
    space = parse_space({"x": "choice([1,1],[1,10],{seats:1})"}, {}, [], {})
    params = space.config_params(OmegaConf.create({"x": value}))
    assert params == ({} if written is None else {"x": written})
    assert all(trials(space, 1, params))


def test_lists_and_maps_reach_the_model_as_lists_and_maps():
    weights, constraints = (
        "+model.class_weights=choice([1,1],[1,10])",
        "+model.monotone_constraints=choice({a:1},{a:-1})",
    )
    seen = set()
    for each in trials(parse_space({}, {}, [weights, constraints], {}), 12):
        config = compose_config(["model=catboost", *(f"{key}={value}" for key, value in each.items())])
        parts, problems = Components.build(config.to_dict())
        assert problems == []
        parameters = parts.estimator.get_params()
        seen.add((tuple(parameters["class_weights"]), tuple(parameters["monotone_constraints"].items())))
    assert seen == {(pair, (("a", sign),)) for pair in ((1, 1), (1, 10)) for sign in (1, -1)}


def test_corners_set_every_key_of_every_branch():
    corners = list(parse_space(PARAMS, MODELS, ["seed=3"], {}).corners())
    keys = {word.split("=")[0] for corner in corners for word in corner}
    assert keys == {"model", "model.max_depth", "model.depth", "model.learning_rate", "model.C", "seed"}
    assert sorted(word for corner in corners for word in corner if word.startswith("model=")) == [
        "model=catboost",
        "model=logistic",
        "model=xgboost",
    ]


def extension(config, trial):
    if trial.params["model"] == "xgboost":
        trial.suggest_categorical("words", ["c,d"])
        trial.suggest_int("fixed", config["low"], 9)


def test_a_custom_search_space_adds_parameters():
    space = parse_space({"model": "choice(xgboost, logistic)"}, {}, ["fixed=1"], {}, extension)
    seen = trials(space, config={"low": 5})
    assert {tuple(each.values()) for each in seen} == {("1", "xgboost", "'c,d'"), ("1", "logistic")}
    assert parse_space({}, {}, [], {}, extension).describe() == {}, "a function alone makes a valid space"


def test_a_retried_trial_has_the_same_parameters():
    space = parse_space(PARAMS, MODELS, [], {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    first = study.ask()
    words = space.overrides(first)
    study.enqueue_trial(study.trials[0].params)
    assert space.overrides(study.ask()) == words


def test_the_search_configs_parse():
    files = sorted((conf_folder() / "search").glob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        sweeper = yaml.safe_load(file.read_text())["hydra"]["sweeper"]
        space = parse_space(sweeper["params"], sweeper.get("conditions", {}), [], {})
        assert len(trials(space, 3)) == 3


def test_the_space_in_the_docs_parses():
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    example = text.split("```yaml\n")[1].split("```")[0]
    assert example.startswith("# @package _global_\n"), "Hydra requires it on the first line"
    sweeper = yaml.safe_load(example)["hydra"]["sweeper"]
    space = parse_space(sweeper["params"], sweeper["conditions"], [], {})
    assert set(space.describe()) == {"model", "model.max_depth@xgboost", "model.C@logistic"}
