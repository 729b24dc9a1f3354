"""Stand-in W&B server that implements the parts of its protocol for reading runs and their artifacts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef01234567"
PROJECT = {"__typename": "Project", "id": "p", "internalId": "p", "name": "leads", "entity": {"name": "ann"}}


@dataclass
class StoredRun:
    """A run on the server, with the files of its artifact, if any."""

    id: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    state: str = "finished"
    files: Mapping[str, bytes] = field(default_factory=dict)


class ReadingServer(ThreadingHTTPServer):
    """Serves runs of the project ann/leads."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored: list[StoredRun] = []
        self.operations: list[str] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReadingServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        _, kind, identity, *rest = self.path.split("/")
        if kind == "manifest":
            self._answer(json.dumps(self._manifest(identity)).encode())
        else:
            (run,) = [run for run in self.server.stored if run.id == identity]
            self._answer(run.files["/".join(rest)])

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data
        query = json.loads(data) if self.path.endswith("/graphql") else {"query": ""}
        name = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
        operation = name[1] if name else "?"
        self.server.operations.append(operation)
        answer = {"data": self._graphql(operation, query.get("variables") or {})}
        self._answer(json.dumps(answer).encode(), self.server.status)

    def _answer(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _graphql(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        page = {"endCursor": None, "hasNextPage": False, "__typename": "PageInfo"}
        match operation:
            case "Viewer" | "GetDefaultEntity":
                person = {"id": "u", "entity": "ann", "username": "ann", "email": "a@b.c", "flags": "{}"}
                return {"viewer": {**person, "teams": {"edges": []}}}
            case "Runs":
                if given["project"] != "leads":
                    return {"project": None}
                edges = [{"node": _run(run), "cursor": run.id} for run in self.server.stored]
                runs = {"totalCount": len(edges), "edges": edges, "pageInfo": page}
                return {"project": {"internalId": "1", "runCount": len(edges), "readOnly": False, "runs": runs}}
            case "RunOutputArtifacts":
                edges = [{"node": _artifact(run)} for run in self.server.stored if run.id == given["run"] and run.files]
                return {"project": {"run": {"artifacts": {"totalCount": len(edges), "edges": edges, "pageInfo": page}}}}
            case "GetArtifactMembershipFileUrls":
                (run,) = [run for run in self.server.stored if given["collection"] == f"run-{run.id}"]
                nodes = [{"name": name, "directUrl": f"{self.server.url}/file/{run.id}/{name}"} for name in run.files]
                files = {"pageInfo": page, "edges": [{"node": {"__typename": "File", **node}} for node in nodes]}
                membership = {"artifactMembership": {"files": files}, "__typename": "ArtifactSequence"}
                return {"project": {"artifactCollection": membership}}
            case "FetchArtifactManifest":
                url = f"{self.server.url}/manifest/{given['id'].removeprefix('a-')}"
                return {"artifact": {"currentManifest": {"file": {"directUrl": url}}}}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
        return {}

    def _manifest(self, identity: str) -> dict[str, Any]:
        (run,) = [run for run in self.server.stored if run.id == identity]
        contents = {
            name: {"digest": base64.b64encode(hashlib.md5(data).digest()).decode(), "size": len(data)}
            | {"birthArtifactID": f"a-{run.id}"}
            for name, data in run.files.items()
        }
        layout = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
        return {"version": 1, **layout, "contents": contents}


def _run(run: StoredRun) -> dict[str, Any]:
    config = {key: {"value": value} for key, value in run.config.items()}
    return {
        "id": f"gid-{run.id}", "projectId": "1", "name": run.id, "displayName": run.name, "state": run.state,
        "config": json.dumps(config), "summaryMetrics": json.dumps(run.summary), "systemMetrics": "{}", "tags": [],
        "sweepName": None, "group": None, "jobType": "train", "commit": None, "readOnly": False,
        "createdAt": "2026-11-20T10:00:00", "heartbeatAt": "2026-11-20T10:00:00", "description": "", "notes": None,
        "historyLineCount": 0, "user": {"name": "ann", "username": "ann"}, "historyKeys": None,
    }  # fmt: skip


def _artifact(run: StoredRun) -> dict[str, Any]:
    sequence = {"__typename": "ArtifactSequence", "id": "s", "name": f"run-{run.id}", "project": PROJECT}
    return {
        "__typename": "Artifact", "id": f"a-{run.id}", "artifactSequence": sequence, "versionIndex": 0,
        "artifactType": {"name": "run"}, "description": None, "metadata": None, "ttlDurationSeconds": -2,
        "ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 1, "digest": "d",
        "commitHash": "c", "fileCount": len(run.files), "createdAt": "2026-11-20T10:00:00", "updatedAt": None,
        "aliases": [],
    }  # fmt: skip


@contextmanager
def serving() -> Iterator[ReadingServer]:
    """Run a server within this context."""
    server = ReadingServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
