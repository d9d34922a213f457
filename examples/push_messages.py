"""Push messages from an outbox over HTTP to a receiver.

A program writes its messages to the table ``outbox`` of an SQLite file, in the same transaction as what they tell of.
This task POSTs each one that is not delivered yet, oldest first, with its id in the header ``Idempotency-Key``, and marks
it at once. Delivery is at least once: killed between the answer and the mark, the task sends that message again, and the
receiver knows it by its key and stores it once.

- 2xx: delivered. 4xx: rejected, kept with the answer for a person to look at. Else (5xx, 408, 429, timeout, no
  connection): it stays in the outbox for the next run; after three of these in a row the run gives up and fails.

It runs each 30 seconds. Try it; without ``url`` the task starts a receiver of its own for the length of the run::

    python examples/make_data.py                       # writes var/outbox.db, among others
    taskq register examples/push_messages.py
    taskq run push_messages --wait

or with a receiver that stays, in a terminal of its own::

    python examples/push_messages.py receiver --port 8799 --database var/received.db
    taskq run push_messages url=http://127.0.0.1:8799/messages --wait
    curl http://127.0.0.1:8799/messages                # how many it has

Relative paths are relative to the worker's working folder. The task is idempotent.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from taskq import TaskContext, task

GIVE_UP_AFTER = 3
LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
MAX_BODY = 1_048_576
RECEIVED = "CREATE TABLE IF NOT EXISTS received (id TEXT PRIMARY KEY, body TEXT NOT NULL, deliveries INTEGER NOT NULL)"
PENDING = "SELECT id, body FROM outbox WHERE state = 'pending' ORDER BY created_at, id LIMIT ?"
MARK = "UPDATE outbox SET state = ?, attempts = attempts + 1, last_error = ? WHERE id = ?"


class ReceiverUnavailable(Exception):
    """The receiver does not take messages now; what is left stays in the outbox."""


@task(every="30s", overlap="skip", timeout="10m", idempotent=True, labels={"example": "http"})
def push_messages(
    ctx: TaskContext, outbox: str = "var/outbox.db", url: str = "", limit: int = 1000, request_timeout: float = 5.0
) -> dict[str, Any]:
    """POST the pending messages of ``outbox`` to ``url`` and mark what became of each.

    Args:
        ctx: progress goes to the run's log.
        outbox: an SQLite file with the table ``outbox`` (id, body, created_at, state, attempts, last_error).
        url: http:// or https:// address of the receiver; empty: one that is started for this run, beside the outbox.
        limit: how many messages a run takes at most.
        request_timeout: how long one request may take, in seconds.

    Returns:
        How many were delivered and rejected (with their ids and reasons), and how many are left.

    Raises:
        FileNotFoundError: there is no such file.
        ReceiverUnavailable: the receiver did not answer, or asked to come later; what was delivered is marked.
    """
    path = Path(outbox)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.absolute()}; give outbox=/an/absolute/path, or run examples/make_data.py")
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        if url:
            return push(ctx, db, url, limit, request_timeout)
        with running_receiver(path.parent / "received.db") as own:
            ctx.log.info("no url was given: pushing to a receiver of this run at %s", own)
            return push(ctx, db, own, limit, request_timeout)


def push(ctx: TaskContext, db: sqlite3.Connection, url: str, limit: int, timeout: float) -> dict[str, Any]:
    """The task's work on an open outbox."""
    delivered, rejected, misses = 0, [], 0
    with closing(Sender(url, timeout)) as sender:
        for number, (message, body) in enumerate(db.execute(PENDING, (limit,)).fetchall(), 1):
            outcome, answer = sender.send(message, body)
            db.execute(MARK, (outcome, answer or None, message))
            misses = misses + 1 if outcome == "pending" else 0
            if outcome == "delivered":
                delivered += 1
            else:
                ctx.log.warning("%s: %s: %s", message, outcome, answer)
            if outcome == "rejected":
                rejected.append({"id": message, "error": answer})
            if misses == GIVE_UP_AFTER:
                break
            if number % 100 == 0:
                ctx.log.info("%d messages done", number)
    (left,) = db.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone()
    if misses:
        raise ReceiverUnavailable(f"{delivered} delivered, {len(rejected)} rejected, {left} left in the outbox; {url} answers: {answer}")
    return {"delivered": delivered, "rejected": rejected, "left": left}


class Sender:
    """Sends messages over one connection, opened again where it was lost."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {url!r} is no http:// or https:// address")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def send(self, message: str, body: str) -> tuple[str, str]:
        """POST one message; returns ``delivered``, ``rejected`` or ``pending``, and what went wrong."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": message}
        try:
            self._connection.request("POST", self._target, body.encode(), headers)
            response = self._connection.getresponse()
            text = response.read(2000).decode("utf-8", "replace").strip()
            if not response.isclosed():  # a longer answer than anyone reads
                self._connection.close()
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            return "pending", f"{type(problem).__name__}: {problem}"
        if 200 <= response.status < 300:
            return "delivered", ""
        final = 400 <= response.status < 500 and response.status not in LATER
        return "rejected" if final else "pending", f"{response.status} {response.reason}: {text}"[:500]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Receiver(ThreadingHTTPServer):
    """Stores what is POSTed to ``/messages`` once per ``Idempotency-Key``; ``GET /messages`` tells how many it has.

    Answers 201 to a new message, 200 to one that it has, 400 to what is no JSON or has no key, 413 above 1 MiB.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], database: Path) -> None:
        super().__init__(address, _Handler)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._db.execute(RECEIVED)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/messages"

    def store(self, key: str, body: str) -> bool:
        """Store a message; False where it was there before."""
        with self._lock:
            new = self._db.execute("INSERT OR IGNORE INTO received VALUES (?, ?, 0)", (key, body)).rowcount == 1
            self._db.execute("UPDATE received SET deliveries = deliveries + 1 WHERE id = ?", (key,))
        return new

    def count(self) -> dict[str, int]:
        """How many messages it has, and how many deliveries these took."""
        with self._lock:
            messages, deliveries = self._db.execute("SELECT count(*), coalesce(sum(deliveries), 0) FROM received").fetchone()
        return {"messages": messages, "deliveries": deliveries}

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            self._db.close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the sender's acknowledgement

    def do_POST(self) -> None:
        self._answer(*self._take())

    def _take(self) -> tuple[HTTPStatus, dict[str, Any]]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.rfile.read(min(int(length), 2 * MAX_BODY) if length.isdigit() else 0)  # else the sender sees no answer
            self.close_connection = True
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"a body of at most {MAX_BODY} bytes is wanted"}
        body, key = self.rfile.read(int(length)), self.headers.get("Idempotency-Key", "")
        if self.path != "/messages":
            return HTTPStatus.NOT_FOUND, {"error": "POST to /messages"}
        try:
            json.loads(body)
        except ValueError as problem:
            return HTTPStatus.BAD_REQUEST, {"error": f"no JSON: {problem}"}
        if not key:
            return HTTPStatus.BAD_REQUEST, {"error": "the header Idempotency-Key is missing"}
        new = self.server.store(key, body.decode())
        return HTTPStatus.CREATED if new else HTTPStatus.OK, {"stored": new}

    def do_GET(self) -> None:
        self._answer(HTTPStatus.OK, self.server.count())

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a line for each message would drown the run's log."""


@contextmanager
def running_receiver(database: Path, port: int = 0) -> Iterator[str]:
    """A receiver in a thread of this process, on a free port unless one is given; yields its URL."""
    with closing_server(Receiver(("127.0.0.1", port), database)) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05}, name="receiver")
        thread.start()
        try:
            yield receiver.url
        finally:
            receiver.shutdown()
            thread.join()


@contextmanager
def closing_server(receiver: Receiver) -> Iterator[Receiver]:
    """Closes the receiver's socket and database in the end."""
    try:
        yield receiver
    finally:
        receiver.server_close()


def main(arguments: list[str] | None = None) -> None:
    """The receiver as a program of its own; Ctrl-C or SIGTERM ends it."""
    parser = argparse.ArgumentParser(description="A receiver for push_messages.")
    receiver = parser.add_subparsers(required=True).add_parser("receiver", help="store what is POSTed to /messages")
    receiver.add_argument("--port", type=int, default=8799, help="where to listen on 127.0.0.1; 0: a free port (default: 8799)")
    receiver.add_argument("--database", type=Path, default=Path("var/received.db"), help="an SQLite file (default: var/received.db)")
    options = parser.parse_args(arguments)
    options.database.parent.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with running_receiver(options.database, options.port) as url:
        print(f"receiving at {url}, storing in {options.database}; Ctrl-C ends it", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
