"""Stand-in W&B server that implements the parts of its protocol for writing runs and artifacts and `wandb sync`."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import HANG

KEY = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Bucket:
    """One run on the server."""

    config: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    files: set[str] = field(default_factory=set)
    times_begun: int = 0
    first_offsets: list[int] = field(default_factory=list)


class WandbServer(ThreadingHTTPServer):
    """Keeps runs and artifacts in memory.

    Attributes
    ----------
    die_at : str
        Name of a GraphQL operation or ``file_stream``; from its first request on the server stops answering.
    refuses : str
        Name of a GraphQL operation that gets an error.
    status : int
        HTTP status of every response.
    valid_key : str
        API key that it accepts.
    """

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, Bucket] = {}
        self.artifacts: dict[str, str] = {}
        self.operations: list[str] = []
        self.errors: list[BaseException | None] = []
        self.die_at, self.refuses, self.status, self.valid_key = "", "", 200, KEY
        self.dead, self.alive = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def revive(self) -> None:
        """Answer again."""
        self.die_at = ""
        self.dead.clear()
        self.alive.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep errors of handlers, except broken connections: these tests kill clients."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.errors.append(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/graphql"):
            query = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
            operation = name[1] if name else "?"
            self._meet(operation)
            if operation == self.server.refuses:
                self.send_error(403)
                return
            variables = query.get("variables") or {}
            self._answer({"data": self._graphql(operation, variables.get("input") or variables)})
        elif self.path.endswith("/file_stream"):
            self._meet("file_stream")
            self._stream(json.loads(body))
            self._answer({})
        else:
            self._answer({})

    def _meet(self, operation: str) -> None:
        self.server.operations.append(operation)
        if operation == self.server.die_at:
            self.server.dead.set()
        if self.server.dead.is_set():
            self.server.alive.wait(HANG)  # keeps the connection open without an answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _answer(self, content: dict[str, Any]) -> None:
        if self.server.dead.is_set():
            self.server.alive.wait(HANG)
        data = json.dumps(content).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _graphql(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": arguments.get("project", "mlsys"), "entity": {"id": "e", "name": "ann"}}
        match operation:
            case "Viewer":
                viewer = {"id": "u", "entity": "ann", "username": "ann", "email": "a@b.c", "flags": "{}"}
                return {"viewer": {**viewer, "teams": {"edges": []}} if self._is_known() else None}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "ArtifactType":
                return {"project": None}
            case "UpsertBucket":
                return {"upsertBucket": self._upsert(arguments, project)}
            case "CreateRunFiles":
                files = arguments["files"]
                self.server.runs[arguments["run"]].files.update(files)
                named = [{"name": name, "uploadUrl": f"{self.server.url}/put/{name}"} for name in files]
                return {"createRunFiles": {"runID": arguments["run"], "uploadHeaders": [], "files": named}}
            case "CreateArtifact":
                return {"createArtifact": {"artifact": self._artifact(arguments)}}
            case "CreateArtifactManifest":
                file = {"id": "f", "name": "m", "uploadUrl": f"{self.server.url}/put/manifest", "uploadHeaders": []}
                return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
            case "UpdateArtifactManifest":
                file = {"id": "f", "name": "m", "uploadUrl": f"{self.server.url}/put/manifest", "uploadHeaders": []}
                return {"updateArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
            case "CreateArtifactFiles":
                edges = [
                    {
                        "node": {
                            "id": str(number), "name": spec["name"], "displayName": spec["name"], "uploadUrl": None,
                            "uploadHeaders": [], "uploadMultipartUrls": None, "storagePath": "",
                            "artifact": {"id": spec["artifactID"]},
                        }
                    }
                    for number, spec in enumerate(arguments["artifactFiles"])
                ]  # fmt: skip
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": arguments["artifactID"], "digest": "d"}}}
        return {}

    def _is_known(self) -> bool:
        arguments = base64.b64decode((self.headers.get("Authorization") or " ").split(" ")[1]).decode()
        return arguments == f"api:{self.server.valid_key}"

    def _upsert(self, arguments: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
        name = arguments["name"]
        bucket = self.server.runs.setdefault(name, Bucket())
        new = bucket.times_begun == 0
        if (
            arguments.get("groupName") is not None
            or arguments.get("jobType") is not None
            or arguments.get("displayName")
        ):
            bucket.times_begun += 1
        bucket.fields |= {key: value for key, value in arguments.items() if value is not None}
        if arguments.get("config"):
            bucket.config = json.loads(arguments["config"])
        answer = {
            "id": f"id-{name}", "name": name, "displayName": arguments.get("displayName"), "config": "{}",
            "historyLineCount": 0, "project": project, "sweepName": None, "description": None,
        }  # fmt: skip
        return {"bucket": answer, "inserted": new}

    def _artifact(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = arguments["artifactCollectionName"]
        self.server.artifacts[str(name)] = arguments["digest"]
        latest = {"id": "l", "versionIndex": 0}
        return {
            "id": f"a-{name}", "state": "PENDING", "digest": arguments["digest"],
            "artifactSequence": {"id": "s", "latestArtifact": latest},
        }  # fmt: skip

    def _stream(self, sent: dict[str, Any]) -> None:
        bucket = self.server.runs[self.path.split("/")[-2]]
        for name, part in (sent.get("files") or {}).items():
            lines = [json.loads(line) for line in part["content"]] if name.endswith((".jsonl", ".json")) else []
            if name == "wandb-history.jsonl":
                if len(bucket.first_offsets) < bucket.times_begun:
                    bucket.first_offsets.append(part["offset"])
                bucket.history |= {part["offset"] + number: line for number, line in enumerate(lines)}
            elif name == "wandb-summary.json":
                bucket.summary = lines[-1]
        if sent.get("complete"):
            bucket.exit_code = sent["exitcode"]


@contextmanager
def serving() -> Iterator[WandbServer]:
    """Run a server within this context."""
    server = WandbServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.revive()
        server.shutdown()
        server.server_close()
        thread.join()
