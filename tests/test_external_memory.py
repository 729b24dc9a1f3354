"""External memory from the config: what it cannot do is refused at once, and what it can do changes no number."""

import pytest
from omegaconf import OmegaConf

from mlsys.components import Components
from mlsys.compose import compose_config
from mlsys.data.disk_frame import DiskFrame
from mlsys.errors import ConfigError
from mlsys.external_memory import external_memory_problems
from mlsys.prepare import prepare

ON = "fit.external_memory=true"


def found(*overrides):
    plain = compose_config([ON, *overrides]).model_dump(by_alias=True)
    return {problem.where: problem for problem in external_memory_problems(plain, Components.build(plain)[0])}


@pytest.mark.parametrize(
    "model", ["lightgbm", "catboost", "logistic", "vote", "stack", "uplift", "survival", "auto", "ebm"]
)
def test_other_models_are_refused_by_name(model):
    (problem,) = found(f"model={model}").values()
    assert (problem.where, problem.got, problem.closest) == ("model", model, "xgboost")


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("encoder=target", "encoder"),
        ("sampler=smotenc", "sampler"),
        ("model.tree_method=exact", "model.tree_method"),
        ("+model.booster=gblinear", "model.booster"),
        ("model.device=cuda", "model.device"),
    ],
)
def test_what_needs_all_rows_is_one_problem(override, where):
    (problem,) = found(override).values()
    assert problem.where == where
    assert "fit.external_memory=true" in problem.allowed


def test_data_that_are_read_as_a_whole_are_refused():
    (problem,) = found("data=table", "data.path=x.csv", "data.target=y").values()
    assert (problem.where, "flat table" in problem.allowed) == ("data", True)
    (problem,) = found("data=sql", "data.url=postgres://ann:secret@db/crm").values()
    assert (problem.where, "secret" in str(problem)) == ("data.url", False)


def test_all_problems_come_at_once_before_any_data_are_read(tmp_path):
    config = compose_config([ON, "model=logistic", "encoder=onehot", "data=hubspot", f"data.dir={tmp_path}/none"])
    with pytest.raises(ConfigError) as error:
        prepare(OmegaConf.create(config.to_dict()))
    assert {problem.where for problem in error.value.problems} == {"model", "encoder"}


@pytest.mark.parametrize("sampler", ["none", "random_under", "random_over"])
def test_what_works_has_no_problems(sampler):
    assert found(f"sampler={sampler}", "+model.booster=dart") == {}


def test_the_panel_is_on_disk_only_if_asked_and_has_the_same_values(crm):
    def frame(*overrides):
        config = compose_config([*crm.overrides, "features=minimal", *overrides]).to_dict()
        return prepare(OmegaConf.create(config)).data.load().panel.frame

    disk, memory = frame(ON), frame()
    assert (type(disk), isinstance(memory, DiskFrame)) == (DiskFrame, False)
    assert disk.equals(memory)
    assert (disk.dtypes == memory.dtypes).all()
    assert not any(disk[name].to_numpy().flags.writeable for name in disk.select_dtypes("number"))
