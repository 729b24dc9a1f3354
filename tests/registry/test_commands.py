"""The commands, on every kind of registry."""

import itertools

import pytest

from mlsys.errors import ConfigError, RegistryError
from mlsys.registry.commands import add, promote, remove_alias, rollback, set_alias
from mlsys.registry.names import Reference
from tests.registry.small import write_run

# SQLAlchemy warns about options that MLflow's own tables use.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NUMBER = itertools.count()


@pytest.fixture
def name():
    """A name that no other test uses, because tests share one server."""
    return f"leads{next(NUMBER)}"


def test_the_lifecycle_of_a_model(store, name, runs, gate):
    assert add(store, runs.first, name, reason="a start").version == "1.0.0"
    assert add(store, runs.first, name).bump is None  # added before
    assert promote(store, Reference(name), gate).is_champion
    assert add(store, runs.again, name).version == "1.0.1"
    assert add(store, runs.tuned, name).version == "1.1.0"
    poor = add(store, runs.poor, name)
    assert (poor.version, poor.bump.reasons) == ("2.0.0", ("the input seats was added",))

    assert promote(store, Reference(name, version="1.1.0"), gate).is_champion
    refused = promote(store, Reference(name), gate)
    assert [check.check for check in refused.gate.checks if not check.passed] == ["roc_auc"]
    assert store.state(name).champion == "1.1.0"
    forced = promote(store, Reference(name), gate, reason="they asked for it", force=True)
    assert forced.entry.details["forced"] is True
    assert store.state(name).champion == "2.0.0"

    rollback(store, name, reason="it was bad")
    assert store.state(name).champion == "1.1.0"
    rollback(store, name)
    with pytest.raises(RegistryError, match="no previous champion"):
        rollback(store, name)
    set_alias(store, Reference(name), "challenger")
    assert set_alias(store, Reference(name, version="2.0.0"), "challenger") is None
    assert store.state(name).aliases == {"champion": "1.0.0", "challenger": "2.0.0"}
    remove_alias(store, name, "challenger")

    history = [
        (entry.action, entry.alias, entry.before, entry.after, entry.reason) for entry in store.state(name).entries
    ]
    assert history == [
        ("add", None, None, "1.0.0", "a start"),
        ("promote", "champion", None, "1.0.0", None),
        ("add", None, "1.0.0", "1.0.1", None),
        ("add", None, "1.0.1", "1.1.0", None),
        ("add", None, "1.1.0", "2.0.0", None),
        ("promote", "champion", "1.0.0", "1.1.0", None),
        ("promote", "champion", "1.1.0", "2.0.0", "they asked for it"),
        ("rollback", "champion", "2.0.0", "1.1.0", "it was bad"),
        ("rollback", "champion", "1.1.0", "1.0.0", None),
        ("alias", "challenger", None, "2.0.0", None),
        ("unalias", "challenger", "2.0.0", None, None),
    ]
    assert all("@" in entry.who for entry in store.state(name).entries)
    assert store.findings(name) == []
    with store.opened(store.state(name), "2.0.0") as run:
        assert run.schema == runs.poor.schema
    assert name in store.names()


def test_unknown_models_versions_and_aliases(store, name, runs, gate):
    with pytest.raises(RegistryError, match=rf"Model '{name}' not found.*add latest"):
        promote(store, Reference(name), gate)
    add(store, runs.first, name)
    with pytest.raises(RegistryError, match=r"has no 1\.0\.1\. It has 1\.0\.0 \(closest: 1\.0\.0\)"):
        promote(store, Reference(name, version="1.0.1"), gate)
    with pytest.raises(RegistryError, match="has no challenger"):
        remove_alias(store, name, "challenger")
    with pytest.raises(RegistryError, match="it never had one"):
        rollback(store, name)


def test_only_promote_and_rollback_move_the_champion(folder_store):
    with pytest.raises(ConfigError, match="promote"):
        set_alias(folder_store, Reference("leads"), "champion")
    with pytest.raises(ConfigError, match="promote"):
        remove_alias(folder_store, "leads", "champion")


def test_bump_can_only_raise_the_part(folder_store, runs):
    assert add(folder_store, runs.first, "leads", bump="patch").version == "1.0.0"
    assert add(folder_store, runs.again, "leads", bump="minor").version == "1.1.0"
    with pytest.raises(ConfigError, match=r"allowed: minor or major, because model\.max_depth is 4, was 3"):
        add(folder_store, runs.tuned, "leads", bump="patch")
    assert add(folder_store, runs.tuned, "leads", bump="major").version == "2.0.0"
    assert list(folder_store.state("leads").added) == ["1.0.0", "1.1.0", "2.0.0"]


def test_a_run_without_a_model_cannot_be_added(folder_store, tmp_path):
    with pytest.raises(RegistryError, match="trial run"):
        add(folder_store, write_run(tmp_path / "trial", status="trial"), "leads")
    assert folder_store.names() == []


def test_a_promotion_that_was_overtaken_is_compared_with_the_new_champion(folder_store, runs, gate, monkeypatch):
    from mlsys.registry import commands

    for run in (runs.first, runs.again, runs.tuned):
        add(folder_store, run, "leads")
    promote(folder_store, Reference("leads", version="1.0.0"), gate)
    evaluate_gate = commands.evaluate_gate

    def overtaken(store, state, version, settings):
        if state.champion == "1.0.0":
            monkeypatch.setattr(commands, "evaluate_gate", evaluate_gate)
            promote(folder_store, Reference("leads", version="1.0.1"), gate)
        return evaluate_gate(store, state, version, settings)

    monkeypatch.setattr(commands, "evaluate_gate", overtaken)
    done = promote(folder_store, Reference("leads", version="1.1.0"), gate)
    assert (done.gate.champion, done.entry.before) == ("1.0.1", "1.0.1")


def test_a_damaged_version_cannot_become_champion(folder_store, runs, gate):
    from mlsys.errors import RunError

    for run, version in ((runs.first, "1.0.0"), (runs.again, "1.0.1")):
        add(folder_store, run, "leads")
        promote(folder_store, Reference("leads", version=version), gate)
    card = folder_store.root / "leads" / "versions" / "1.0.0" / "card.md"
    card.chmod(0o644)
    card.write_text("edited")
    with pytest.raises(RunError, match=r"changed: card\.md"):
        rollback(folder_store, "leads")
    with pytest.raises(RunError, match=r"changed: card\.md"):
        promote(folder_store, Reference("leads", version="1.0.0"), gate, reason="now", force=True)
    assert folder_store.state("leads").champion == "1.0.1"
