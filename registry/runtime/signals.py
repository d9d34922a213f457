"""Work that goes on until it is signalled: how a worker and a scheduler begin and end as a process."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Final, Protocol

from redis.exceptions import RedisError

from taskq.registry.effects import translate

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


class Stoppable(Protocol):
    """Work that goes on until it is asked to end."""

    async def work(self) -> None:
        """Returns when it has ended."""

    def request_stop(self) -> None:
        """End it; asked again, at once."""


async def work_until_signalled(process: Stoppable, *, dedicated: bool) -> None:
    """Work until it ends by itself, or by SIGTERM or SIGINT (in the main thread; elsewhere signals are not ours).

    Args:
        process: what works.
        dedicated: this process is for nothing else: a signal that comes after the end must not change its exit code.

    Raises:
        ServerUnreachable: Redis can't be reached at the start; later outages are waited out.
    """
    loop = asyncio.get_running_loop()
    handled = _STOPS if threading.current_thread() is threading.main_thread() else ()
    for number in handled:
        loop.add_signal_handler(number, process.request_stop)
    try:
        await process.work()
    except RedisError as error:
        raise translate(error) from error
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
            if dedicated:
                signal.signal(number, signal.SIG_IGN)
