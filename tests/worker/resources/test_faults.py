"""What must happen when a run takes too much, or does not stop: F18, F19, F20, with real executors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.fleet import Fleet
from support.tasks import FREE, gone
from support.waiting import until

from taskq.worker.resources import places

HEAD = "import asyncio, os, signal, subprocess, sys, time\nfrom taskq.registry import task\n"
FINE = HEAD + "@task\ndef fine(seconds: float = 0.0):\n    time.sleep(seconds)\n    return os.getpid()\n"
# Takes 20 MiB each 20 ms, up to 600 MiB.
HOG = HEAD + (
    "@task\ndef hog(megabytes: int = 600):\n"
    "    kept = []\n"
    "    while len(kept) * 20 < megabytes:\n"
    "        kept.append(b'x' * (20 << 20))\n"
    "        time.sleep(0.02)\n"
    "    return len(kept)\n"
)
# Doubles each 50 ms, every second child in a session of its own, all deaf to SIGTERM; each notes its pid. It ends by itself after 300
# processes, for the sake of the machine.
BOMB = HEAD + (
    "def burst(path, until):\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    while time.monotonic() < until and (not os.path.exists(path) or os.path.getsize(path) < 300 * 7):\n"
    "        try:\n"
    "            child = os.fork()\n"
    "        except OSError:\n"
    "            time.sleep(0.01)\n"
    "            continue\n"
    "        if child == 0:\n"
    "            if os.getpid() % 2:\n"
    "                os.setsid()\n"
    "            with open(path, 'a') as out:\n"
    "                out.write(f'{os.getpid()}\\n')\n"
    "        time.sleep(0.05)\n"
    "    time.sleep(60)\n"
    "@task\ndef bomb(path: str):\n"
    "    end = time.monotonic() + 6\n"
    "    if os.fork() == 0:\n"
    "        try:\n"
    "            burst(path, end)\n"
    "        finally:\n"
    "            os._exit(0)\n"
    "    while time.monotonic() < end + 60:\n"
    "        try:\n"
    "            time.sleep(0.5)\n"
    "        except BaseException:\n"
    "            pass\n"
)
LEAVES = HEAD + (
    "@task\ndef leaves(path: str):\n"
    "    children = [subprocess.Popen(['sleep', '300'], start_new_session=bool(at % 2)) for at in range(4)]\n"
    "    shell = subprocess.Popen(['sh', '-c', f'setsid sleep 300 & echo $! >{path}; exit 0'])\n"
    "    shell.wait()\n"
    "    return [child.pid for child in children]\n"
)


def alive(pids: list[int]) -> list[int]:
    """Those of them that have not ended."""
    return [pid for pid in pids if not gone(pid)]


def noted(path: Path) -> list[int]:
    """Pids in a file."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_f18_memory_above_the_limit_ends_the_executor_alone(fleet: Fleet, backend: str) -> None:
    fleet.put("hog", HOG, **FREE, resources={"memory": "64M"})
    fleet.put("fine", FINE, **FREE)
    worker = fleet.start(2, TASKQ_LIMITS_BY=backend)
    before = worker.executors()
    (other,) = fleet.enqueue("fine", seconds=3.0)
    fleet.running()
    (run,) = fleet.enqueue("hog")

    reason, error = fleet.failure(run)
    assert reason == "oom"
    assert "limit of 64M" in error
    assert fleet.field(run, "losses") in ("", "0")
    assert fleet.attempts(run) == []
    assert fleet.result(other) in {process.pid for process in before}
    assert worker.process.poll() is None
    until(lambda: len(worker.executors()) == 2, what="the executor is replaced")
    assert isinstance(fleet.result(fleet.enqueue("fine")[0]), int)
    assert worker.text().count(f"run {run} of hog: the run used more memory") == 1
    assert "the kernel has killed" not in worker.text()


def test_f18_what_an_executor_had_before_does_not_count_and_limits_end_with_the_run(fleet: Fleet, backend: str) -> None:
    keeps = HOG.replace("    kept = []\n", "    global kept\n    kept = []\n").replace("def hog", "def keeps")
    fleet.put("keeps", keeps, **FREE)
    fleet.put("hog", HOG, **FREE, resources={"memory": "100M"})
    fleet.start(1, TASKQ_LIMITS_BY=backend)

    assert fleet.result(fleet.enqueue("keeps", megabytes=200)[0]) == 10
    assert fleet.result(fleet.enqueue("hog", megabytes=60)[0]) == 3
    assert fleet.result(fleet.enqueue("keeps", megabytes=300)[0]) == 15
    assert fleet.result(fleet.enqueue("hog", megabytes=60)[0]) == 3
    assert fleet.failure(fleet.enqueue("hog", megabytes=400)[0])[0] == "oom"


def test_f18_it_is_retried_by_policy_and_is_no_loss(fleet: Fleet, backend: str) -> None:
    retry = {"max": 1, "backoff": "fixed", "delay": 0, "jitter": 0}
    fleet.put("hog", HOG, **FREE, resources={"memory": "32M"}, retry=retry, on_lost="fail")
    fleet.start(1, TASKQ_LIMITS_BY=backend)
    (run,) = fleet.enqueue("hog")

    assert fleet.failure(run, 30)[0] == "oom"
    assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["oom"]
    assert fleet.field(run, "attempt") == "2"
    assert fleet.field(run, "losses") in ("", "0")


def test_f18_a_child_that_takes_too_much_dies_alone_where_the_kernel_sees_to_it(fleet: Fleet, backend: str) -> None:
    parent = HEAD + (
        "@task\ndef parent():\n"
        "    hog = [sys.executable, '-c', 'import time; kept = bytes(1 << 20) * 300; time.sleep(60)']\n"
        "    return subprocess.run(hog).returncode, os.getpid()\n"
    )
    fleet.put("parent", parent, resources={"memory": "64M"})
    worker = fleet.start(1, TASKQ_LIMITS_BY=backend)
    (executor,) = worker.executors()
    (run,) = fleet.enqueue("parent")

    if backend == "watchdog":
        assert fleet.failure(run)[0] == "oom"
    else:
        assert fleet.result(run) == [-9, executor.pid]
        assert fleet.result(fleet.enqueue("parent")[0]) == [-9, executor.pid]


def test_f18_children_count_together(fleet: Fleet, backend: str) -> None:
    parent = HEAD + (
        "@task\ndef parent():\n"
        "    hog = [sys.executable, '-c', 'import time; kept = bytes(1 << 20) * 80; time.sleep(60)']\n"
        "    children = [subprocess.Popen(hog) for _ in range(3)]\n"
        "    while all(child.poll() is None for child in children):\n"
        "        time.sleep(0.05)\n"
        "    return [child.poll() for child in children]\n"
    )
    fleet.put("parent", parent, resources={"memory": "150M"})
    fleet.start(1, TASKQ_LIMITS_BY=backend)
    (run,) = fleet.enqueue("parent")

    if backend == "watchdog":
        assert fleet.failure(run)[0] == "oom"
    else:
        assert -9 in fleet.result(run)


def test_f19_a_fork_bomb_is_stopped_by_the_limit_of_pids(fleet: Fleet, backend: str, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    timeout = 2.0 if backend == "v1" else 30.0  # it goes on within the limit, or is killed above it
    fleet.put("bomb", BOMB, **FREE, resources={"pids": 32}, timeout=timeout, grace=1.0)
    fleet.put("fine", FINE, **FREE)
    worker = fleet.start(1, TASKQ_LIMITS_BY=backend)
    (run,) = fleet.enqueue("bomb", path=str(path))
    if backend == "v1":
        until(lambda: len(noted(path)) >= 20, what="the bomb went off")
        assert len(psutil.Process(worker.process.pid).children(recursive=True)) <= 34  # the executor, and what the run may have

    reason, error = fleet.failure(run, 30)
    assert reason == ("timeout" if backend == "v1" else "killed")
    assert backend == "v1" or "limit of 32 pids" in error
    until(lambda: not alive(noted(path)), 2.0, "all that it forked has ended")
    assert noted(path)
    assert isinstance(fleet.result(fleet.enqueue("fine")[0]), int)
    until(lambda: len(psutil.Process(worker.process.pid).children(recursive=True)) == 1, 2.0, "the executor alone is left")


def test_f19_what_a_run_with_limits_leaves_behind_ends_with_it(fleet: Fleet, backend: str, tmp_path: Path) -> None:
    fleet.put("leaves", LEAVES, **FREE, resources={"pids": 32})
    worker = fleet.start(1, TASKQ_LIMITS_BY=backend)
    (executor,) = worker.executors()
    path = tmp_path / "pids"

    left = fleet.result(fleet.enqueue("leaves", path=str(path))[0]) + noted(path)
    assert len(left) == 5
    until(lambda: not alive(left), 2.0, "all that it left has ended")
    assert executor.is_running()


@pytest.mark.parametrize("resources", [None, {"pids": 32}])
def test_f19_a_grandchild_with_setsid_is_gone_2_s_after_the_stop(fleet: Fleet, backend: str, tmp_path: Path, resources: Any) -> None:
    waits = LEAVES.replace("    return", "    time.sleep(300)\n    return").replace("def leaves", "def waits")
    fleet.put("waits", waits, **FREE, resources=resources, timeout=1.0, grace=1.0)
    fleet.start(1, TASKQ_LIMITS_BY=backend)
    path = tmp_path / "pids"
    (run,) = fleet.enqueue("waits", path=str(path))
    until(lambda: noted(path), what="it started its children")
    left = noted(path)

    assert fleet.failure(run)[0] == "timeout"
    until(lambda: not alive(left), 2.0, "the grandchild has ended")


@pytest.mark.parametrize("resources", [None, {"pids": 32, "memory": "64M", "cpu": 0.2}])
def test_f20_a_loop_that_swallows_every_stop_is_killed_at_the_end_of_its_grace(fleet: Fleet, backend: str, resources: Any) -> None:
    deaf = HEAD + (
        "@task\ndef deaf():\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        # Twice, as a stop that strikes between the inner block and the next one would end it.
        "    while True:\n"
        "        try:\n"
        "            while True:\n"
        "                try:\n"
        "                    while True:\n"
        "                        pass\n"
        "                except BaseException:\n"
        "                    pass\n"
        "        except BaseException:\n"
        "            pass\n"
    )
    fleet.put("deaf", deaf, resources=resources, timeout=2.0, grace=3.0)
    worker = fleet.start(1, TASKQ_LIMITS_BY=backend)
    (executor,) = worker.executors()
    (run,) = fleet.enqueue("deaf")
    fleet.running()
    began, expiries = time.monotonic(), []

    def killed() -> bool:
        seconds, micros = fleet.redis.time()
        expiry = fleet.redis.zscore(fleet.keys.leases, run)
        if expiry is not None:
            expiries.append(expiry / 1000 - seconds - micros / 1e6)
        return not executor.is_running()

    until(killed, 5.0 + 1.0, "the executor is killed within its timeout, its grace and 1 s")
    assert time.monotonic() - began > 4.5
    assert fleet.failure(run)[0] == "timeout"
    assert fleet.attempts(run) == []
    assert min(expiries) > 0  # its lease never expired, though it took longer than one
    assert len({round(left, 1) for left in expiries}) > 1


def test_a_run_with_limits_is_alone_in_its_executor(fleet: Fleet, backend: str, tmp_path: Path) -> None:
    source = HEAD + (
        "@task\nasync def {name}(path: str):\n"
        "    with open(path, 'a') as out: out.write(f'{{time.monotonic()}} + {name}\\n')\n"
        "    await asyncio.sleep(0.1)\n"
        "    with open(path, 'a') as out: out.write(f'{{time.monotonic()}} - {name}\\n')\n"
    )
    fleet.put("limited", source.format(name="limited"), **FREE, resources={"memory": "1G"})
    fleet.put("free", source.format(name="free"), **FREE)
    fleet.start(1, TASKQ_LIMITS_BY=backend)
    path = tmp_path / "ledger"
    runs = [run for _ in range(5) for name in ("limited", "free") for run in fleet.enqueue(name, path=str(path))]
    for run in runs:
        fleet.result(run)

    inside: list[str] = []
    for _, sign, name in sorted(line.split() for line in path.read_text().splitlines()):
        if sign == "+":
            assert not inside or (name == "free" and "limited" not in inside)
            inside.append(name)
        else:
            inside.remove(name)


def test_a_worker_tells_how_it_holds_limits(fleet: Fleet, backend: str) -> None:
    worker = fleet.start(1, TASKQ_LIMITS_BY=backend)

    limits = fleet.report("w0").limits
    assert limits.backend == {"v1": "cgroup v1", "watchdog": "watchdog"}[backend]
    assert {"memory", "pids"} <= set(limits.enforces)
    assert f"limits of resources are held by {limits.backend}" in worker.text()
    if backend == "watchdog":
        assert "cpu can't be enforced here" in worker.text()
        fleet.put("fine", FINE, **FREE, resources={"cpu": 0.5})
        fleet.result(fleet.enqueue("fine")[0])
        assert "task fine limits cpu, which is not enforced here" in worker.text()


def test_a_backend_that_is_demanded_and_does_not_work_is_an_error(fleet: Fleet) -> None:
    unified = places.look()[0]
    if unified is not None and {"memory", "pids"} <= set((unified / "cgroup.controllers").read_text().split()):
        pytest.skip("version 2 may work here")
    worker = fleet.start(1, ready=False, TASKQ_LIMITS_BY="v2")

    until(lambda: worker.process.poll() is not None, 20, "it ended")
    assert worker.process.returncode != 0
    assert "TASKQ_LIMITS_BY" in worker.text()


def test_the_kernel_would_kill_executors_before_their_worker(fleet: Fleet) -> None:
    worker = fleet.start(2)

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    expected = min(1000, score(worker.process.pid) + 500)
    assert [score(process.pid) for process in worker.executors()] == [expected] * 2
    assert score(worker.process.pid) == score(os.getpid())


def test_what_a_killed_worker_left_is_removed_by_the_next_one(fleet: Fleet, control_groups: str, tmp_path: Path) -> None:
    waits = LEAVES.replace("    return", "    time.sleep(300)\n    return").replace("def leaves", "def waits")
    fleet.put("waits", waits, **FREE, resources={"pids": 32}, timeout=2.0, grace=0.5)
    doomed = fleet.start(1, TASKQ_LIMITS_BY=control_groups)
    path = tmp_path / "pids"
    fleet.enqueue("waits", path=str(path))
    until(lambda: noted(path), what="it started its children")
    left = noted(path)
    folder = places.look()[1]["pids"]
    assert list(folder.glob(f"taskq-{doomed.process.pid}-*"))
    doomed.kill()
    assert list(folder.glob(f"taskq-{doomed.process.pid}-*"))
    fleet.start(1, name="next", TASKQ_LIMITS_BY=control_groups)

    until(lambda: not alive(left), 2.0, "what it left has ended")
    again = fleet.start(1, name="last", TASKQ_LIMITS_BY=control_groups)
    assert not list(folder.glob(f"taskq-{doomed.process.pid}-*"))
    assert again.process.poll() is None
