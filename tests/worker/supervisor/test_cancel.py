"""Cancelling runs that a worker has: in progress, waiting in it, and where a message, a worker or a task does not play along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Fleet
from support.tasks import FREE, HEAD, NAP, STUBBORN, gone, started
from support.waiting import until

from taskq import AsyncClient, Client, Run
from taskq.registry.effects import run_sync
from taskq.registry.errors import Conflict, WaitTimeout
from taskq.registry.runs.retries import retry_run


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    with Client(settings=fleet.settings) as made:
        yield made


def napping(fleet: Fleet, client: Client, path: Path) -> Run[Any]:
    """A run that is in progress, and would be for a minute."""
    (run_id,) = fleet.enqueue("nap", seconds=60, path=str(path))
    started(path)
    return client.run(run_id)


def test_a_run_in_progress_is_interrupted_and_recorded_as_cancelled(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("nap", NAP, grace=30.0, **FREE)
    worker = fleet.start(1)
    before = {child.pid for child in worker.executors()}
    run = napping(fleet, client, tmp_path / "ledger")
    run.cancel("wrong region")

    assert (run.status, run.reason) == ("cancelled", "wrong region")
    assert [attempt["outcome"] for attempt in run.attempts] == ["cancelled"]
    assert run.worker == "w0"
    assert fleet.redis.zscore(fleet.keys.rq_registry("canceled", "default"), run.id)
    ((_, entry),) = fleet.redis.xrange(fleet.keys.events)
    assert json.loads(entry[b"event"])["type"] == "taskq.run.cancelled"
    assert {child.pid for child in worker.executors()} == before
    assert fleet.redis.zcard(fleet.keys.leases) == 0


def test_an_async_client_cancels_as_well(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    fleet.start(1)
    path = tmp_path / "ledger"
    (run_id,) = fleet.enqueue("nap", seconds=60, path=str(path))
    started(path)

    async def cancel() -> str | None:
        async with AsyncClient(settings=fleet.settings) as client:
            run = await client.run(run_id)
            await run.cancel()
            return run.status

    assert asyncio.run(cancel()) == "cancelled"


def test_a_run_that_does_not_stop_is_killed_with_all_that_it_started(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("stubborn", STUBBORN, grace=1.0, **FREE)
    fleet.start(1)
    path = tmp_path / "pid"
    (run_id,) = fleet.enqueue("stubborn", path=str(path))
    started(path, 2)
    run = client.run(run_id)
    run.cancel()

    assert run.status == "cancelled"
    assert "did not stop within 1 s" in (run.error or "")
    pid = int(path.read_text())
    until(lambda: gone(pid), 3, "its child is gone")


def test_runs_behind_others_in_a_worker_are_cancelled_without_starting(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    # Given an executor whose inbox holds several runs: they were short until now
    fleet.put("nap", NAP, **FREE)
    fleet.start(1)
    for run_id in fleet.enqueue("nap", 200):
        fleet.result(run_id)
    path = tmp_path / "ledger"
    runs = [client.run(run_id) for run_id in fleet.enqueue("nap", 6, seconds=1.0, path=str(path))]
    started(path)
    # When all but the first are cancelled, wherever they are now
    for run in runs[1:]:
        run.cancel(wait=0)
    assert runs[0].wait(10) is None
    for run in runs[1:]:
        until(lambda run=run: run.refresh().status == "cancelled", 10)
    # Then no more than the one that was in progress has started
    assert path.read_text() in ("x", "xx")


def test_a_run_that_waits_for_its_version_is_cancelled_without_starting(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    fleet.start(1)
    fleet.put("slow", HEAD + f"time.sleep(4)\n@task\ndef slow():\n    open({str(path)!r}, 'a').write('x')\n", **FREE)
    (run_id,) = fleet.enqueue("slow")
    fleet.running()
    run = client.run(run_id)
    run.cancel(wait=3.0)
    assert run.status == "cancelled"
    assert not path.exists()


def test_f12_a_lost_message_costs_no_more_than_a_heartbeat(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    fleet.start(1, TASKQ_PUBSUB="off")
    run = napping(fleet, client, tmp_path / "ledger")
    run.cancel(wait=4.0)
    assert run.status == "cancelled"
    until(lambda: not fleet.redis.exists(fleet.keys.asked("w0")), 5, "the request is done with")


def test_f13_doubled_garbled_and_forged_messages_change_nothing(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1)
    path = tmp_path / "ledger"
    (run_id,) = fleet.enqueue("nap", seconds=1.0, path=str(path))
    started(path)
    garbage = ["", "null", "[]", "{", '{"type":"cancel"}', '{"type":"cancel","run":7}', '{"type":"drain"}', "\xff" * 1000]
    garbage += ['{"type":"drain","worker":"w0","started_at":"1.000000"}', '{"type":"drain","worker":"other","started_at":"1"}']
    garbage += ['{"type":"cancel","run":"nobody"}'] * 2
    for message in garbage:
        fleet.redis.publish(fleet.keys.control, message)
        fleet.redis.publish(fleet.keys.changes, message)

    assert fleet.result(run_id) is None
    assert worker.process.poll() is None
    assert fleet.report("w0").state in ("idle", "busy")


def test_a_run_whose_worker_dies_meanwhile_is_cancelled_by_who_takes_it_over(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    doomed = fleet.start(1)
    path = tmp_path / "ledger"
    run = napping(fleet, client, path)
    fleet.start(1)
    doomed.kill()
    with pytest.raises(WaitTimeout, match="has not confirmed"):
        run.cancel("too late", wait=0.1)

    assert run.refresh().status == "running"
    until(lambda: run.refresh().status == "cancelled", 15, f"it is cancelled\n{fleet.texts()}")
    assert run.reason == "too late"
    assert [attempt["outcome"] for attempt in run.attempts] == ["worker_lost"]
    assert path.read_text() == "x"


def test_a_cancel_that_comes_with_a_stop_of_the_worker_counts(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1)
    run = napping(fleet, client, tmp_path / "ledger")
    worker.terminate()
    until(lambda: "drains" in worker.text(), what="it drains")
    run.cancel()
    assert run.status == "cancelled"
    assert worker.process.wait(5) == 0


def test_a_run_that_ends_by_itself_before_it_can_be_stopped_says_so(fleet: Fleet, client: Client) -> None:
    fleet.put("nap", NAP, **FREE)
    fleet.start(1)
    (run_id,) = fleet.enqueue("nap")
    fleet.result(run_id)
    with pytest.raises(Conflict, match="has ended: succeeded"):
        client.run(run_id).cancel()


def test_a_run_that_is_retried_at_once_is_not_cancelled_again_by_the_request_that_ended_it(
    fleet: Fleet, client: Client, tmp_path: Path
) -> None:
    fleet.put("nap", NAP, **FREE)
    fleet.start(1)
    path = tmp_path / "ledger"
    run = napping(fleet, client, path)
    run.cancel()
    run_sync(retry_run(fleet.keys, fleet.settings, run.id), fleet.redis)
    started(path, 2)
    until(lambda: not fleet.redis.exists(fleet.keys.asked("w0")), 5, "the request is done with")
    assert run.refresh().status == "running"
    assert [attempt["outcome"] for attempt in run.attempts] == ["cancelled", "running"]
    run.cancel()
    assert run.status == "cancelled"
