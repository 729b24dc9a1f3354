"""Two services follow an alias under traffic: promotions lose no request or logged prediction, and mix no models."""

import concurrent.futures
import http.client
import json
import threading
from collections import Counter

import pytest

from mlsys.registry.commands import add
from mlsys.registry.folder_store import FolderStore
from mlsys.registry.store import Draft
from serve.predictions import read_predictions
from tests.serve.conftest import RECORD
from tests.waiting import HANG

PROMOTIONS = 4
CLIENTS = 2  # for each service


class Traffic:
    """Clients that send one record after another to a service until stopped."""

    def __init__(self, service):
        self.service = service
        self.answers, self.failed, self.versions = [], [], Counter()

    def run(self, stop):
        connection = http.client.HTTPConnection(self.service.url.removeprefix("http://"), timeout=HANG)
        body, headers = json.dumps(RECORD), {"content-type": "application/json"}
        while not stop.is_set():
            try:
                connection.request("POST", "/predict", body, headers)
                answer = connection.getresponse()
                found = json.loads(answer.read())
            except OSError as error:
                self.failed.append(repr(error))
                continue
            if answer.status != 200:
                self.failed.append(found)
                continue
            version = found["model"]["version"]
            self.answers.append((found["request_id"], version, found["probability"]))
            self.versions[version] += 1
        connection.close()


@pytest.fixture
def registry(tmp_path, run, other_run):
    """A registry with two versions of a model, the first of which is the champion."""
    store = FolderStore(tmp_path / "registry")
    versions = [add(store, each, "conversion").version for each in (run, other_run)]
    promote(store, versions[0])
    return store, versions


def promote(store, version):
    store.move("conversion", lambda state: Draft("promote", "champion", state.champion, version, "a test", {}))


def test_promotions_lose_nothing(start, registry, tmp_path):
    store, versions = registry
    folders = [tmp_path / "one", tmp_path / "two"]
    options = ("registry:conversion", "--registry", store.root, "--follow", "--poll-interval", 0.1, "--workers", 2)
    for folder in folders:
        folder.mkdir()
    stop = threading.Event()
    with start(folders[0], *options) as first, start(folders[1], *options) as second:
        traffic = [Traffic(first), Traffic(second)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tasks = [pool.submit(each.run, stop) for each in traffic for _ in range(CLIENTS)]
            try:
                for number in range(1, PROMOTIONS + 1):
                    version = versions[number % 2]
                    promote(store, version)
                    enough = [each.versions[version] + 100 for each in traffic]
                    for each, count in zip(traffic, enough, strict=True):
                        each.service.until(lambda: each.versions[version] > count)  # noqa: B023 - at once
            finally:
                stop.set()
            for task in tasks:
                task.result()
    for each, folder in zip(traffic, folders, strict=True):
        assert each.failed == []
        assert len({(version, probability) for _, version, probability in each.answers}) == 2
        logged = read_predictions(f"sqlite:///{folder}/predictions.db")
        assert Counter(zip(logged["request_id"], logged["version"], strict=True)) == Counter(
            (request, version) for request, version, _ in each.answers
        )
