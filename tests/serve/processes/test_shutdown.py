"""Stopping: nothing hangs, requests in progress are answered, and a load balancer can notice before."""

import contextlib
import http.client
import json
import socket
from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import RECORD
from tests.serve.http.test_fast_path import request
from tests.waiting import HANG, wait_until

QUICK = ("--log-url", "none", "--workers", 2)


def connect(service):
    return socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=HANG)


def refuses(service):
    try:
        connect(service).close()
    except ConnectionRefusedError:
        return True
    return False


def answer_of(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read()), answer.headers


def test_new_connections_are_refused_while_a_request_is_finished(start, run, tmp_path):
    with start(tmp_path, run.path, *QUICK) as service, connect(service) as open_connection:
        whole = request({"records": [RECORD]}, path="/predict/batch")
        open_connection.sendall(whole[:-5])
        service.until(lambda: "mlsys_serve_in_flight 2.0" in service.client.get("/metrics").text)
        service.process.terminate()
        service.until(lambda: refuses(service))
        open_connection.sendall(whole[-5:])
        status, body, headers = answer_of(open_connection)
        assert (status, len(body["predictions"]), headers["connection"]) == (200, 1, "close")
        assert service.process.wait(HANG) == 0


def test_a_request_that_is_cut_off_gets_an_answer_and_one_line(start, run, tmp_path):
    with start(tmp_path, run.path, *QUICK, "--shutdown-timeout", 0.5) as service, connect(service) as open_connection:
        open_connection.sendall(request({"records": [RECORD]}, path="/predict/batch", x_request_id="slow")[:-5])
        service.until(lambda: "mlsys_serve_in_flight 2.0" in service.client.get("/metrics").text)
        service.process.terminate()
        status, body, headers = answer_of(open_connection)
        assert (status, body["error"], headers["connection"], headers["retry-after"]) == (503, "stopping", "close", "1")
        assert service.process.wait(HANG) == 0
        (line,) = [line for line in service.log.read_text().splitlines() if "slow" in line]
        assert {"status": 503, "error": "stopping", "path": "/predict/batch"}.items() <= json.loads(line).items()
        assert "Traceback" not in service.log.read_text()
        assert {line["level"] for line in service.lines()} == {"info"}


def test_a_load_balancer_can_notice_before(start, run, tmp_path, record):
    with start(tmp_path, run.path, *QUICK, "--drain-delay", HANG) as service:
        try:
            service.process.terminate()
            ready = service.until(lambda: not_ready(service))
            assert (ready.json(), ready.headers["connection"]) == ({"status": "stopping"}, "close")
            answer = httpx.post(f"{service.url}/predict", json=record, timeout=HANG)  # still served
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            children = service.children()
        finally:
            service.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the end of orphaned workers")


def not_ready(service):
    answer = httpx.get(f"{service.url}/ready", timeout=HANG)
    return answer if answer.status_code == 503 else None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_is_not_shared_with_another_service(start, run, tmp_path, workers):
    with start(tmp_path, run.path, "--log-url", "none", "--workers", workers) as service, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(service.url.rpartition(":")[2])))


def test_the_connections_of_one_client_are_spread_over_workers(start, run, tmp_path):
    def both_answer(service):
        with connect(service) as connection:
            connection.sendall(request(x_request_id="first"))
            assert answer_of(connection)[0] == 200
        return len({line["pid"] for line in service.lines() if line.get("request_id") == "first"}) == 2

    with start(tmp_path, run.path, *QUICK) as service, contextlib.ExitStack() as stack:
        service.until(lambda: both_answer(service))  # the service is ready once one worker is
        connections = [stack.enter_context(connect(service)) for _ in range(40)]
        for number, connection in enumerate(connections):
            connection.sendall(request(x_request_id=f"n-{number}"))
            assert answer_of(connection)[0] == 200

        def lines():
            return [line for line in service.lines() if str(line.get("request_id", "")).startswith("n-")]

        service.until(lambda: len(lines()) == len(connections))
        counts = [sum(line["pid"] == pid for line in lines()) for pid in {line["pid"] for line in lines()}]
        assert len(counts) == 2
        assert min(counts) >= 5  # of 40: by chance it is less once in five million times
