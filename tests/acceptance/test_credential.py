"""Redis' credential is not to be had from inside a task."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest
from redis import Redis
from support.command import Command, as_a_user
from support.waiting import until

from taskq.registry.settings import Settings

SECRET = "s3cr3t-of-redis"
SPY = """
import os
from pathlib import Path
from taskq import task

def read(path):
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError as error:
        return type(error).__name__

def links(folder):
    try:
        return [os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}")]
    except OSError as error:
        return type(error).__name__

@task
def spy() -> dict:
    parent = os.getppid()
    return {
        "environ": dict(os.environ),
        "cmdline": read("/proc/self/cmdline"),
        "fds": links("/proc/self/fd"),
        "parent_environ": read(f"/proc/{parent}/environ"),
        "parent_cmdline": read(f"/proc/{parent}/cmdline"),
        "parent_fds": links(f"/proc/{parent}/fd"),
        "parent_maps": read(f"/proc/{parent}/maps"),
        "parent_mem": read(f"/proc/{parent}/mem"),
    }
"""


@pytest.mark.parametrize("given", ["environment", "argument"])
def test_a_task_finds_no_credential_around_it(own_server, settings: Settings, tmp_path: Path, given: str) -> None:
    # Given a server with a password, and a worker that a user started
    with Redis(unix_socket_path=str(own_server.socket)) as admin:
        admin.config_set("requirepass", SECRET)
    url = f"unix://:{SECRET}@{own_server.socket}"
    taskq = Command(settings.model_copy(update={"redis_url": url}), tmp_path)
    taskq("register", str(taskq.write("spy.py", SPY)))
    environ, words = dict(taskq.environ), ["worker", "--executors", "1"]
    if given == "argument":
        del environ["TASKQ_REDIS_URL"]
        words += ["--redis", url]
    argv = as_a_user(taskq.argv(*words))
    worker = subprocess.Popen(argv, env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(taskq.live, 20)
        # When a task looks for it wherever it can
        seen = taskq.json("run", "spy", "--wait", "--timeout", "20")["result"]
        # Then it is nowhere
        assert [name for name, value in seen.items() if SECRET in repr(value)] == []
        assert not any(name.startswith("TASKQ_") for name in seen["environ"])
        assert isinstance(seen["fds"], list)
        assert not any("redis" in target for target in seen["fds"])
        assert seen["parent_environ"] == "PermissionError"
        assert seen["parent_fds"] == "PermissionError"
        assert seen["parent_mem"] == "PermissionError"
        # Nor does ps show it
        assert SECRET not in " ".join(psutil.Process(worker.pid).cmdline())
    finally:
        worker.terminate()
        assert worker.wait(15) == 0
