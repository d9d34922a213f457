"""`Tasks`: runs of ``async def`` tasks on the executor's loop. Imports asyncio, and so is imported with the first of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, Final

from taskq.worker.executor import coroutines
from taskq.worker.executor.gate import current_number
from taskq.worker.executor.running import Started, raised
from taskq.worker.executor.together.members import Member
from taskq.worker.link.protocol import Report

_ROUNDS: Final = 10
_member: ContextVar[Member | None] = ContextVar("taskq_member", default=None)


class Tasks:
    """The loop and what is in progress on it.

    Args:
        sock: becomes readable when there are messages. ``readable``: called then.
        step: called after runs have ended, and when somebody pokes. ``ended``: given each run that has ended, and how.
    """

    def __init__(
        self,
        sock: socket.socket,
        bell: int,
        *,
        readable: Callable[[], None],
        step: Callable[[], None],
        ended: Callable[[Member, Report], None],
    ) -> None:
        self._step, self._ended = step, ended
        self._soon = False
        self._context = copy_context()  # nobody's: what a run sets in it would reach those that begin when it ends
        self._loop = coroutines.loop_of_thread()
        self._loop.set_task_factory(_noting)
        self._loop.add_reader(sock, readable)
        self._loop.add_reader(bell, step)

    def begin(self, member: Member) -> None:
        """A run begins, at the loop's next turn."""
        member.task = self._loop.create_task(self._work(member), context=self._context.copy())

    def cancel(self, member: Member) -> None:
        """Have it cancelled; may be called by the signal handler, also in the midst of the loop's own code."""
        self._loop.call_soon_threadsafe(member.task.cancel)

    def work(self) -> None:
        """Go on with the loop until `pause`."""
        try:
            self._loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            self.poke()  # raised by an asyncio task that a run has created; the run sees it too, if it waits for it

    def pause(self) -> None:
        """Have `work` return."""
        self._loop.stop()

    def poke(self) -> None:
        """Call ``step`` at the loop's next turn; may be called by the signal handler."""
        self._loop.call_soon_threadsafe(self._step)

    async def _work(self, member: Member) -> None:
        _member.set(member)
        started = Started(member.order, member.loaded)
        try:
            try:
                current_number.set(member.number)  # from here on it may be struck
                value = started.call()
                ended = started.succeeded(await value if asyncio.iscoroutine(value) else value)
            finally:
                current_number.set(None)
        except BaseException as error:  # noqa: BLE001  # whatever task code raises, SystemExit and a stop too, is the run's outcome
            current_number.set(None)  # again: it may have been struck before the line above
            ended = raised(error)
        await _end_children(member)
        self._ended(member, started.close(ended, member.why))
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._after, context=self._context)

    def _after(self) -> None:
        self._soon = False
        self._step()


async def _end_children(member: Member) -> None:
    """Cancel what the run leaves on the loop, and wait for its end; what that creates as well."""
    for _ in range(_ROUNDS):
        left = [task for task in member.children if not task.done()]
        if not left:
            return
        for task in left:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # told to stop once more: it is about to
            await asyncio.gather(*left, return_exceptions=True)


def _noting(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: a run's asyncio tasks are noted with it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    member = _member.get()
    if member is not None:
        member.children.add(task)
        task.add_done_callback(member.children.discard)
    return task
