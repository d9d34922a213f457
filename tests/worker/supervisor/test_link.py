"""The supervisor's end of a link, against an executor that does as it likes; and loops that fail."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from support.waiting import until

from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.runtime.loop import Loop, Periodic
from taskq.registry.runtime.server import Server
from taskq.registry.settings import Settings
from taskq.worker.link import descendants
from taskq.worker.link.channel import Channel
from taskq.worker.link.lanes import ALONE, Lane
from taskq.worker.link.page import Page
from taskq.worker.link.process import ExecutorProcess
from taskq.worker.link.protocol import Kind, encode
from taskq.worker.pool.handle import Handle, Known
from taskq.worker.pool.inbox import Fate, Left
from taskq.worker.runs.run import Run


class Notes:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.left: list[list[Left]] = []
        self.gone_event = asyncio.Event()
        self.finished_event = asyncio.Event()

    def began(self, handle: Handle) -> None:
        pass

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        del handle
        self.reports.append((run.id, report))
        self.finished_event.set()

    def logged(self, run: Run, lines: Any) -> None:
        pass

    def load_failed(self, handle: Handle, version: tuple[str, int], error: str) -> None:
        pass

    def gone(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        del handle, returncode
        self.left.append(left)
        self.gone_event.set()


class Fake(ExecutorProcess):
    """A process that is none of ours, at the end of a link that the test holds."""

    @classmethod
    def make(cls) -> tuple[Fake, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        page, memory = Page.make()
        os.close(memory)  # what an executor writes there, the test writes into `page`
        return cls(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]), ours, page), theirs


@pytest.fixture
def fake() -> Iterator[tuple[Fake, socket.socket]]:
    process, theirs = Fake.make()
    yield process, theirs
    theirs.close()
    process.kill()
    process.wait()
    process.close()
    process.socket.close()


def a_run(name: str) -> Run:
    return Run(id=name, token="1", queue="default", origin="taskq.default", task="t", attempt=1, data=b"", limit=60.0)


def ids(notes: Notes) -> list[list[str]]:
    return [[request.id for request, _ in left if isinstance(request, Run)] for left in notes.left]


def number_of(handle: Handle, name: str) -> int:
    return next(number for number, request in handle.inbox.items() if isinstance(request, Run) and request.id == name)


def test_an_executor_can_speak_only_of_runs_in_its_own_inbox(fake: tuple[Fake, socket.socket]) -> None:
    process, theirs = fake

    async def scenario() -> Notes:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        handle.run(a_run("mine"))
        number = number_of(handle, "mine")
        theirs.sendall(encode(Kind.FINISHED, number + 1, [1.0, b"r"]) + encode(Kind.LOADED, number, {"ok": True}))
        theirs.sendall(encode(Kind.FINISHED, number, [1.0, None, {"outcome": "failed", "run": "another"}]))
        theirs.sendall(encode(Kind.FINISHED, number, [1.0, b"r"]))
        await asyncio.wait_for(notes.finished_event.wait(), 5)
        handle.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)
        return notes

    notes = asyncio.run(scenario())
    assert notes.reports == [("mine", {"outcome": "failed", "run": "another", "result": None, "ms": 1.0})]
    assert notes.left == [[]]


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", b"\0\0\0\x01\xc1", encode(Kind.RUN, 1, []), encode(Kind.HELLO, 0, {"protocol": 99})]
)
def test_an_executor_that_sends_garbage_is_killed_and_its_runs_are_known(fake: tuple[Fake, socket.socket], garbage: bytes) -> None:
    process, theirs = fake

    async def scenario() -> Notes:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        handle.run(a_run("first"))
        handle.run(a_run("second"))
        theirs.sendall(garbage)
        await asyncio.wait_for(notes.gone_event.wait(), 5)
        assert handle.dead
        return notes

    notes = asyncio.run(scenario())
    assert ids(notes) == [["first", "second"]]


def test_what_an_executor_said_before_it_died_counts(fake: tuple[Fake, socket.socket]) -> None:
    process, theirs = fake

    async def scenario() -> Notes:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        handle.run(a_run("done"))
        handle.run(a_run("begun"))
        theirs.sendall(encode(Kind.FINISHED, number_of(handle, "done"), [1.0, b"r"]))
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.wait_for(notes.gone_event.wait(), 5)
        return notes

    notes = asyncio.run(scenario())
    assert [run for run, _ in notes.reports] == ["done"]
    assert ids(notes) == [["begun"]]


def placed(handle: Handle, name: str, lane: Lane) -> int:
    """A run of a version in this lane; its number."""
    run = a_run(name)
    handle.loaded["t", 0] = Known(1, lane, "default")
    handle.run(run)
    return run.number


THREADS = Lane("threads t", 3)


@pytest.mark.parametrize(
    ("lanes", "begun", "ended", "fates"),
    [
        ([ALONE, ALONE], 0, 0, "WAITED WAITED"),
        ([ALONE, ALONE], 1, 0, "CRASHED WAITED"),
        ([ALONE, ALONE, ALONE], 2, 1, "BEGUN CRASHED WAITED"),  # the first has ended, and its outcome is lost
        ([ALONE, ALONE], 1, 1, "BEGUN WAITED"),  # between two
        ([THREADS, THREADS, THREADS, THREADS], 3, 0, "BEGUN BEGUN BEGUN WAITED"),
        ([THREADS], 1, 0, "CRASHED"),  # alone, though it need not be
        ([THREADS, ALONE], 1, 0, "CRASHED WAITED"),
        ([ALONE, THREADS], 2, 1, "BEGUN CRASHED"),
        ([ALONE, THREADS, THREADS], 3, 1, "BEGUN BEGUN BEGUN"),
    ],
)
def test_f2_what_had_begun_when_an_executor_died_is_known_from_its_page(
    fake: tuple[Fake, socket.socket], lanes: list[Lane], begun: int, ended: int, fates: str
) -> None:
    process, _ = fake

    async def scenario() -> list[Fate]:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        numbers = [0] + [placed(handle, f"r{at}", lane) for at, lane in enumerate(lanes)]
        process.page.cells[0], process.page.cells[1] = numbers[begun], numbers[ended]
        process.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)
        return [fate for _, fate in notes.left[0]]

    assert [fate.name for fate in asyncio.run(scenario())] == fates.split()


def test_runs_on_threads_begin_together_up_to_their_slots_and_each_has_a_deadline(fake: tuple[Fake, socket.socket]) -> None:
    process, theirs = fake

    async def scenario() -> None:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        numbers = [placed(handle, f"r{at}", Lane("threads t", 2)) for at in range(3)]
        last = placed(handle, "alone", ALONE)
        assert list(handle.begun) == numbers[:2]
        assert handle.crowded
        for number, begun in ((numbers[1], [numbers[0], numbers[2]]), (numbers[0], [numbers[2]]), (numbers[2], [last])):
            theirs.sendall(encode(Kind.FINISHED, number, [1.0, b"r"]))
            await asyncio.wait_for(notes.finished_event.wait(), 5)
            notes.finished_event.clear()
            assert list(handle.begun) == begun
        assert handle.deadline < clock.monotonic() + 61
        handle.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)

    asyncio.run(scenario())


def test_f17_a_run_that_had_an_executor_for_itself_has_crashed_it_also_where_it_had_ended(fake: tuple[Fake, socket.socket]) -> None:
    process, _ = fake

    async def scenario() -> list[Left]:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        run = a_run("suspect")
        run.solo = True
        handle.run(run)
        process.page.cells[0] = process.page.cells[1] = run.number
        process.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)
        return notes.left[0]

    assert [fate for _, fate in asyncio.run(scenario())] == [Fate.CRASHED]


def test_one_that_was_told_to_stop_before_it_began_is_late_when_it_begins(fake: tuple[Fake, socket.socket]) -> None:
    """Given a run that began in its executor just as its CANCEL came, then it goes down the ladder, and not only at its timeout."""
    process, theirs = fake

    async def scenario() -> None:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        first, second = a_run("first"), a_run("second")
        handle.run(first)
        handle.run(second)
        handle.cancel(second, "cancel")
        theirs.sendall(encode(Kind.FINISHED, first.number, [1.0, b"r"]))
        await asyncio.wait_for(notes.finished_event.wait(), 5)
        assert handle.begun == {second.number: second}
        assert handle.deadline <= clock.monotonic()
        handle.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)

    asyncio.run(scenario())


def test_only_the_head_of_an_inbox_has_a_deadline(fake: tuple[Fake, socket.socket]) -> None:
    process, theirs = fake

    async def scenario() -> None:
        notes = Notes()
        handle = await Handle.start(process, notes, max_result=1, max_log=1)
        first, second = a_run("first"), a_run("second")
        first.limit, second.limit = 60.0, 1.0
        handle.run(first)
        handle.run(second)
        assert handle.deadline > clock.monotonic() + 50
        assert second.began == 0.0
        theirs.sendall(encode(Kind.FINISHED, number_of(handle, "first"), [1.0, b"r"]))
        await asyncio.wait_for(notes.finished_event.wait(), 5)
        assert second.began > 0.0
        assert handle.deadline < clock.monotonic() + 2
        handle.kill()
        await asyncio.wait_for(notes.gone_event.wait(), 5)

    asyncio.run(scenario())


def test_frames_of_one_turn_leave_together() -> None:
    async def scenario() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            channel = await Channel.open(ours, lambda _: None, lambda: None)
            for number in range(3):
                channel.send(Kind.UNLOAD, number, {})
            theirs.setblocking(False)
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 4096), 5)
            channel.close()
            return data

    assert asyncio.run(scenario()) == b"".join(encode(Kind.UNLOAD, number, {}) for number in range(3))


def test_all_descendants_are_found_and_killed_even_those_of_a_session_of_their_own() -> None:
    code = (
        "import subprocess, sys, time\n"
        "inner = 'import subprocess,sys,time;"
        ' subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True); time.sleep(60)\'\n'
        "subprocess.Popen([sys.executable, '-c', inner], start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    below = until(lambda: len(found := descendants.descendants_of(process.pid)) == 2 and found, what="both are there")
    processes = [psutil.Process(pid) for pid in below]
    descendants.kill_tree(process.pid)

    assert process.wait(5) == -signal.SIGKILL
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


# -- loops ---------------------------------------------------------------------------------------------------
class Flaky(Loop):
    """Raises what it is told, then ends."""

    def __init__(self, server: Server, errors: list[Exception]) -> None:
        super().__init__(server, "flaky")
        self.errors, self.done = errors, asyncio.Event()

    async def run(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()


def test_a_loop_that_raises_is_logged_with_its_traceback_and_started_again(
    settings: Settings, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        server = Server(settings, keys)
        loop = Flaky(server, [ZeroDivisionError("first"), KeyError("second")])
        loop.start()
        await asyncio.wait_for(loop.done.wait(), 5)
        await loop.stop()
        await server.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError, KeyError]


def test_an_outage_stops_all_loops_and_costs_at_most_two_attempts_a_second(settings: Settings, keys: Keys, tmp_path: Any) -> None:
    absent = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})

    async def scenario() -> tuple[int, list[bool]]:
        server = Server(absent, keys)
        attempts = 0
        original = server.redis.ping

        async def counted() -> Any:
            nonlocal attempts
            attempts += 1
            return await original()

        server.redis.ping = counted  # type: ignore[method-assign]  # counts what the prober does
        loops = [Flaky(server, [ConnectionRefusedError("away")]) for _ in range(5)]
        for loop in loops:
            loop.start()
        # The time over which attempts are counted, not a wait for something.
        await asyncio.wait([asyncio.ensure_future(loop.done.wait()) for loop in loops], timeout=2.0)
        waiting = [not loop.done.is_set() for loop in loops]
        for loop in loops:
            await loop.stop()
        await server.close()
        return attempts, waiting

    attempts, waiting = asyncio.run(scenario())
    assert attempts <= 4
    assert all(waiting)


def test_a_loop_that_is_poked_and_stopped_at_once_ends(settings: Settings, keys: Keys) -> None:
    class Idle(Periodic):
        async def step(self) -> None:
            rounds.set()

    async def scenario() -> None:
        server = Server(settings, keys)
        for _ in range(50):
            rounds.clear()
            loop = Idle(server, "idle", 60.0)
            loop.start()
            await asyncio.wait_for(rounds.wait(), 5)
            await asyncio.sleep(0)
            loop.poke()
            await asyncio.wait_for(loop.stop(), 5)
        await server.close()

    rounds = asyncio.Event()
    asyncio.run(scenario())


def test_a_cancellation_that_was_swallowed_is_repeated(settings: Settings, keys: Keys) -> None:
    class Deaf(Loop):
        async def run(self) -> None:
            try:
                heard.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    async def scenario() -> None:
        server = Server(settings, keys)
        loop = Deaf(server, "deaf")
        loop.start()
        await asyncio.wait_for(heard.wait(), 5)
        await asyncio.wait_for(loop.stop(), 5)
        await server.close()

    heard = asyncio.Event()
    asyncio.run(scenario())


def test_an_executor_that_can_not_be_watched_is_ended_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(24, "too many open files")

    here = psutil.Process()
    before = here.num_fds(), here.children()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="too many"):
        ExecutorProcess.start({"PATH": os.environ["PATH"]})
    assert (here.num_fds(), here.children()) == before
