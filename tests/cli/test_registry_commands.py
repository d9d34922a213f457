"""Registering, reading and routing from the command line; no worker is alive, so changes take effect at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.pretended import NEVER, PretendedWorker
from support.waiting import until

from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

SOURCE = '''from taskq import task

@task(timeout="10s")
def add(a: int, b: int = {b}) -> int:
    """Add two numbers."""
    return a + b
'''
FIELDS = {"task", "version", "digest", "revision", "state"}


def write(number: int) -> str:
    Path("add.py").write_text(SOURCE.format(b=number))
    return "add.py"


@pytest.fixture
def two(shell: Any) -> None:
    """`add` in two versions, the second one stable."""
    shell("register", write(1), "-m", "first")
    shell("register", write(2), "-m", "second")


def test_register_prints_what_became_of_each_task(shell: Any) -> None:
    (document,) = shell.json("register", write(1))
    assert set(document) >= FIELDS
    assert (document["task"], document["version"], document["state"]) == ("add", 1, "active")
    assert shell.json("register", "add.py")[0]["state"] == "unchanged"
    assert shell("register", "add.py").stdout.splitlines()[0].split() == ["TASK", "VERSION", "STATE", "DIGEST", "REVISION"]


def test_a_dry_run_and_no_activate_switch_nothing(shell: Any, two: None) -> None:
    shell("register", write(3), "--dry-run")
    assert shell.json("show", "add")["latest"] == 2
    assert "taskq promote add 3" in shell("register", "add.py", "--no-activate").stderr
    assert shell.json("show", "add")["stable"] == 2
    shell("promote", "add", "3")
    assert shell.json("show", "add")["stable"] == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["register", "add.py", "--if-version", "7"], 4),
        (["register", "add.py", "--if-revision", "99"], 4),
        (["register", "add.py", "--origin", "elsewhere"], 4),
        (["register", "missing.py"], 2),
        (["promote", "add", "9"], 3),
        (["show", "nope"], 3),
        (["source", "add", "9"], 3),
        (["rollback", "add"], 2),
        (["pause", "add", "--if-revision", "99"], 4),
        (["rollout", "add", "--timeout", "1"], 2),
    ],
)
def test_what_is_refused_has_its_exit_code_and_changes_nothing(shell: Any, two: None, words: list[str], code: int) -> None:
    write(5)
    before = shell.json("show", "add")
    assert shell(*words, code=code).stderr.strip()
    assert shell.json("show", "add") == before


def test_broken_code_is_exit_1_with_its_traceback(shell: Any, two: None) -> None:
    Path("add.py").write_text("raise RuntimeError('at import')\n")
    refused = shell("register", "add.py", "--json", code=1)
    assert "RuntimeError: at import" in refused.stderr
    assert refused.stdout == ""


def test_a_rollback_withdraws_and_its_content_needs_force(shell: Any, two: None) -> None:
    assert shell.json("rollback", "add", "-m", "wrong")[0]["version"] == 1
    assert [row["state"] for row in shell.json("history", "add")] == ["withdrawn", "active"]
    assert "--force" in shell("register", "add.py", code=4).stderr
    assert shell.json("register", "add.py", "--force")[0]["version"] == 2


def test_pause_resume_and_retire(shell: Any, two: None) -> None:
    assert [shell.json(verb, "add")[0]["state"] for verb in ("pause", "resume", "retire")] == ["paused", "active", "retired"]
    assert "retired" in shell("run", "add", "a=1", code=3).stderr


def test_the_registry_is_read_by_people_and_programs(shell: Any, two: None) -> None:
    assert [row["task"] for row in shell.json("list")] == ["add"]
    shown = shell("show", "add").stdout
    assert "10 s" in shown
    assert "Add two numbers." in shown
    assert shell("source", "add", "1").stdout == SOURCE.format(b=1)
    assert "-def add(a: int, b: int = 1)" in shell("diff", "add", "1", "2").stdout
    assert "do not differ" in shell("diff", "add", "1", "1").stderr
    assert [row["message"] for row in shell.json("history", "add")] == ["second", "first"]
    assert {row["why"] for row in shell.json("audit", "add")} == {"first", "second"}
    assert "no live worker" in shell("rollout", "add").stdout
    for words in (["list"], ["show", "add"], ["history", "add"], ["audit"], ["workers"], ["rollout", "add"]):
        assert max(map(len, shell(*words).stdout.splitlines())) <= 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_ended_registration_leaves_nothing_on_the_stage(
    shell: Any, two: None, settings: Settings, keys: Keys, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "taskq", "register", write(3)]
    environment = os.environ | {"TASKQ_REDIS_URL": str(settings.redis_url)}
    with PretendedWorker(settings, keys, loads=lambda _, version: NEVER if version == 3 else None):
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            until(lambda: shell.json("show", "add")["staged"] == 3, what="staged")
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (128 + number, b"")
        assert shell.json("show", "add")["staged"] is None


def test_a_path_that_can_not_be_looked_at_is_a_message(shell: Any) -> None:
    assert "can't be read" in shell("register", "x" * 300 + ".py", code=2).stderr


def test_schedules_are_seen_in_the_list_and_with_the_task(shell: Any) -> None:
    declared = (
        "from taskq import task\n@task(every='90s', cron='0 6 * * *', timezone='Europe/Berlin')\ndef job(): ...\n@task\ndef idle(): ...\n"
    )
    Path("job.py").write_text(declared)
    shell("register", "job.py")
    heads, idle, job = shell("list").stdout.splitlines()
    assert "SCHEDULE" in heads
    assert "every 1m30s" in job
    assert "every" not in idle
    shown = shell("show", "job").stdout
    assert "schedule     every 1m30s, cron 0 6 * * * Europe/Berlin" in shown
    assert "misfire      once" in shown
    assert "misfire" not in shell("show", "idle").stdout
