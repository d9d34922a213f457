"""Versions in an executor: side by side, broken ones, probed, inspected, dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.executor import DrivenExecutor

from taskq.registry import codec
from taskq.worker.link.protocol import Kind

RETURNS = "from taskq import task\n@task\ndef t() -> int: return {}\n"


def test_two_versions_stand_side_by_side(executor: DrivenExecutor) -> None:
    for version in (1, 2):
        assert executor.load(RETURNS.format(version), version=version)["ok"]
    assert [codec.loads(executor.run(version=version)["result"]) for version in (1, 2, 1)] == [1, 2, 1]


def test_versions_and_tasks_of_one_artifact_share_its_module_until_the_last_is_dropped(executor: DrivenExecutor) -> None:
    source = (
        "from taskq import task\nseen = []\n@task\ndef a():\n    seen.append(1)\n    return len(seen)\n@task\ndef b(): return len(seen)\n"
    )
    for task, version in (("a", 1), ("a", 3), ("b", 1)):
        executor.load(source, task, version)
    executor.run("a", 1)
    executor.send(Kind.UNLOAD, task="a", version=1)
    assert codec.loads(executor.run("a", 3)["result"]) == 2
    assert codec.loads(executor.run("b", 1)["result"]) == 2
    for task, version in (("a", 3), ("b", 1)):
        executor.send(Kind.UNLOAD, task=task, version=version)
    executor.load(source, "b", 1)
    assert codec.loads(executor.run("b", 1)["result"]) == 0


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nowhere_to_be_found\n", "No module named 'nowhere_to_be_found'"),
        (
            "def inner():\n    raise ValueError('at import')\ninner()\n",
            "in inner\n    raise ValueError('at import')\nValueError: at import",
        ),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("t = 1\n", "t in tasks.py is no task"),
        ("from taskq import Task\nclass t(Task):\n    def __init__(self): raise RuntimeError('no')\n", "RuntimeError: no"),
    ],
)
def test_a_broken_version_is_reported_with_its_traceback_and_harms_nothing(executor: DrivenExecutor, source: str, told: str) -> None:
    executor.load(RETURNS.format(1), version=1)
    answer = executor.load(source, version=2)
    assert not answer["ok"]
    assert told in answer["error"]
    assert "worker/executor" not in answer["error"]
    assert executor.run(version=1)["outcome"] == "succeeded"
    assert executor.run(version=2)["reason"] == "not_loaded"


def test_a_probe_loads_and_exits(executor: DrivenExecutor) -> None:
    assert executor.load(RETURNS.format(1), kind=Kind.PROBE)["ok"]
    assert executor.process.wait(5) == 0


def test_a_probe_of_code_that_ends_the_process_is_seen_as_its_end(executor: DrivenExecutor) -> None:
    with pytest.raises((EOFError, ConnectionError)):
        executor.load("import os\nos._exit(3)\n", kind=Kind.PROBE)
    assert executor.process.wait(5) == 3


def test_a_probe_with_threads_that_never_end_still_exits(executor: DrivenExecutor) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + RETURNS.format(1)
    assert executor.load(source, kind=Kind.PROBE)["ok"]
    assert executor.process.wait(5) == 0


def test_a_probe_that_sleeps_dies_with_the_link_and_without_answer(executor: DrivenExecutor) -> None:
    executor.send(
        Kind.PROBE, task="t", version=1, digest="0" * 64, attribute="t", file="f", source=b"import time\ntime.sleep(60)", context=None
    )
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.3)
    executor.process.kill()
    assert executor.process.wait(5) == -9


def test_a_file_is_inspected(executor: DrivenExecutor) -> None:
    source = b"from taskq import task\n@task(timeout='7s')\ndef t(a: int): pass\n"
    found = executor.expect(Kind.INSPECTED, executor.send(Kind.INSPECT, source=source, file="tasks.py"))
    assert [(task["name"], task["spec"]["timeout"]) for task in found["tasks"]] == [("t", 7.0)]
    found = executor.expect(Kind.INSPECTED, executor.send(Kind.INSPECT, source=b"import nowhere_at_all", file="tasks.py"))
    assert found["missing"] == "nowhere_at_all"


CLASS_FORM = """
from taskq import Task, TaskContext
class Importing(Task):
    def __init__(self):
        self.runs = 0
    def execute(self, n: int) -> list:
        self.runs += 1
        return [self.ctx.run, self.runs, n]
    def on_unload(self):
        print("dropped after", self.runs)
"""


def test_a_class_has_one_instance_a_version_and_is_told_when_it_is_dropped(executor: DrivenExecutor) -> None:
    executor.load(CLASS_FORM, "importing", attribute="Importing")
    outcomes = [executor.run("importing", params={"n": n}, run=f"r{n}") for n in (5, 6)]
    assert [codec.loads(each["result"]) for each in outcomes] == [["r5", 1, 5], ["r6", 2, 6]]
    executor.send(Kind.UNLOAD, task="importing", version=1)
    executor.send(Kind.DRAIN)
    assert executor.process.wait(5) == 0
    assert executor.close() == "dropped after 2\n"


def test_an_on_unload_that_raises_does_not_keep_the_version(executor: DrivenExecutor) -> None:
    executor.load("from taskq import Task\nclass t(Task):\n    def execute(self): pass\n    def on_unload(self): raise SystemExit(9)\n")
    executor.send(Kind.UNLOAD, task="t", version=1)
    assert executor.run()["reason"] == "not_loaded"
    assert "SystemExit: 9" in executor.close()


def resident(executor: DrivenExecutor) -> int:
    return int(Path(f"/proc/{executor.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bare() -> int:
    """What the interpreter itself takes: releases of Python differ by megabytes."""
    code = "import os; print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


def test_memory_is_flat_over_200_loads_and_unloads(executor: DrivenExecutor) -> None:
    count = "from taskq import task\nimport sys\n@task\ndef count(): return sum(name.startswith('taskq_code_') for name in sys.modules)\n"
    executor.load(count, "count")
    sizes = []
    for version in range(200):
        executor.load(RETURNS.format(version) + f"table = list(range(20000)) # {version}\n", version=version)
        assert codec.loads(executor.run(version=version)["result"]) == version
        executor.send(Kind.UNLOAD, task="t", version=version)
        sizes.append(resident(executor))
    assert codec.loads(executor.run("count")["result"]) == 1
    assert sizes[-1] <= sizes[49] * 1.05


def test_the_executor_is_small_and_imports_no_redis_no_rq_no_pydantic_no_asyncio(executor: DrivenExecutor) -> None:
    started_with = resident(executor)
    executor.load("from taskq import task\nimport sys\n@task\ndef t(): return sorted(sys.modules)\n")
    modules = set(codec.loads(executor.run()["result"]))
    assert not modules & {"redis", "rq", "pydantic", "pydantic_core", "hiredis", "asyncio", "click", "jsonschema_rs", "psutil"}
    assert started_with <= bare() + 10 * 1024 * 1024
    executor.load("from taskq import task\nimport sys\n@task\nasync def t(): return 'asyncio' in sys.modules\n", version=2)
    assert codec.loads(executor.run(version=2)["result"]) is True


def test_it_dies_with_its_supervisor(executor: DrivenExecutor) -> None:
    executor.socket.close()
    assert executor.process.wait(5) == 0


def test_garbage_on_the_link_ends_it_with_a_word_to_stderr(executor: DrivenExecutor) -> None:
    executor.socket.sendall(b"\xff\xff\xff\xffwhat is this")
    assert executor.process.wait(5) == 76
    assert "a frame of 4294967295 bytes" in executor.close()
