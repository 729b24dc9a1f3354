"""Registry in MLflow: what MLflow itself shows, and what killed commands leave behind."""

import itertools

import pytest

from mlsys.errors import RegistryError
from mlsys.registry.commands import add, promote, rollback, set_alias
from mlsys.registry.mlflow_store import MlflowStore
from mlsys.registry.names import Reference

# SQLAlchemy warns about options that MLflow's own tables use.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.slow]
CHANGES = (
    "create_model_version",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
NUMBER = itertools.count()


class Killed(BaseException):
    """Ends a command at once, like SIGKILL."""


@pytest.fixture
def client(mlflow_uri):
    from mlflow import MlflowClient

    return MlflowClient(mlflow_uri, mlflow_uri)


@pytest.fixture
def kept(mlflow_store, runs, gate):
    """Name of a model with two versions, the first one the champion."""
    name = f"kept{next(NUMBER)}"
    add(mlflow_store, runs.first, name)
    promote(mlflow_store, Reference(name), gate)
    add(mlflow_store, runs.again, name)
    return name


def survives(number, command):
    """Run a command and kill it before its n-th change; return whether it finished with fewer changes."""
    from mlflow import MlflowClient

    count = itertools.count(1)

    def killing(real):
        def change(*arguments, **named):
            if next(count) == number:
                raise Killed
            return real(*arguments, **named)

        return change

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(MlflowClient, name, killing(getattr(MlflowClient, name)))
        try:
            command()
        except Killed:
            return False
    return True


def forget(client, name, number):
    """Delete a line of the history and return it."""
    tags = client.get_registered_model(name).tags
    key = next(key for key in tags if key.startswith(f"mlsys.history.{number:06d}."))
    client.delete_registered_model_tag(name, key)
    return tags[key]


def test_mlflow_loads_the_champion(mlflow_store, kept, client, runs, monkeypatch, mlflow_uri):
    import mlflow

    version = client.get_model_version_by_alias(kept, "champion")
    assert version.tags["mlsys.version"] == "1.0.0"
    assert mlflow_store.address(mlflow_store.state(kept), "1.0.0") == f"models:/{kept}/{version.version}"
    mlflow.set_tracking_uri(mlflow_uri)
    signature = mlflow.models.get_model_info(f"models:/{kept}@champion").signature
    assert signature.inputs.input_names() == [column["name"] for column in runs.first.schema["inputs"]]
    assert client.get_run(version.run_id).data.tags["mlsys.status"] == "complete"


def test_a_killed_move_is_atomic(mlflow_store, kept, client):
    for number in itertools.count(1):
        alias = f"a{number}"
        survived = survives(number, lambda alias=alias: set_alias(mlflow_store, Reference(kept), alias))
        version = mlflow_store.state(kept).aliases.get(alias)
        set_alias(mlflow_store, Reference(kept, version=f"1.0.{number % 2}"), "other")
        assert mlflow_store.state(kept).aliases.get(alias) == version  # unchanged by the recovery
        assert (alias in client.get_registered_model(kept).aliases) == (version is not None)
        if survived:
            break
    assert (number, version) == (4, "1.0.1")
    assert mlflow_store.findings(kept) == []


def test_a_killed_addition_is_atomic(mlflow_store, kept, runs, client):
    set_alias(mlflow_store, Reference(kept), "other")  # completes pending changes first
    assert not survives(1, lambda: add(mlflow_store, runs.tuned, kept))
    assert list(mlflow_store.state(kept).added) == ["1.0.0", "1.0.1"]
    assert not survives(2, lambda: add(mlflow_store, runs.tuned, kept))
    assert list(mlflow_store.state(kept).added) == ["1.0.0", "1.0.1", "1.1.0"]
    assert add(mlflow_store, runs.tuned, kept).bump is None
    assert mlflow_store.findings(kept) == []
    assert len(client.search_model_versions(f"name='{kept}'")) == 3


def test_versions_and_aliases_missing_from_the_history_are_unfinished(mlflow_store, kept, client):
    forget(client, kept, 3)  # as if its writer was killed
    client.set_registered_model_tag(kept, "mlsys.settled", "1")
    client.delete_registered_model_alias(kept, "champion")
    found = mlflow_store.findings(kept)
    assert [(each.where, each.level) for each in found] == [("1.0.1", "unfinished"), ("champion", "unfinished")]
    set_alias(mlflow_store, Reference(kept), "other")
    assert mlflow_store.findings(kept) == []
    assert client.get_registered_model(kept).aliases["champion"] == "1"


def test_changes_made_in_mlflow_are_recorded(mlflow_store, kept, client, gate):
    second = next(
        each for each in client.search_model_versions(f"name='{kept}'") if each.tags["mlsys.version"] == "1.0.1"
    )
    client.set_registered_model_alias(kept, "champion", second.version)
    assert mlflow_store.state(kept).champion == "1.0.1"
    rollback(mlflow_store, kept)
    actions = [(entry.action, entry.who == "unknown", entry.after) for entry in mlflow_store.state(kept).entries[-2:]]
    assert actions == [("outside", True, "1.0.1"), ("rollback", False, "1.0.0")]
    assert client.get_registered_model(kept).aliases == {"champion": "1"}
    client.delete_model_version(kept, second.version)
    found = mlflow_store.findings(kept)
    assert [(finding.where, finding.level) for finding in found] == [("1.0.1", "damage")]
    assert "was deleted there" in found[0].problem
    forget(client, kept, 2)
    assert ("history", "line 2 is missing") in [(each.where, each.problem) for each in mlflow_store.findings(kept)]


def test_two_machines_at_the_same_time_are_reported(mlflow_store, kept, client):
    line = client.get_registered_model(kept).tags
    text = next(value for key, value in line.items() if key.startswith("mlsys.history.000002."))
    other = text.replace('"who": "', '"who": "another-')
    client.set_registered_model_tag(kept, "mlsys.history.000002.other", other)
    found = mlflow_store.findings(kept)
    assert [(each.where, each.level) for each in found] == [("history", "damage")]
    assert "line 2 is duplicated" in found[0].problem


def test_a_long_line_is_shortened(mlflow_store, runs, client, gate):
    name = f"kept{next(NUMBER)}"
    add(mlflow_store, runs.first, name)
    promote(mlflow_store, Reference(name), gate, reason="because " * 1000)
    entry = mlflow_store.state(name).entries[-1]
    assert (entry.action, len(entry.reason)) == ("promote", 1000)
    assert all(len(value) < 5000 for value in client.get_registered_model(name).tags.values())


def test_reading_creates_no_database(tmp_path):
    with pytest.raises(RegistryError, match=r"Database not found: .*mlflow\.db"):
        MlflowStore(f"sqlite:///{tmp_path}/mlflow.db").names()
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_an_error_without_the_password():
    with pytest.raises(RegistryError, match=r"MLflow at http://ann:\*\*\*@127\.0\.0\.1:1: .*refused") as caught:
        MlflowStore("http://ann:secret@127.0.0.1:1").names()
    assert "secret" not in str(caught.value)
