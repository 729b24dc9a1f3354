from mlsys.launch import conf_folder, environment_overrides


def test_environment_names_become_lower_case_keys():
    assert environment_overrides([], {"MLSYS__MODEL__MAX_DEPTH": "3"}) == {
        "model.max_depth=3": "MLSYS__MODEL__MAX_DEPTH"
    }


def test_environment_names_with_lower_case_are_taken_as_written():
    assert environment_overrides([], {"MLSYS__model__C": "0.1"}) == {"model.C=0.1": "MLSYS__model__C"}


def test_the_command_line_beats_the_environment():
    environment = {"MLSYS__MODEL": "xgboost", "MLSYS__SEED": "7"}
    assert environment_overrides(["model=catboost", "+x=1"], environment) == {"seed=7": "MLSYS__SEED"}


def test_other_variables_are_left_alone():
    assert environment_overrides([], {"MLSYS": "1", "MLSYS_SEED": "2", "HOME": "/"}) == {}


def test_the_config_groups_are_there():
    assert (conf_folder() / "train.yaml").is_file()
