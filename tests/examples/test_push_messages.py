"""push_messages: over real HTTP, to the example's own receiver and to bad ones."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.waiting import until

from taskq import RunFailed
from taskq.testing import Fleet

EXAMPLES = Path(__file__).parents[2] / "examples"
Deliver = Callable[..., dict[str, Any]]


@pytest.fixture
def push(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("push_messages")


@pytest.fixture
def deliver(push: ModuleType, taskq_fleet: Fleet) -> Deliver:
    """Runs the task on an outbox, and returns what it returned."""
    return lambda outbox, **options: taskq_fleet.run(push.push_messages, outbox=str(outbox), **options).result


@pytest.fixture
def outbox(example: Callable[[str], ModuleType], tmp_path: Path) -> Path:
    """The sample outbox, cut to 12 messages."""
    example("make_data").main([str(tmp_path), "--only", "outbox"])
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as db, db:
        db.execute("DELETE FROM outbox WHERE id >= 'm-0012'")
    return tmp_path / "outbox.db"


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute(query).fetchall()


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A receiver that answers with these, the last one for ever; yields its URL and what it got (path, key)."""
    queue, got = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Idempotency-Key"]))
            self.send_response(queue.pop(0) if len(queue) > 1 else queue[0])
            self.end_headers()
            self.wfile.write(b"because I say so")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/in?box=1", got
        finally:
            server.shutdown()
            thread.join()


def test_each_message_arrives_once_at_the_receiver_of_the_run(deliver: Deliver, outbox: Path) -> None:
    sent = dict(rows(outbox, "SELECT id, body FROM outbox"))
    assert deliver(outbox) == {"delivered": 12, "rejected": [], "left": 0}
    assert dict(rows(outbox.parent / "received.db", "SELECT id, body FROM received")) == sent
    assert rows(outbox, "SELECT DISTINCT state, attempts, last_error FROM outbox") == [("delivered", 1, None)]
    assert deliver(outbox)["delivered"] == 0


def test_they_go_in_order_of_time_and_no_more_than_wanted(deliver: Deliver, outbox: Path) -> None:
    with answering(201) as (url, got):
        assert deliver(outbox, url=url, limit=5)["left"] == 7
    assert got == [("/in?box=1", f"m-{number:04d}") for number in range(5)]


def test_a_rejected_message_does_not_hold_up_the_others(deliver: Deliver, outbox: Path) -> None:
    with answering(201, 422, 201) as (url, _):
        done = deliver(outbox, url=url)
    error = f"422 {HTTPStatus(422).phrase}: because I say so"
    assert done == {"delivered": 11, "rejected": [{"id": "m-0001", "error": error}], "left": 0}
    assert rows(outbox, "SELECT id, last_error FROM outbox WHERE state = 'rejected'") == [("m-0001", error)]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_receiver_in_trouble_fails_the_run_and_keeps_the_messages(push: ModuleType, deliver: Deliver, outbox: Path, status: int) -> None:
    with (
        answering(201, 201, status) as (url, got),
        pytest.raises(push.ReceiverUnavailable, match=rf"2 delivered, 0 rejected, 10 left .* {status} "),
    ):
        deliver(outbox, url=url)
    assert len(got) == 5  # after three in a row it gives up
    assert deliver(outbox) == {"delivered": 10, "rejected": [], "left": 0}
    assert rows(outbox, "SELECT sum(attempts) FROM outbox") == [(15,)]


def test_one_hiccup_does_not_stop_the_run(deliver: Deliver, outbox: Path) -> None:
    with answering(503, 201) as (url, _):
        assert deliver(outbox, url=url) == {"delivered": 11, "rejected": [], "left": 1}


def test_nobody_there_fails_the_run(push: ModuleType, deliver: Deliver, outbox: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(push.ReceiverUnavailable, match=r"0 delivered, 0 rejected, 12 left .* ConnectionRefusedError"):
        deliver(outbox, url=f"http://127.0.0.1:{port}/")


def test_a_receiver_that_hangs_is_waited_for_only_so_long(push: ModuleType, deliver: Deliver, outbox: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(push.ReceiverUnavailable, match="TimeoutError"):
        deliver(outbox, url=f"http://127.0.0.1:{server.getsockname()[1]}/", request_timeout=0.05)


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "http://", "nonsense"])
def test_only_http_is_spoken(deliver: Deliver, outbox: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r"no http:// or https:// address"):
        deliver(outbox, url=url)


def test_a_missing_outbox_is_named_and_not_made(deliver: Deliver, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.db"):
        deliver(tmp_path / "nowhere.db")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, runpy, signal, sys
from taskq import TaskContext
module = runpy.run_path(sys.argv[1])
Sender, sent = module["Sender"], []
genuine = Sender.send
def send(self, message, body):
    answer = genuine(self, message, body)
    sent.append(message)
    if len(sent) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
Sender.send = send
module["push_messages"](TaskContext(run="r", task="t", version=1), sys.argv[2], sys.argv[3])
"""


def test_killed_between_answer_and_mark_it_sends_again_and_the_receiver_stores_once(
    push: ModuleType, deliver: Deliver, outbox: Path, tmp_path: Path
) -> None:
    store = tmp_path / "there.db"
    with push.running_receiver(store) as url:
        command = [sys.executable, "-c", KILLED, str(EXAMPLES / "push_messages.py"), str(outbox), url]
        process = subprocess.run(command, check=False, capture_output=True)
        assert process.returncode == -signal.SIGKILL, process.stderr.decode()
        assert rows(outbox, "SELECT count(*) FROM outbox WHERE state = 'delivered'") == [(4,)]
        assert deliver(outbox, url=url)["delivered"] == 8
    assert rows(store, "SELECT count(*), sum(deliveries) FROM received") == [(12, 13)]


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_receiver_answers_each_case(push: ModuleType, tmp_path: Path) -> None:
    with push.running_receiver(tmp_path / "received.db") as url:
        assert post(url, b'{"a": 1}', Idempotency_Key="k1") == (201, {"stored": True})
        assert post(url, b'{"a": 2}', Idempotency_Key="k1") == (200, {"stored": False})
        assert post(url, b"{", Idempotency_Key="k2")[0] == 400
        assert post(url, b"{}")[0] == 400
        assert post(url + "/other", b"{}", Idempotency_Key="k2")[0] == 404
        assert post(url, b"x" * 1_048_577, Idempotency_Key="k2")[0] == 413
        with urllib.request.urlopen(url, timeout=5) as response:
            assert json.load(response) == {"messages": 1, "deliveries": 2}


def test_the_receiver_runs_as_a_program_until_it_is_told_to_stop(outbox: Path, tmp_path: Path, deliver: Deliver) -> None:
    command = [sys.executable, str(EXAMPLES / "push_messages.py"), "receiver", "--port", "0", "--database", str(tmp_path / "sub/r.db")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().split()[2].rstrip(",")
        try:
            assert deliver(outbox, url=url)["delivered"] == 12
        finally:
            process.terminate()
        until(lambda: process.poll() is not None, 10, "the receiver ends")
    assert process.returncode == 0
    assert rows(tmp_path / "sub/r.db", "SELECT count(*) FROM received") == [(12,)]


def test_a_timeout_in_the_midst_keeps_what_was_delivered(push: ModuleType, taskq_fleet: Fleet, outbox: Path) -> None:
    genuine = push.Sender.send

    def slow(self: Any, message: str, body: str) -> Any:
        taskq_fleet.clock.advance("3m")
        return genuine(self, message, body)

    push.Sender.send = slow
    with answering(201) as (url, got), pytest.raises(RunFailed, match="timeout"):
        taskq_fleet.run(push.push_messages, outbox=str(outbox), url=url)
    assert rows(outbox, "SELECT count(*) FROM outbox WHERE state = 'delivered'") == [(3,)] == [(len(got),)]


def test_it_runs_twice_a_minute_and_never_beside_itself(
    push: ModuleType, taskq_fleet: Fleet, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outbox.parent / "var").mkdir()
    outbox.rename(outbox.parent / "var/outbox.db")
    monkeypatch.chdir(outbox.parent)
    taskq_fleet.clock.set("2026-11-22T12:00:00Z")
    taskq_fleet.register(push)
    taskq_fleet.clock.advance("5m")
    taskq_fleet.assert_enqueued("push_messages", times=1)  # nobody has executed it, so that the others are left out
    assert taskq_fleet.drain()[0].result["delivered"] == 12
    taskq_fleet.clock.advance("5m", drain=True)
    assert [run.result["delivered"] for run in taskq_fleet.client.runs("push_messages")] == [*[0] * 10, 12]
