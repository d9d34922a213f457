"""The table of commands, help, exit codes and the common options."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from redis import Redis
from support.hands import put_task

from taskq.cli.group import TABLE, LazyGroup, taskq
from taskq.cli.options import Command
from taskq.registry.keys import Keys

NAMES = [name for section in TABLE.values() for name in section]
HEAVY = ("redis", "pydantic", "rich", "rq", "asyncio", "psutil")


@pytest.mark.parametrize("name", NAMES)
def test_each_command_of_the_table_exists_and_its_help_has_examples(name: str) -> None:
    command = LazyGroup().get_command(None, name)  # type: ignore[arg-type]  # the context is not looked at
    assert isinstance(command, Command)
    assert command.name == name
    assert command.examples
    assert all(line.startswith(("taskq ", "source <(taskq", "TASKQ_")) for line in command.examples)
    text = CliRunner().invoke(taskq, [name, "--help"]).stdout
    assert "Examples:\n  " in text
    assert "--json" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom taskq.cli.group import taskq\ntry: taskq(['--help'], prog_name='taskq')\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(f"\n  {name} " in done.stdout for name in NAMES)


def test_help_takes_less_than_200_ms_of_cpu() -> None:
    def cpu() -> float:
        with psutil.Popen([sys.executable, "-m", "taskq", "--help"], stdout=subprocess.PIPE) as process:
            process.communicate()
        return used() - before

    def used() -> float:
        times = psutil.Process().cpu_times()
        return float(times.children_user + times.children_system)

    best = 1.0
    for _ in range(3):
        before = used()
        best = min(best, cpu())
    assert best <= 0.2


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest(shell: Any) -> None:
    assert "Did you mean" in shell("lits", code=2).stderr
    assert "list" in shell("lits", code=2).stderr
    assert "`taskq --help`" in shell("xyzzy", code=2).stderr


def test_common_options_stand_before_or_after_the_command(shell: Any, redis: Redis, keys: Keys) -> None:
    put_task(redis, Keys("other"), "job")
    assert shell("--json", "--namespace", "other", "queues").stdout == shell("queues", "--namespace", "other", "--json").stdout
    assert shell.json("queues", "--namespace", "other")[0]["tasks"] == 1
    # The one after the command wins
    assert shell.json("--namespace", "other", "queues", "--namespace", "taskq") == []


def test_no_server_is_exit_5_with_what_to_do(shell: Any) -> None:
    unreachable = shell("queues", "--redis", "redis://127.0.0.1:1", code=5)
    assert "can't be reached" in unreachable.stderr
    assert "→ check the URL" in unreachable.stderr
    assert unreachable.stdout == ""
    shell.environ["TASKQ_REDIS_URL"] = ""
    assert "`taskq up`" in shell("queues", "--json", code=5).stderr
    assert shell("queues", "--json", code=5).stdout == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["queues", "--redis", "http://x"], 2),
        (["queues", "--namespace", "A:B"], 2),
        (["status", "../../etc"], 2),
        (["status", "unknown"], 3),
        (["cancel", "unknown"], 3),
        (["run", "unknown"], 3),
        (["run", "bad:name"], 2),
        (["run"], 2),
        (["run", "job", "--at", "2027-01-01T00:00"], 2),
        (["run", "job", "--in", "soon"], 2),
        (["run", "job", "--timeout", "5"], 2),
        (["run", "job", "--wait", "--timeout", "soon"], 2),
        (["runs", "--status", "odd"], 2),
        (["completion", "powershell"], 2),
        (["dev", "missing.py"], 2),
        (["up", "--redis", "redis://elsewhere"], 2),
    ],
)
def test_what_is_wrong_decides_the_exit_code(shell: Any, words: list[str], code: int) -> None:
    result = shell(*words, "--json", code=code)
    assert result.stdout == ""
    assert result.stderr.strip()


def test_an_error_of_the_server_is_no_traceback(shell: Any, redis: Redis, keys: Keys) -> None:
    redis.set(keys.rq_queue("default"), "not a list")
    redis.sadd(keys.rq_queues, keys.rq_queue("default"))
    assert "WRONGTYPE" in shell("queues", code=1).stderr


def test_ctrl_c_while_a_command_is_imported_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr("taskq.cli.group.importlib.import_module", interrupted)
    assert CliRunner().invoke(taskq, ["list"]).exit_code == 130


def test_the_first_process_of_a_container_ends_on_sigterm_before_its_command_has_begun() -> None:
    script = (
        "import os, signal; os.getpid = lambda: 1\nfrom taskq.__main__ import end_on_sigterm\nend_on_sigterm()\nsignal.raise_signal(15)"
    )
    for first, code in ((True, 143), (False, -signal.SIGTERM)):
        text = script if first else script.replace("os.getpid = lambda: 1", "")
        assert subprocess.run([sys.executable, "-c", text], check=False).returncode == code
