"""The fast composer returns the configs that Hydra composes."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from mlsys.launch import conf_folder
from mlsys.sweep.composition import Composer, parse_override


@pytest.fixture
def loader():
    with initialize_config_dir(str(conf_folder())):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture
def master(loader):
    return loader.load_configuration("train", ["hydra.sweep.dir=here"], RunMode.MULTIRUN)


@pytest.fixture
def hydra_calls(loader, monkeypatch):
    """Record the calls of Hydra's own composition."""
    calls, compose = [], loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *args: calls.append(args) or compose(*args))
    return calls


FIRST = ["model=xgboost", "model.max_depth=3", "model.learning_rate=0.1", "+fit.note=a", "++seed=1", "sampler=none"]


@pytest.mark.parametrize(
    ("overrides", "n_composed"),
    [
        ([*FIRST[:1], "model.max_depth=5", "model.learning_rate=null", "+fit.note='b, c'", "++seed=7", FIRST[5]], 1),
        ([*FIRST[:1], "model.max_depth=${seed}", *FIRST[2:]], 1),
        (["model=lightgbm", *FIRST[2:]], 2),
        ([*FIRST[:5], "sampler=smote"], 2),
        (FIRST[:5], 2),
        ([*FIRST, "~tags"], 2),
        ([*FIRST, "+hydra.job.env_set.A=1"], 2),
        ([*FIRST[:2], "model.learning_rate=[1,2]", *FIRST[3:]], 2),
        ([*FIRST[:3], "+fit.note={a:1}", *FIRST[4:]], 2),
    ],
)
def test_a_config_equals_the_one_that_hydra_composes(loader, master, hydra_calls, overrides, n_composed):
    composer = Composer(loader, master)
    composer.compose(FIRST)
    config = composer.compose(overrides)
    assert len(hydra_calls) == n_composed
    expected = loader.load_sweep_config(master, overrides)
    assert OmegaConf.to_container(config) == OmegaConf.to_container(expected)
    assert OmegaConf.to_container(config.model, resolve=True) == OmegaConf.to_container(expected.model, resolve=True)


def test_changing_a_composed_config_does_not_change_the_cache(loader, master):
    composer = Composer(loader, master)
    composer.compose(FIRST).model.max_depth = 99
    config = composer.compose(FIRST)
    assert config.model.max_depth == 3
    config.model.max_depth = 98
    assert composer.compose(FIRST).model.max_depth == 3


def test_timestamps_are_those_of_the_sweep(loader, master):
    composer, when = Composer(loader, master), master.hydra.run.dir
    assert composer.compose(FIRST).hydra.run.dir == composer.compose(FIRST).hydra.run.dir == when


def test_an_unknown_key_raises_hydras_error(loader, master):
    composer = Composer(loader, master)
    for _ in range(2):
        with pytest.raises(Exception, match="no_such_key"):
            composer.compose(["model.no_such_key=1"])


NUMBERS = [
    "0",
    "-0",
    "7",
    "-3",
    "007",
    "1_0",
    "1.5",
    "-0.0",
    ".5",
    "1.",
    "1e5",
    "1e-05",
    "1.2E-5",
    "1.5e+16",
    "inf",
    "nan",
]
NUMBERS += ["12345678901234567890", "'1'", "true", "1a"]


@pytest.mark.parametrize("key", ["model.max_depth", "++search.trial", "+seed", "x@y"])
@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_parsed_as_hydra_parses_them(key, text):
    parsed = OverridesParser.create().parse_override(f"{key}={text}")
    actual = parse_override(f"{key}={text}")
    assert repr(actual) == repr((parsed.key_or_group, parsed.value(), parsed.is_add() or parsed.is_force_add()))
