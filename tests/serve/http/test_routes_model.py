"""Choosing the model: registry references, following an alias, swapping, and the shadow."""

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mlsys.errors import MlsysError
from mlsys.registry.commands import add, set_alias
from mlsys.registry.folder_store import FolderStore
from mlsys.registry.names import Reference
from mlsys.registry.store import Draft
from serve.errors import RequestError
from serve.http.auth import read_keys
from serve.http.service import apply_requested_models
from serve.keys import add_key
from serve.metrics import Metrics
from serve.model_reference import resolve_model, shadow_reference
from serve.predictions import read_predictions
from serve.processes.alias_watcher import AliasWatcher, resolve_models
from serve.processes.http_worker import build_service
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import Models, SharedState
from tests.serve.conftest import write_run

REFERENCE = "registry:conversion@champion"


@pytest.fixture
def registry(tmp_path, run, other_run):
    """A registry whose champion is 1.0.0 and whose challenger is another version."""
    store = FolderStore(tmp_path / "registry")
    first, second = (add(store, each, "conversion").version for each in (run, other_run))
    champion(store, first)
    set_alias(store, Reference.parse(f"conversion@{second}"), "challenger")
    return store


def champion(store, version):
    store.move("conversion", lambda state: Draft("promote", "champion", state.champion, version, "a test", {}))


def test_versions_of_run_directories_and_registered_models(registry, run):
    target = resolve_model(str(run.path), registry.root)
    assert (target.name, len(target.version)) == (run.name, 12)
    target = resolve_model(REFERENCE, registry.root)
    assert (target.name, target.version) == ("conversion", "1.0.0")
    assert Path(target.path).is_relative_to(registry.root)
    with pytest.raises(MlsysError, match="champion"):
        resolve_model("registry:conversion@champoin", registry.root)


def test_a_plain_word_as_shadow_is_an_alias_of_the_same_name():
    assert shadow_reference("challenger", "registry:conversion") == "registry:conversion@challenger"
    assert shadow_reference("registry:other", "registry:conversion") == "registry:other"
    assert shadow_reference("outputs/a", "registry:conversion") == "outputs/a"


def test_the_watcher_requests_another_model_only_when_the_alias_moves(registry, tmp_path, caplog):
    settings = Settings(run=REFERENCE, registry=str(registry.root), follow=True, poll_interval=1e-9)
    shared_state, models = SharedState(tmp_path), resolve_models(settings)
    shared_state.request(models)
    watcher = AliasWatcher(settings, shared_state, models)
    stamp = shared_state.stamp()
    watcher.poll(now=False)
    assert shared_state.stamp() == stamp
    pinned = Models(resolve_model("registry:conversion@1.0.0", registry.root))
    shared_state.request(pinned)
    watcher.poll()
    assert shared_state.requested() == pinned  # requested by /model/reload: it stays until the alias moves
    moved = registry.state("conversion").latest
    champion(registry, moved)
    watcher.poll()
    assert shared_state.requested().champion.version == moved
    (registry.root / "conversion" / "history.jsonl").write_text("damaged\n")
    for _ in range(3):
        watcher.poll()
    assert shared_state.requested().champion.version == moved
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1


@pytest.fixture
def admin(tmp_path):
    keys = tmp_path / "keys.txt"
    headers = {"authorization": f"Bearer {add_key(keys, 'ops', 'admin')}"}
    return read_keys(keys), headers


def test_reload_takes_a_version_or_resolves_the_alias_again(registry, inside_of, admin, record):
    keys, headers = admin
    inside = inside_of(REFERENCE, registry=str(registry.root), keys=keys)
    latest = registry.state("conversion").latest

    def reload(body):
        return inside.post("/model/reload", body, headers=headers)

    def version():
        return inside.post("/predict", record, headers=headers).json()["model"]["version"]

    assert reload({"version": latest}).json()["changed"]
    assert version() == latest
    assert reload({}).json()["changed"]
    assert version() == "1.0.0"
    assert not reload({}).json()["changed"]
    champion(registry, latest)
    assert inside.post("/model/reload", headers=headers).json()["model"]["version"] == latest
    rejected = reload({"version": "9.9.9"})
    assert (rejected.status_code, rejected.json()["error"]) == (409, "not_reloaded")
    assert version() == latest
    for body in ([], {"run": "/etc"}, {"version": 1}):
        assert reload(body).status_code == 422


@pytest.fixture
def workers(registry, tmp_path):
    """Two workers of a service that serves 1.0.0, and the models of both versions."""
    shared_state, first = SharedState(tmp_path), Models(resolve_model("registry:conversion@1.0.0", registry.root))
    shared_state.request(first)
    latest = registry.state("conversion").latest
    second = Models(resolve_model(f"registry:conversion@{latest}", registry.root))
    settings = Settings(run=REFERENCE, registry=str(registry.root), log_url="none", batch_workers=0)
    services = []
    for _ in range(2):
        metrics = Metrics(CollectorRegistry())
        slot = ModelSlot(first, metrics.set_model)
        services.append(build_service(settings, slot, metrics, shared_state=shared_state))
    yield services, first, second
    for service in services:
        service.log.close()


def reload(service, models, ticket=None):
    return asyncio.run(service.swap(models, service.take_ticket() if ticket is None else ticket))


def settle(services):
    for service in services:
        apply_requested_models(service.slot, service.shared_state, service.metrics)
    return [service.slot.models for service in services]


def test_the_last_of_two_reloads_wins_whichever_worker_takes_it(workers):
    services, first, second = workers
    assert reload(services[0], second)
    assert reload(services[1], first)  # which it still serves, as it has not taken over the other request yet
    assert settle(services) == [first, first]
    assert not reload(services[0], first)


def test_a_reload_that_takes_longer_does_not_undo_a_later_one(workers, monkeypatch):
    services, first, second = workers
    early = services[0].take_ticket()
    load = ModelSlot._load_champion

    def load_slowly(slot, resolved):
        reload(services[1], first)  # meanwhile
        return load(slot, resolved)

    monkeypatch.setattr(ModelSlot, "_load_champion", load_slowly)
    with pytest.raises(RequestError, match=r"A later request chose conversion 1\.0\.0"):
        reload(services[0], second, early)
    monkeypatch.setattr(ModelSlot, "_load_champion", load)
    with pytest.raises(RequestError, match="A later request"):
        reload(services[0], second, early)
    assert settle(services) == [first, first]


def test_models_lists_the_registry(registry, inside_of, run, inside):
    found = inside_of(REFERENCE, registry=str(registry.root)).get("/models").json()
    origin = "/".join(run.path.parts[-2:])  # not the copy's own folder, which only repeats the version
    assert found["serving"] == {"name": "conversion", "version": "1.0.0", "run": origin}
    assert [each["version"] for each in found["models"][0]["versions"]] == [
        "1.0.0",
        registry.state("conversion").latest,
    ]
    assert found["models"][0]["aliases"]["champion"] == "1.0.0"
    assert inside.get("/models").json()["models"] == []


def test_a_model_that_cannot_be_loaded_is_reported_and_the_old_one_stays(inside_of, run, tmp_path, caplog):
    inside = inside_of(run)
    broken = write_run(tmp_path / "broken").path
    (broken / "threshold.json").write_text("{}")
    slot = inside.service.slot
    with pytest.raises(MlsysError, match=r"threshold\.json"):
        slot.swap(Models(resolve_model(str(broken), tmp_path)))
    assert slot.champion.resolved.path == str(run.path)
    info = inside.get("/model/info").json()
    assert info["last_failed_swap"]["reference"] == str(broken)
    assert "the swap failed; still serving" in caplog.text


def test_the_shadow_is_scored_and_logged_but_not_returned(inside_of, run, other_run, record, tmp_path):
    url = f"sqlite:///{tmp_path}/predictions.db"
    inside = inside_of(run, shadow=str(other_run.path), log_url=url)
    alone = inside_of(run).post("/predict", record).json()
    answer = inside.post("/predict?id=17&as_of=2020-02-24", record).json()
    batch = inside.post("/predict/batch", {"records": [record] * 2}).json()
    assert answer["probability"] == alone["probability"]
    assert answer["model"] == alone["model"]
    inside.service.log.close()
    logged = read_predictions(url, shadow=None)
    one = logged[logged["request_id"] == answer["request_id"]]
    assert one["id"].tolist() == ["17", "17"]
    assert sorted(one["shadow"]) == [False, True]
    assert one[~one["shadow"]]["probability"].tolist() == [answer["probability"]]
    assert len(logged[logged["request_id"] == batch["request_id"]]) == 4
    assert inside.metric("mlsys_serve_shadow_difference_count") == 3
    assert inside.metric("mlsys_serve_probability_count") == 3


def test_a_durable_log_that_cannot_be_written_gives_503(inside_of, run, record, tmp_path, caplog):
    inside = inside_of(run, log_url=f"sqlite:///{tmp_path}/predictions.db", log_durable=True)
    answer = inside.post("/predict", record)
    assert answer.status_code == 200
    assert len(read_predictions(f"sqlite:///{tmp_path}/predictions.db")) == 1
    assert inside.post("/predict/batch", {"records": [record] * 3}).status_code == 200
    assert len(read_predictions(f"sqlite:///{tmp_path}/predictions.db")) == 4
    inside.service.log.close()
    for path, body in (("/predict", record), ("/predict/batch", {"records": [record]})):
        rejected = inside.post(path, body)
        assert (rejected.status_code, rejected.json()["error"]) == (503, "log_unavailable")
        assert rejected.headers["retry-after"] == "1"


def test_features_are_logged_if_enabled(inside_of, run, record, tmp_path):
    url = f"sqlite:///{tmp_path}/predictions.db"
    inside = inside_of(run, log_url=url, log_features=True)
    inside.post("/predict", record)
    csv = "users,actions,industry,account\n1,2,Retail,7\n"
    inside("POST", "/predict/batch", content=csv, headers={"content-type": "text/csv"})
    inside.service.log.close()
    logged = read_predictions(url, features=True)
    assert logged["features"].tolist() == [record, {"users": 1.0, "actions": 2.0, "industry": "Retail"}]
    assert logged["id"].tolist()[1] == "7"
