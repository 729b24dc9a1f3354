"""All problems of a config are reported at once."""

import json

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from mlsys.compose import compose_config, diagnose, report_error
from mlsys.config import TrainConfig
from mlsys.errors import ConfigError
from mlsys.launch import conf_folder


def problems(*overrides):
    with pytest.raises(ConfigError) as error:
        compose_config(list(overrides))
    return {problem.where: problem for problem in error.value.problems}


def test_misspelled_options_keys_and_metrics_come_together():
    found = problems("model=catbost", "sampler=smotnc", "split.foldz=3", "seeed=1", "objective=rocauc")
    assert {where: problem.closest for where, problem in found.items()} == {
        "model": "catboost",
        "sampler": "smotenc",
        "split.foldz": "split.folds",
        "seeed": "seed",
        "objective": "roc_auc",
    }


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "catboost", "hist_gradient_boosting", "ebm"])
def test_a_parameter_that_the_config_does_not_set_needs_a_plus(model):
    name = "monotonic_cst" if model == "hist_gradient_boosting" else "monotone_constraints"
    problem = diagnose([f"model={model}", f"model.{name}={{seats: 1}}"], conf_folder(), "").problems[0]
    assert (problem.where, problem.allowed) == (f"model.{name}", f"+model.{name}=VALUE, with a plus, to add it")


def test_wrong_values_come_with_wrong_options():
    found = problems("model=catbost", "metrics.bootstrap_resamples=-1", "encoder.max_categories=many")
    assert set(found) == {"model", "metrics.bootstrap_resamples", "encoder.max_categories"}
    assert found["metrics.bootstrap_resamples"].got == "-1"


@pytest.mark.parametrize(
    ("override", "where", "way_out"),
    [
        ("+model.monotone_constraints={größe: 1}", "model.monotone_constraints", "see docs/models.md"),
        ('+model.monotone_constraints={"seats": 1}', "model.monotone_constraints", "see docs/models.md"),
        ("+model.monotone_constraints={[red]: 1}", "model.monotone_constraints", "see docs/models.md"),
        ("+model.ignored_features=[größe]", "model.ignored_features", """in quotes: 'KEY="größe"'"""),
        ("seed", "command line", "key=value"),
    ],
)
def test_what_hydra_cannot_parse_is_named_with_what_to_write_instead(override, where, way_out):
    found = {problem.where: problem for problem in diagnose([override, "modle=xgboost"], conf_folder(), "?").problems}
    assert way_out in found[where].allowed
    assert found["modle"].closest == "model"


@pytest.mark.parametrize("value", [r"{seats \[x\]\, y: 1}", '["größe", "[red]"]', "[0,1]"])
def test_the_ways_to_write_odd_names_that_the_message_gives_are_parsed(value):
    compose_config(["model=xgboost", f"+model.monotone_constraints={value}"])


@pytest.mark.parametrize("sampler", ["smotenc", "smote"])
def test_an_unknown_key_of_a_sampler_is_named(sampler):
    found = problems(f"sampler={sampler}", "sampler.sampling_strateg=1")["sampler.sampling_strateg"]
    assert found.closest == "sampler.sampling_strategy"


def test_a_misspelled_group_is_named():
    assert problems("modle=catboost")["modle"].closest == "model"


@pytest.mark.parametrize(
    ("group", "misspelled", "meant"),
    [("experiment", "bset", "best"), ("debug", "verbos", "verbose"), ("search", "catbost", "catboost")],
)
def test_a_misspelled_option_of_an_optional_group_is_not_ignored(group, misspelled, meant):
    assert problems(f"{group}={misspelled}")[group].closest == meant


@pytest.fixture
def own_options(tmp_path):
    """A folder with an option of one's own, as for `--config-dir`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ours.yaml").write_text("defaults: [demo, _self_]\nname: ours\n")
    return tmp_path


def test_options_of_ones_own_are_found(own_options):
    assert compose_config(["data=ours"], config_dir=own_options).data.name == "ours"


def test_a_misspelled_key_beside_an_option_of_ones_own(own_options, capsys):
    arguments = ["--config-dir", str(own_options), "data=ours", "modle=catboost", "--cfg", "job"]
    assert report_error(HydraException("could not override"), arguments) == 2
    shown = capsys.readouterr().err
    assert "has 1 problem:" in shown
    assert "closest: model" in shown


def test_overrides_after_an_option_are_read_too(capsys):
    assert report_error(HydraException("could not override"), ["seed=1", "-m", "sead=2", "model=catbost"]) == 2
    shown = capsys.readouterr().err
    assert "closest: seed" in shown
    assert "closest: catboost" in shown


def test_an_option_of_ones_own_is_offered(own_options):
    found = {problem.where: problem for problem in diagnose(["data=our"], conf_folder(), "", own_options).problems}
    assert found["data"].closest == "ours"


def test_added_keys_are_checked_too():
    assert problems("+metrics.bootstrap_resampels=3")["metrics.bootstrap_resampels"].closest == "bootstrap_resamples"
    assert problems("+data.evnets=3")["data.evnets"].closest == "events"


def test_literals_name_the_closest():
    problem = problems("data.rules.orphan_events=dorp")["data.rules.orphan_events"]
    assert (problem.got, problem.closest) == ("'dorp'", "drop")


@pytest.mark.parametrize(
    ("option", "keys"),
    [("table", {"data.path", "data.target"}), ("hubspot", {"data.dir"}), ("sql", {"data.url"})],
)
def test_every_missing_value_is_named(option, keys):
    found = problems(f"data={option}")
    assert set(found) == keys
    assert {problem.got for problem in found.values()} == {"nothing"}


def test_exactly_one_source():
    problem = problems("data.dir=x")["data"]
    assert "exactly one of dir, url and demo" in str(problem)
    assert "CLOSEDATE" not in str(problem), "a whole section tells nobody what is wrong"


def test_a_threshold_needs_its_parameter():
    assert "threshold.k" in str(problems("threshold.k=null")["threshold"])


@pytest.mark.parametrize("code", ["euro", "EU", "eur", "EURO"])
def test_a_currency_is_a_code(code):
    assert "ISO 4217 code" in problems(f"metrics.currency={code}")["metrics.currency"].allowed
    assert compose_config(["metrics.currency=EUR"]).metrics.currency == "EUR"


def test_columns_come_with_other_problems(crm):
    overrides = ["model=catbost", "data=hubspot", f"data.dir={crm.folder}", "data.events.time=WHEN_TIMSTAMP"]
    found = {problem.where: problem for problem in diagnose(overrides, conf_folder(), "hydra").problems}
    assert found["data.events.time"].closest == "WHEN_TIMESTAMP"
    assert found["model"].closest == "catboost"


def test_hydras_own_reason_is_kept_where_nothing_else_is_found():
    assert "no viable alternative" in str(diagnose(["seed={"], conf_folder(), "no viable alternative"))


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("MLSYS__SPLIT__FOLDS", "4")
    assert compose_config([]).split.model_extra["folds"] == 4
    assert compose_config(["split.folds=2"]).split.model_extra["folds"] == 2


def test_group_options_from_the_environment(monkeypatch):
    monkeypatch.setenv("MLSYS__MODEL", "logistic")
    assert compose_config([]).choices["model"] == "logistic"


def test_composing_leaves_no_hydra_state_behind():
    compose_config([])
    assert not GlobalHydra.instance().is_initialized()


def test_the_schema_is_json_and_names_all_sections():
    schema = json.loads(json.dumps(TrainConfig.model_json_schema()))
    assert set(schema["properties"]) >= {"data", "model", "split", "metrics", "audit", "threshold", "seed"}


def test_paths_are_saved_absolute_and_threads_fixed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = compose_config(["data=hubspot", "data.dir=tables"]).to_dict()
    assert saved["data"]["dir"] == str(tmp_path / "tables")
    assert saved["threads"] >= 1


@pytest.mark.parametrize(
    ("url", "saved"),
    [
        ("duckdb://crm.duckdb", "duckdb://{here}/crm.duckdb"),
        ("duckdb://duckdb?threads=2", "duckdb://{here}/duckdb?threads=2"),
        ("sqlite://x/crm.db", "sqlite://{here}/x/crm.db"),
        ("sqlite://ann:b@x.db", "sqlite://{here}/ann:b@x.db"),
        ("sqlite:////data/crm.db", "sqlite:////data/crm.db"),
        ("crm.duckdb", "{here}/crm.duckdb"),
        ("duckdb://md:crm", "duckdb://md:crm"),
        ("pyspark://", "pyspark://"),
        ("postgres://ann:s3cret@db:5432/crm", "postgres://ann:***@db:5432/crm"),
    ],
)
def test_a_saved_url_names_the_same_file_from_any_folder(url, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose_config(["data=sql", f"data.url='{url}'"])
    assert config.to_dict()["data"]["url"] == saved.format(here=tmp_path)


def test_the_password_of_an_engine_is_not_saved():
    config = compose_config(["data=demo", "data.engine='postgres://ann:s3cret@db:5432/crm'"])
    assert config.to_dict()["data"]["engine"] == "postgres://ann:***@db:5432/crm"


def test_an_interpolation_in_a_list_that_refers_to_nothing_is_a_problem():
    assert "nope" in problems("tags=[${nope}]")["tags[0]"].got


def test_a_seed_that_no_library_takes_is_a_problem():
    assert problems("seed=2147483648")["seed"].got == "2147483648"
    assert compose_config(["seed=2147483647"]).seed == 2**31 - 1
