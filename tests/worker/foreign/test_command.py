"""``taskq worker --rq-serializer``: RQ's queues from the command line, and several workers below one command."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py
from rq import Queue
from rq.serializers import JSONSerializer
from support import legacy
from support.command import Command, environment
from support.waiting import until

from taskq.registry.settings import Settings

pytestmark = pytest.mark.process

Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(settings: Settings, tmp_path: Path) -> Iterator[Serve]:
    """Starts ``taskq worker`` with these words; what is still there after the test is killed."""
    started: list[subprocess.Popen[str]] = []
    known = environment(settings, PYTHONPATH=str(Path(legacy.__file__).parent.parent))

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "taskq", "worker", *words]
        process = subprocess.Popen(command, env=known, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            below = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.communicate()


def told(process: subprocess.Popen[str], code: int) -> str:
    """What it wrote on stderr, once it has ended with ``code``."""
    _, text = process.communicate(timeout=60)
    assert process.returncode == code, text
    return text


def idle(bare: redis_py.Redis, *workers: str) -> bool:
    """Whether these wait for jobs: what comes before, RQ does not do about signals."""
    return all(bare.hget(f"rq:worker:{worker}", "state") == b"idle" for worker in workers)


def names(bare: redis_py.Redis) -> set[str]:
    return {name.decode().removeprefix("rq:worker:") for name in bare.smembers("rq:workers")}


@pytest.mark.parametrize(("serializer", "kind"), [("pickle", None), ("json", JSONSerializer)])
def test_it_runs_the_jobs_of_rq_and_says_what_that_means(serializer: str, kind: object, serve: Serve, bare: redis_py.Redis) -> None:
    first, second = (Queue(name, connection=bare, serializer=kind) for name in ("Legacy one", "legacy:two"))
    jobs = [second.enqueue(legacy.process), first.enqueue(legacy.process), first.enqueue(legacy.add, 1)]
    text = told(
        serve("--rq-serializer", serializer, "--queues", "Legacy one,legacy:two", "--burst", "--log-format", "json", "--name", "mine"), 0
    )
    assert jobs[0].return_value() == jobs[1].return_value() is not None
    assert jobs[2].return_value() == 2
    lines = [json.loads(line) for line in text.splitlines()]
    assert (lines[0]["level"], lines[0]["worker"]) == ("WARNING", "mine")
    assert "whoever can write to this Redis" in lines[0]["message"]
    assert any("Legacy one: Job OK" in line["message"] for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--queues", "legacy,taskq.default"], "'taskq.default' is a queue of taskq's"),
        (["--queues", " , "], "--queues: a worker needs at least one queue"),
        (["--grace", "3"], "--grace: not for RQ's queues"),
        (["--executors", "1:3"], "--executors 1:3: the number of workers of RQ's queues is fixed"),
        (["--executors", "2", "--max-jobs", "3"], "--max-jobs counts the jobs of one RQ worker"),
        (["--exception-handler", "support.nowhere.f"], "--exception-handler support.nowhere.f: "),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], message: str, serve: Serve) -> None:
    text = told(serve("--rq-serializer", "pickle", *words), 2)
    assert message in text
    assert "Traceback" not in text


@pytest.mark.parametrize("words", [["--with-scheduler"], ["--exception-handler", "support.legacy.handle_first"]])
def test_options_of_rqs_queues_are_refused_without_them(words: list[str], serve: Serve) -> None:
    assert f"{words[0]} is for RQ's queues: give --rq-serializer as well" in told(serve(*words), 2)


def test_jobs_are_found_in_the_folder_where_it_is_started(settings: Settings, queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "jobs_of_the_project.py").write_text("def answer(): return 42\n")
    job = queue.enqueue("jobs_of_the_project.answer")
    Command(settings, tmp_path)("worker", "--rq-serializer", "pickle", "--queues", "legacy", "--burst")
    assert job.return_value() == 42


def test_an_error_that_ends_it_is_told_by_its_exit_code(serve: Serve, queue: Queue, bare: redis_py.Redis) -> None:
    bare.set(queue.key, "no list")
    text = told(serve("--rq-serializer", "pickle", "--queues", "legacy"), 1)
    assert "WRONGTYPE" in text


def test_a_stop_while_redis_is_away_is_told_by_its_exit_code(settings: Settings, own_server: Any, serve: Serve, tmp_path: Path) -> None:
    with redis_py.Redis.from_url(own_server.url) as bare:
        Queue("legacy", connection=bare).enqueue(legacy.wait_for_file, str(tmp_path / "begun"), str(tmp_path / "go"))
        worker = serve("--redis", own_server.url, "--rq-serializer", "pickle", "--queues", "legacy")
        until((tmp_path / "begun").exists, timeout=30, what="the job to begin")
        own_server.kill()
        worker.send_signal(signal.SIGTERM)
        (tmp_path / "go").touch()
        assert "Redis can't be reached" in told(worker, 5)


def test_without_a_server_it_ends_with_5(serve: Serve, tmp_path: Path) -> None:
    for count in ("1", "2"):
        text = told(serve("--redis", f"unix://{tmp_path}/nowhere", "--rq-serializer", "pickle", "--executors", count), 5)
        assert "Redis can't be reached" in text


def test_a_name_that_is_taken_is_a_conflict(serve: Serve, bare: redis_py.Redis) -> None:
    bare.hset("rq:worker:mine", "birth", "now")
    assert "a worker named 'mine' is alive already" in told(serve("--rq-serializer", "pickle", "--name", "mine"), 4)


def test_exception_handlers_and_other_options_of_rq_worker(serve: Serve, queue: Queue, bare: redis_py.Redis) -> None:
    queue.enqueue(legacy.fail)
    for _ in range(4):
        queue.enqueue(legacy.process)
    words = ["--exception-handler", "support.legacy.handle_first", "--max-jobs", "4", "--recycle-after", "2", "--strategy", "round_robin"]
    told(serve("--rq-serializer", "pickle", "--queues", "legacy", "--with-scheduler", *words), 0)
    assert bare.lrange("handlers", 0, -1) == [b"first ValueError boom"]
    assert queue.count == 1
    results = [queue.fetch_job(job).return_value() for job in queue.finished_job_registry.get_job_ids()]
    assert len(set(results)) == 2


def test_several_executors_run_several_jobs_at_once(serve: Serve, queue: Queue, bare: redis_py.Redis) -> None:
    jobs = [queue.enqueue(legacy.hold_back, f"held{number}", "go") for number in range(3)]
    crew = serve("--rq-serializer", "pickle", "--queues", "legacy", "--executors", "3", "--name", "crew")
    until(lambda: all(bare.exists(f"held{number}") for number in range(3)), timeout=30, what="three jobs at once")
    assert names(bare) == {"crew.1", "crew.2", "crew.3"}
    crew.send_signal(signal.SIGTERM)
    until(lambda: all(bare.hexists(f"rq:worker:crew.{number}", "shutdown_requested_date") for number in (1, 2, 3)), what="the signal")
    bare.set("go", 1)
    told(crew, 0)
    assert [job.return_value() for job in jobs] == ["went on"] * 3
    assert names(bare) == set()


def test_a_burst_of_several_ends_when_the_queues_are_empty(serve: Serve, queue: Queue) -> None:
    jobs = [queue.enqueue(legacy.add, number) for number in range(20)]
    told(serve("--rq-serializer", "pickle", "--queues", "legacy", "--executors", "2", "--burst"), 0)
    assert [job.return_value() for job in jobs] == list(range(1, 21))


def test_one_of_several_that_dies_is_replaced(serve: Serve, queue: Queue, bare: redis_py.Redis) -> None:
    crew = serve("--rq-serializer", "pickle", "--queues", "legacy", "--executors", "2", "--name", "crew")
    until(lambda: idle(bare, "crew.1", "crew.2"), timeout=30, what="both workers")
    psutil.Process(int(bare.hget("rq:worker:crew.1", "pid"))).kill()
    until(lambda: idle(bare, "crew.3"), timeout=30, what="a third one")
    crew.send_signal(signal.SIGINT)
    assert re.search(r"worker 1 of the crew has ended \(-9\)", told(crew, 0))


def test_members_end_with_the_command_that_started_them(serve: Serve, bare: redis_py.Redis) -> None:
    crew = serve("--rq-serializer", "pickle", "--queues", "legacy", "--executors", "2", "--name", "crew")
    until(lambda: idle(bare, "crew.1", "crew.2"), timeout=30, what="both workers")
    below = psutil.Process(crew.pid).children(recursive=True)
    crew.kill()
    _, alive = psutil.wait_procs(below, timeout=15)
    assert alive == []
    assert names(bare) == set()


def test_an_ordinary_worker_does_not_load_rq(tmp_path: Path) -> None:
    look = "import sys, taskq.commands.worker, taskq.worker.fleet; print([name for name in sys.modules if name.split('.')[0] == 'rq'])"
    shown = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.strip() == "[]"
