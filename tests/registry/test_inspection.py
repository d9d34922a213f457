"""A file is inspected in a child process: whatever it does, the cause is named and nothing of it is left."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from pathlib import Path

import psutil
import pytest
from redis import Redis
from support.waiting import until

from taskq.registry import clock, codec, inspection
from taskq.registry.effects import run_sync
from taskq.registry.errors import DistributionMissing, InspectionFailed, InvalidInput, TaskqError, Unsupported
from taskq.registry.inspection import FoundTask, ask_worker, describe, inspect_file
from taskq.registry.inspection.declares import declares_tasks
from taskq.registry.keys import Keys

GOOD = "from taskq import task\n@task\ndef job(region: str = 'eu') -> str:\n    'Does it.'\n    return region\n"


def inspect(text: str, timeout: float = 10.0) -> list[FoundTask]:
    return inspect_file("job.py", text.encode(), timeout=timeout)


def test_the_tasks_of_a_file_are_found_with_their_specs() -> None:
    both = GOOD + (
        "from taskq import Task, TaskContext\nfrom taskq import task as t\n"
        "class ImportData(Task):\n    @classmethod\n    def metadata(cls): return {'queue': 'slow', 'timeout': '1m'}\n"
        "    async def execute(self, rows: int): ...\n"
        "@t(name='x.y', labels={'team': 'ops'})\ndef other(ctx: TaskContext, n: int, **more: int): ...\n"
    )
    job, imports, other = inspect(both)
    assert (job.name, job.attribute, job.spec.doc) == ("job", "job", "Does it.")
    assert job.spec.parameters.json_schema["properties"] == {"region": {"default": "eu", "type": "string"}}
    assert (imports.name, imports.spec.queue, imports.spec.timeout, imports.spec.doc) == ("import_data", "slow", 60.0, "")
    assert imports.spec.parameters.json_schema["required"] == ["rows"]
    assert (other.name, other.attribute, other.spec.labels, other.spec.parameters.context) == ("x.y", "other", {"team": "ops"}, "ctx")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def job(:\n", "SyntaxError"),
        (GOOD + "raise RuntimeError('at import')\n", 'File "job.py", line 6'),
        (GOOD + "raise RuntimeError('at import')\n", "RuntimeError: at import"),
        (GOOD + "import sys\nsys.exit(4)\n", r"sys.exit\(4\)"),
        (GOOD + "import os\nos._exit(3)\n", r"os._exit\(3\)"),
        (GOOD + "import os\nos.kill(os.getpid(), 11)\n", "signal 11"),
        (GOOD + "raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("x = 1\n", "holds no task"),
        (GOOD + "print('so far so good')\n1/0\n", "so far so good"),
        (GOOD + "import os.nothing\n", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_can_not_be_imported_is_refused_with_the_cause(text: str, cause: str) -> None:
    with pytest.raises(InspectionFailed, match=cause) as caught:
        inspect(text)
    assert not isinstance(caught.value, DistributionMissing)
    assert "description.py" not in caught.value.message


def test_an_endless_import_is_killed_at_the_deadline_with_all_its_descendants() -> None:
    text = GOOD + (
        "import subprocess, sys, time, os\n"
        "one = subprocess.Popen(['sleep', '98.7'])\ntwo = subprocess.Popen(['sleep', '98.7'], start_new_session=True)\n"
        "print(one.pid, two.pid, flush=True)\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(98)\n    os._exit(0)\n"
        "time.sleep(60)\n"
    )
    begun = clock.monotonic()
    with pytest.raises(InspectionFailed, match="timed out after 1 s") as caught:
        inspect(text, timeout=1.0)
    assert clock.monotonic() - begun < 10
    pids = [int(word) for word in caught.value.message.split("it printed:")[1].split()]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE and "sleep" in p.name()]


def test_what_an_import_leaves_running_is_ended_too() -> None:
    mark = "98.125"
    text = GOOD + f"import subprocess, threading, time\nsubprocess.Popen(['sleep', '{mark}'], start_new_session=True)\n"
    text += "threading.Thread(target=time.sleep, args=(60,)).start()\n"
    begun = clock.monotonic()
    assert [found.name for found in inspect(text)] == ["job"]
    assert clock.monotonic() - begun < 10
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])], what="nothing left")


def test_an_exit_that_leaves_children_behind_leaves_none() -> None:
    mark = "98.375"
    with pytest.raises(InspectionFailed, match=r"os\._exit\(0\)"):
        inspect(GOOD + f"import os, subprocess\nsubprocess.Popen(['sleep', '{mark}'], start_new_session=True)\nos._exit(0)\n")
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])], what="nothing left")


def test_a_flood_of_output_is_cut_to_its_end() -> None:
    with pytest.raises(InspectionFailed, match="the end of it") as caught:
        inspect(GOOD + "print('x' * 5_000_000)\nprint('the end of it', flush=True)\n1/0\n")
    assert len(caught.value.message) < 20_000


def test_a_missing_distribution_is_named() -> None:
    with pytest.raises(DistributionMissing, match="no_such_dist") as caught:
        inspect("import no_such_dist.sub\n" + GOOD)
    assert caught.value.module == "no_such_dist"


def test_the_import_sees_no_variable_of_taskq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_REDIS_URL", "redis://:secret@host")
    monkeypatch.setenv("AWS_SECRET", "secret")
    text = GOOD + "import os\nleft = [n for n in os.environ if n.startswith(('TASKQ', 'AWS'))]\nassert not left, left\n"
    assert inspect(text)


@pytest.mark.parametrize(
    ("text", "kind", "cause"),
    [
        ("from taskq import task\n@task(rate='1/s')\ndef job(): ...\n", Unsupported, "rate"),
        ("from taskq import task\n@task(name='Not Good')\ndef job(): ...\n", InvalidInput, "Not Good"),
        ("from taskq import task\n@task(timeout='soon')\ndef job(): ...\n", InvalidInput, "timeout"),
        ("from taskq import task\n@task\ndef job(x, /): ...\n", InvalidInput, "task job: parameter x is positional-only"),
        (GOOD + "@task(name='job')\ndef again(): ...\n", InvalidInput, "both named job"),
        ("from taskq import task\n@task\ndef big(limit: int = 2**70): ...\n", InvalidInput, "task big: a default.*can't be stored"),
        ("from taskq import task\n@task(nonsense=1)\ndef job(): ...\n", InspectionFailed, "nonsense"),
    ],
)
def test_a_declaration_that_is_not_allowed_is_refused(text: str, kind: type[TaskqError], cause: str) -> None:
    with pytest.raises(kind, match=cause):
        inspect(text)


def test_the_package_offers_the_same_whatever_was_imported_before() -> None:
    for module in pkgutil.iter_modules(inspection.__path__):
        importlib.import_module(f"{inspection.__name__}.{module.name}")
    for name in inspection.__all__:
        assert callable(getattr(inspection, name)), name


def test_a_worker_is_asked_and_answers(redis: Redis, keys: Keys) -> None:
    def worker() -> None:
        request = codec.loads(until(lambda: redis.lpop(keys.inspections), what="a request"))
        redis.rpush(keys.inspection(request["id"]), codec.dumps(describe(request["source"], request["file"])))

    thread = threading.Thread(target=worker)
    thread.start()
    (found,) = run_sync(ask_worker(keys, GOOD.encode(), "job.py", 10.0), redis)
    thread.join()
    assert found == inspect(GOOD)[0]


def test_a_worker_that_does_not_answer_is_not_waited_for_long(redis: Redis, keys: Keys) -> None:
    with pytest.raises(InspectionFailed, match="no worker"):
        run_sync(ask_worker(keys, b"", "job.py", 0.1), redis)
    assert redis.keys() == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (GOOD, True),
        ("import taskq\n@taskq.task(queue='x')\ndef f(): ...", True),
        ("from taskq import task as t\n@t()\nasync def f(): ...", True),
        ("from taskq import Task\nclass A(Task[[], int]): ...", True),
        ("from taskq import Client\nClient()", False),
        ("def task(f): return f\n@task\ndef f(): ...", False),
        ("import taskq\n def broken(", True),
        ("def broken(", False),
    ],
)
def test_files_of_a_folder_that_declare_tasks_are_told_apart(text: str, answer: bool) -> None:
    assert declares_tasks(text.encode()) is answer


def test_the_file_itself_need_not_exist() -> None:
    assert inspect_file(Path("/nowhere/job.py"), GOOD.encode(), timeout=10)[0].name == "job"


def test_a_task_with_two_names_in_its_module_is_one() -> None:
    assert [(task.name, task.attribute) for task in inspect(GOOD + "again = job\n")] == [("job", "job")]
