"""`taskq up` as a user runs it: starts, finds itself, heals, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from support.waiting import until

from taskq.registry.keys import Keys

TASKQ = [sys.executable, "-P", "-m", "taskq"]  # as the installed command: without the folder on the path


AWAY = """
import subprocess
from taskq import task

@task
def away() -> int:
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid
"""


class Up:
    """A `taskq up --json` in a folder, and the documents that it has printed."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        self.home = folder / ".taskq"
        self.log = folder / "up.log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
        with self.log.open("wb") as out, (folder / "up.err").open("wb") as err:
            self.process = psutil.Popen([*TASKQ, "up", "--json", *options], cwd=folder, env=self.environ, stdout=out, stderr=err)
        until(lambda: self.events("ready") or self.process.poll() is not None, 30, self.told())
        assert self.process.poll() is None, self.told()

    def events(self, kind: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [event for event in events if event["event"] == kind]

    def pids(self) -> dict[str, int]:
        return {row["name"]: row["pid"] for row in json.loads((self.home / "up.json").read_text())["processes"]}

    def taskq(self, *words: str, code: int = 0, output: str = "") -> str:
        done = subprocess.run([*TASKQ, *words], cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stderr}\n{self.told()}"
        return str(getattr(done, output or ("stderr" if code else "stdout")))

    def redis(self) -> Redis:
        return Redis(unix_socket_path=str(self.home / "redis.sock"))

    def told(self) -> str:
        return (self.folder / "up.err").read_text()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop it and check that none of its processes is left."""
        family = [self.process, *self.process.children(recursive=True)]
        self.process.send_signal(number)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, self.told()
        return int(self.process.wait())


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tq") as name:  # short enough for a socket's path
        yield Path(name)


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    started = Up(folder, "--workers", "0")
    yield started
    if started.process.poll() is None:
        started.end()


def test_other_commands_find_it_from_the_folder_and_below(up: Up) -> None:
    below = up.folder / "a" / "b"
    below.mkdir(parents=True)
    done = subprocess.run([*TASKQ, "queues", "--json"], cwd=below, env=up.environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    (ready,) = up.events("ready")
    assert {row["name"]: row["pid"] for row in ready["processes"]} == up.pids()
    assert set(up.pids()) == {"redis", "scheduler"}
    assert ready["late"] == []


def test_a_second_one_in_the_folder_is_a_conflict(up: Up) -> None:
    assert f"already runs in {up.folder} (pid {up.process.pid})" in up.taskq("up", code=4)
    assert up.pids()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_no_process_no_socket_and_no_document(up: Up, number: signal.Signals) -> None:
    assert up.end(number) == 0
    assert not (up.home / "redis.sock").exists()
    assert not (up.home / "up.json").exists()
    assert up.events("stopped")
    assert "taskq up" in up.taskq("queues", code=5)


def test_a_killed_server_is_started_again_with_its_data(up: Up) -> None:
    with up.redis() as client:
        client.set("kept", "yes")
    before = up.pids()["redis"]
    os.kill(before, signal.SIGKILL)
    until(lambda: up.events("restarted"), 10)
    assert up.events("died")[0]["why"] == "signal SIGKILL"
    until(lambda: json.loads(up.taskq("queues", "--json")) == [], 10)
    assert up.pids()["redis"] == up.events("restarted")[0]["pid"] != before
    with up.redis() as client:
        assert client.get("kept") == b"yes"


def test_a_killed_one_leaves_nothing_that_the_next_one_minds(up: Up) -> None:
    with up.redis() as client:
        client.set("kept", "yes")
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert (up.home / "up.json").exists()
    assert "can't be reached" in up.taskq("queues", code=5)
    again = Up(up.folder, "--workers", "0")
    with again.redis() as client:
        assert client.get("kept") == b"yes"
    assert again.end() == 0


def test_its_scheduler_leads_before_it_is_ready_and_a_killed_one_is_replaced(up: Up) -> None:
    checks = {check["name"]: check for check in json.loads(up.taskq("doctor", "--json", code=1, output="stdout"))["checks"]}
    assert checks["scheduler"]["detail"] == "scheduler leads, 0 standing by; 0 schedules, 0 delayed runs"
    before = up.pids()["scheduler"]
    os.kill(before, signal.SIGKILL)
    (again,) = until(lambda: up.events("restarted"), 10)
    assert (again["name"], again["pid"]) == ("scheduler", up.pids()["scheduler"])
    assert again["pid"] != before
    until(lambda: "scheduler.2 leads" in up.told(), 10)


def test_the_scheduler_is_stopped_before_the_server_and_hands_its_lead_back(up: Up) -> None:
    lease = Keys().scheduler_lease
    with up.redis() as client:
        assert client.get(lease)
        up.process.send_signal(signal.SIGINT)
        # An append-only file has what was written last: the lead is gone before the server is.
        up.process.wait(20)
    again = Up(up.folder, "--workers", "0")
    assert again.end() == 0
    told = again.told()
    assert "stands by" not in told, told


def test_a_port_comes_with_a_password_that_no_argument_shows(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    up = Up(folder, "--workers", "0", "--redis-port", str(port))
    try:
        password = json.loads((up.home / "up.json").read_text())["password"]
        assert len(password) >= 24
        with Redis(port=port, password=password) as client:
            assert client.ping()
        with Redis(port=port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(AuthenticationError):
            client.ping()
        assert json.loads(up.taskq("queues", "--json")) == []
        commands = [" ".join(process.cmdline()) for process in [up.process, *up.process.children(recursive=True)]]
        assert not any(password in command for command in commands)
    finally:
        assert up.end() == 0


def test_a_password_file_of_the_environment_is_for_another_server(folder: Path) -> None:
    up = Up(folder, "--workers", "1", "--executors", "1", TASKQ_REDIS_PASSWORD_FILE="/nowhere/password")
    (worker,) = json.loads(up.taskq("workers", "--json"))
    assert (worker["worker"][:8], up.events("died")) == ("worker-1", [])
    assert up.end() == 0


def test_a_server_that_cannot_start_is_explained_at_once(folder: Path) -> None:
    (folder / ".taskq").mkdir(mode=0o700)
    (folder / ".taskq" / "appendonlydir").write_text("in the way")
    done = subprocess.run([*TASKQ, "up", "--workers", "0"], cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "does not start" in done.stderr
    assert "appendonlydir" in done.stderr
    assert not (folder / ".taskq" / "up.json").exists()


@pytest.mark.process
def test_workers_run_what_is_registered_and_a_killed_one_is_started_again(folder: Path) -> None:
    # Given a fleet of one worker
    up = Up(folder, "--executors", "1")
    try:
        (folder / "job.py").write_text("from taskq import task\n@task\ndef job(n: int) -> int:\n    return n + 1\n")
        (folder / "away.py").write_text(AWAY)
        up.taskq("register", "job.py", "away.py")
        left = psutil.Process(int(up.taskq("run", "away", "--wait", "--timeout", "20")))
        assert up.taskq("run", "job", "n=1", "--wait", "--timeout", "20") == "2\n"
        # When the worker is killed
        os.kill(up.pids()["worker-1"], signal.SIGKILL)
        # Then what its tasks had started is gone with it, in whatever session, and another one takes its place
        until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, 5)
        until(lambda: up.events("restarted"), 10)
        assert up.taskq("run", "job", "n=2", "--wait", "--timeout", "20") == "3\n"
    finally:
        assert up.end() == 0


@pytest.mark.process
def test_files_of_the_folder_are_none_of_its_modules_whatever_their_names(folder: Path) -> None:
    for name in ("types.py", "redis.py", "taskq.py"):
        (folder / name).write_text(f"open({str(folder / 'imported')!r}, 'w')\nraise SystemExit('not meant to be imported')\n")
    up = Up(folder, "--executors", "1")
    try:
        (folder / "job.py").write_text("from taskq import task\n@task\ndef job() -> int:\n    return 1\n")
        up.taskq("register", "job.py")
        assert up.taskq("run", "job", "--wait", "--timeout", "20") == "1\n"
        assert not (folder / "imported").exists()
    finally:
        assert up.end() == 0
