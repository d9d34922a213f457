"""Following a run: waiting, refreshing, cancelling, lists and logs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from support import hands
from support.waiting import until

from taskq.producer import Client
from taskq.registry.errors import Conflict, NotFound, RunFailed, ServerUnreachable, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings


@pytest.fixture
def background() -> Iterator[Callable[..., Future[object]]]:
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def test_a_wait_ends_with_the_result(client: Client, server: Redis, keys: Keys, background: Callable[..., Future[object]]) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    waiting = background(run.wait, 10)
    hands.finish(server, keys, hands.claim(server, keys)[0], {"sum": [1, 2]}, version=4)
    assert waiting.result(10) == {"sum": [1, 2]}
    assert (run.status, run.version, run.worker, run.result) == ("succeeded", 4, hands.WORKER, {"sum": [1, 2]})
    assert run.wait() == {"sum": [1, 2]}


def test_a_wait_for_a_failed_run_raises_with_the_remote_traceback(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    trace = 'Traceback (most recent call last):\n  File "count.py"\nValueError: boom'
    hands.finish(server, keys, hands.claim(server, keys)[0], reason="error", error="ValueError: boom", traceback=trace)
    with pytest.raises(RunFailed) as caught:
        run.wait(5)
    assert (caught.value.run, caught.value.status, caught.value.reason, caught.value.error) == (run.id, "failed", "error", trace)
    assert trace in str(caught.value)


def test_a_wait_that_takes_too_long_says_where_the_run_is(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    with pytest.raises(WaitTimeout, match="it is queued"):
        run.wait(0.05)
    hands.claim(server, keys)
    with pytest.raises(WaitTimeout, match="it is running"):
        run.wait(0)


def test_a_result_between_two_looks_is_not_missed(client: Client, server: Redis, keys: Keys) -> None:
    # Given an earlier result in the run's stream, as RQ leaves one when a failed job is requeued
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    server.xadd(keys.rq_results(run.id), {"type": 2})
    # When it has not ended, the earlier result doesn't end the wait
    with pytest.raises(WaitTimeout):
        run.wait(0.05)


def test_a_queued_run_is_cancelled_and_who_waits_is_told(
    client: Client, server: Redis, keys: Keys, background: Callable[..., Future[object]]
) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    waiting = background(client.run(run.id).wait, 10)
    run.cancel()
    assert (run.status, run.reason, run.error) == ("cancelled", None, None)
    with pytest.raises(RunFailed, match="was cancelled") as caught:
        waiting.result(10)
    assert caught.value.status == "cancelled"
    assert hands.claim(server, keys) == []
    with pytest.raises(Conflict, match="has ended: cancelled"):
        run.cancel()


def test_a_parked_run_is_cancelled(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    hands.release(server, keys, hands.claim(server, keys)[0], where="park")
    run.cancel()
    assert server.llen(keys.parked("count")) == 0


def test_who_cancels_what_runs_is_told_that_no_worker_confirms_it(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    hands.claim(server, keys)
    with pytest.raises(WaitTimeout, match="was asked to stop, and its worker has not confirmed it"):
        run.cancel(wait=0.2)
    assert server.hexists(keys.rq_job(run.id), "cancel")
    hands.age(server, keys, run.id)
    for missing in (run.cancel, run.refresh, run.wait, lambda: client.run("nobody")):
        with pytest.raises(NotFound):
            missing()


def test_runs_are_listed_newest_first(client: Client, server: Redis, keys: Keys) -> None:
    for name in ("count", "other"):
        hands.put_task(server, keys, name)
    runs = [client.enqueue(name) for name in ("count", "other", "count")]
    hands.finish(server, keys, hands.claim(server, keys)[0])
    assert [run.id for run in client.runs()] == [run.id for run in reversed(runs)]
    assert [run.id for run in client.runs(task="count", status="queued")] == [runs[2].id]
    assert [run.id for run in client.runs(limit=1)] == [runs[2].id]


def test_a_run_knows_its_log(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    run = client.enqueue("count")
    assert run.logs() == []
    server.xadd(keys.logs(run.id), {"at": "1700000000.5", "level": "INFO", "text": "hällo"})
    (line,) = run.logs()
    assert (line["at"], line["level"], line["text"]) == ("2023-11-14T22:13:20.500+00:00", "INFO", "hällo")
    assert run.logs(after=line["id"]) == []


def test_threads_share_a_client(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count")
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(25):
            client.enqueue("count")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: server.llen(keys.rq_queue("default"))) == 100


def test_a_wait_outlives_a_server_that_is_killed(own_server: Any, keys: Keys, background: Callable[..., Future[object]]) -> None:
    # Given somebody who waits for a run
    settings = Settings(redis_url=own_server.url)
    with Client(settings=settings) as client:
        hands.put_task(client.redis, keys, "count")
        run = client.enqueue("count")
        waiting = background(run.wait, 60)
        until(lambda: any(one["cmd"] == "xread" for one in clients(client.redis)), what="the wait blocks")
        # When the server is killed, comes back, and the run ends
        own_server.kill()
        own_server.start()
        hands.finish(client.redis, keys, hands.claim(client.redis, keys)[0], "done")
        # Then the wait ends with the result
        assert waiting.result(30) == "done"
        # And a server that is away from the start is an error
        own_server.kill()
        with pytest.raises(ServerUnreachable):
            run.wait(60)


def clients(redis: Redis) -> list[dict[str, str]]:
    return list(redis.client_list())
