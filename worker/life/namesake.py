"""Whether an earlier worker of the same name is gone, so that this one may take its place."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from taskq.registry import clock
from taskq.registry.errors import FormatUnknown
from taskq.registry.model.worker import STATUS_FIELD, WorkerReport
from taskq.registry.runtime.server import Server

_LOOK = 0.1


async def earlier_worker_is_gone(server: Server, worker: str) -> bool:
    """Returns True at once if there is none, or if its process ran on this machine and has ended; else once it missed its heartbeats.

    Returns:
        False if it goes on reporting itself: it is alive.
    """
    names = server.keys
    await server.sync_clock()
    first = await server.redis.zscore(names.workers, worker)
    if first is None or await _ended_here(server, worker):
        return True
    deadline = clock.monotonic() + max(0.0, float(first) + server.settings.worker_ttl - server.now())
    while clock.monotonic() < deadline:
        await asyncio.sleep(_LOOK)
        score = await server.redis.zscore(names.workers, worker)
        if score is None:
            return True
        if score > first:
            return False
    return True


async def _ended_here(server: Server, worker: str) -> bool:
    blob: Any = await server.redis.hget(server.keys.worker(worker), STATUS_FIELD)
    try:
        report = WorkerReport.load(blob) if blob else None
    except FormatUnknown:
        return False
    if report is None or report.host != socket.gethostname() or not report.pid:
        return False
    try:
        os.kill(report.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return report.pid == os.getpid()
