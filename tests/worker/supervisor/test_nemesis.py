"""What a seeded nemesis found: faults at the worst moment, and tasks that don't clean up."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from support.fleet import Fleet
from support.tasks import FREE, HEAD, LEAVES, gone
from support.waiting import until

from taskq.registry import scripts
from taskq.registry.connect import connect
from taskq.registry.settings import Settings

NAP = HEAD + "@task\ndef nap(seconds: float = 0.0, path: str = '/dev/null'):\n"
NAP += "    time.sleep(seconds)\n    open(path, 'w').close()\n    return 1\n"


def test_an_outcome_that_came_in_an_outage_is_recorded_without_another(own_server: object, settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"redis_url": own_server.url})  # type: ignore[attr-defined]  # the fixture's class is in conftest
    with connect(own) as client:
        fleet = Fleet(own, client, tmp_path)
        try:
            fleet.put("nap", NAP, **FREE)
            worker = fleet.start(1)
            ended = tmp_path / "ended"
            (run,) = fleet.enqueue("nap", seconds=0.7, path=str(ended))
            fleet.running()
            # The server holds everything back until the outcome was sent, then it is gone.
            client.execute_command("CLIENT", "PAUSE", 10_000, "ALL")
            until(ended.exists, what="it ended")
            sent = time.monotonic() + 0.3
            until(lambda: time.monotonic() > sent, what="its outcome was sent")
            own_server.kill()  # type: ignore[attr-defined]  # see above
            until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
            own_server.start()  # type: ignore[attr-defined]  # see above
            assert fleet.result(run, 8) == 1
        finally:
            fleet.stop()


def test_many_runs_that_cannot_start_here_do_not_stop_others(fleet: Fleet) -> None:
    fleet.put("broken", HEAD + "raise RuntimeError('no')\n", **FREE)
    fleet.put("nap", NAP, **FREE)
    fleet.start(2)
    fleet.enqueue("broken", 1000)
    (run,) = fleet.enqueue("nap")

    assert fleet.result(run, 12) == 1


def test_many_runs_of_another_release_do_not_stop_others(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    foreign = fleet.enqueue("nap", 1000)
    for run in foreign:
        fleet.redis.hset(fleet.keys.rq_job(run), "taskq", "2")
    fleet.start(2)
    (run,) = fleet.enqueue("nap")

    assert fleet.result(run, 12) == 1
    assert fleet.redis.llen(fleet.keys.rq_queue("default")) == 1000


def test_what_a_run_started_ends_with_its_timeout(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    fleet.put("leaves", LEAVES, timeout=0.5, grace=1.0, **FREE)
    fleet.start(1)
    (run,) = fleet.enqueue("leaves", path=str(path))

    assert fleet.failure(run)[0] == "timeout"
    pid = int(path.read_text())
    until(lambda: gone(pid), 2, "its child is gone")


def test_orphans_of_runs_that_ended_are_reaped(fleet: Fleet) -> None:
    source = HEAD + "@task\ndef litter():\n    subprocess.run(['sh', '-c', 'sleep 0.1 & sleep 0.1 &'])\n"
    fleet.put("litter", source, **FREE)
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1)
    for run in fleet.enqueue("litter", 5):
        fleet.ended(run)
    (executor,) = worker.executors()

    def tidy() -> bool:
        fleet.result(fleet.enqueue("nap")[0])
        return not executor.children()

    until(tidy, 5, "they were reaped")


def test_what_a_run_did_to_its_process_does_not_last(fleet: Fleet) -> None:
    source = HEAD + (
        "@task\ndef vandal():\n"
        "    sys.stdout.close()\n    sys.stdout, sys.stderr = io.StringIO(), None\n"
        "    for number in (signal.SIGUSR1, signal.SIGTERM): signal.signal(number, signal.SIG_DFL)\n"
        "    os.chdir('/proc')\n"
    )
    after = HEAD + "@task\ndef after():\n    print('heard', flush=True)\n    folder = os.getcwd()\n    time.sleep(9)\n    return folder\n"
    fleet.put("vandal", source, **FREE)
    fleet.put("after", after, timeout=1.0, grace=4.0, **FREE)
    worker = fleet.start(1)
    (executor,) = worker.executors()
    fleet.ended(fleet.enqueue("vandal")[0])
    (run,) = fleet.enqueue("after")

    assert fleet.failure(run, 4)[0] == "timeout"
    assert worker.executors() == [executor]
    assert [entry[b"text"] for _, entry in fleet.redis.xrange(fleet.keys.logs(run))] == [b"heard"]


def test_a_worker_that_ends_in_the_midst_of_a_claim_keeps_nothing(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1)
    (run,) = fleet.enqueue("nap", seconds=20.0)
    fleet.running()
    # One more is claimed in its name, and it never hears of it.
    (other,) = fleet.enqueue("nap", seconds=20.0)
    keys = fleet.keys
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue("default")]
    assert scripts.load("claim").call(fleet.redis, names, [worker.name, 30_000, 1, keys.rq])[3:]
    worker.terminate()
    until(lambda: "drains" in worker.text(), what="it drains")
    worker.terminate()

    assert worker.process.wait(5) == 0, worker.text()
    assert fleet.redis.zcard(fleet.keys.leases) == 0
    for held in (run, other):
        assert fleet.field(held, "status") == "queued"
        assert fleet.field(held, "attempt") == "0"


def test_a_run_whose_job_is_no_hash_keeps_no_other_from_being_taken_over(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    first = fleet.start(2)
    spoilt, good = fleet.enqueue("nap", 2, seconds=0.5)
    fleet.running(2)
    first.kill()
    fleet.redis.delete(fleet.keys.rq_job(spoilt))
    fleet.redis.set(fleet.keys.rq_job(spoilt), "spoilt")
    fleet.start(1)

    assert fleet.result(good, 12) == 1
    until(lambda: fleet.redis.zcard(fleet.keys.leases) == 0, 5, "no lease is left")


def test_a_job_that_is_no_hash_takes_no_other_run_along(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    spoilt, good = fleet.enqueue("nap", 2)
    fleet.redis.delete(fleet.keys.rq_job(spoilt))
    fleet.redis.set(fleet.keys.rq_job(spoilt), "spoilt")
    fleet.start(2)

    assert fleet.result(good) == 1


def test_a_dead_worker_is_forgotten_in_queues_that_nobody_else_serves(fleet: Fleet) -> None:
    keys = fleet.keys
    fleet.put("elsewhere", NAP, attribute="nap", queue="elsewhere", **FREE)
    fleet.redis.zadd(keys.workers, {"gone": 1.0})
    fleet.redis.sadd(keys.rq_workers_of("elsewhere"), keys.rq_worker("gone"))
    fleet.start(1)

    until(lambda: not fleet.redis.exists(keys.rq_workers_of("elsewhere")), 5, "it is forgotten")


def test_a_deleted_run_leaves_no_list_of_its_attempts(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1)
    (run,) = fleet.enqueue("nap", seconds=1.5)
    until(lambda: fleet.field(run, "version"), what="it has begun")
    worker.executors()[0].kill()
    until(lambda: fleet.attempts(run), what="the attempt is recorded")
    fleet.running()
    fleet.redis.delete(keys_of := fleet.keys.rq_job(run))

    until(lambda: fleet.redis.zcard(fleet.keys.leases) == 0, what="it ended")
    assert not fleet.redis.exists(keys_of, fleet.keys.attempts(run))


def test_an_outage_costs_two_connection_attempts_a_second(own_server: object, settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"redis_url": own_server.url})  # type: ignore[attr-defined]  # the fixture's class is in conftest
    attempts: list[float] = []
    with connect(own) as client, socket.socket(socket.AF_UNIX) as door:
        fleet = Fleet(own, client, tmp_path)
        fleet.start(1)
        own_server.kill()  # type: ignore[attr-defined]  # see above
        door.bind(str(own_server.socket))  # type: ignore[attr-defined]  # see above
        door.listen(64)
        door.setblocking(False)
        end = time.monotonic() + 4
        until(lambda: time.monotonic() > end or knocked(door, attempts), 6, "four seconds passed")
        own_server.socket.unlink()  # type: ignore[attr-defined]  # see above
        own_server.start()  # type: ignore[attr-defined]  # see above
        fleet.stop()
    assert len(attempts) <= 8, attempts


def knocked(door: socket.socket, attempts: list[float]) -> None:
    """Let in and turn away who is at the door."""
    with contextlib.suppress(BlockingIOError):
        while True:
            door.accept()[0].close()
            attempts.append(time.monotonic())
