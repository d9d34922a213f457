"""Having a worker end from afar: it is asked in two ways, and answers by its report."""

from __future__ import annotations

import json
from typing import Final

from taskq.registry import clock
from taskq.registry.changes.fleet import known_workers, read_worker
from taskq.registry.effects import Command, Op, Pause, Pipeline
from taskq.registry.errors import NotFound, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.model.worker import WorkerReport
from taskq.registry.names import check
from taskq.registry.settings import Settings

_REMEMBERED: Final = 3600
_LOOK: Final = 0.1


def request_drain(keys: Keys, settings: Settings, worker: str) -> Op[WorkerReport]:
    """Ask a worker to drain and end; returns its report of before.

    The request names the worker by its name and the moment of its start: one of the same name that comes later is not meant.

    Raises:
        InvalidInput: ``worker`` can't be a name.
        NotFound: there is none, or it is gone.
    """
    ages = dict((yield from known_workers(keys)))
    age = ages.get(check("worker", worker))
    report, _ = yield from read_worker(keys, worker)
    if age is None or report is None or age >= settings.worker_ttl:
        raise NotFound(f"there is no worker {worker}" if age is None else f"worker {worker} is gone", hint="see `taskq workers`")
    message = json.dumps({"type": "drain", "worker": worker, "started_at": started(report)})
    yield Pipeline(
        [
            Command("HSET", keys.asked(worker), "drain", started(report)),
            Command("EXPIRE", keys.asked(worker), _REMEMBERED),
            Command("PUBLISH", keys.control, message),
        ],
        atomic=True,
    )
    return report


def started(report: WorkerReport) -> str:
    """When a worker started, as requests name it."""
    return f"{report.started_at:.6f}"


def await_drain(keys: Keys, report: WorkerReport, seconds: float, *, ended: bool) -> Op[str]:
    """Wait until a worker that was asked to drain has confirmed it (``draining``), or has ended (``gone``); returns which.

    Args:
        report: of `request_drain`. ``seconds``: how long it may take. ``ended``: wait for its end.

    Raises:
        WaitTimeout: it has not confirmed, or not ended, in time; the request stands.
    """
    deadline = clock.monotonic() + seconds
    while True:
        now, _ = yield from read_worker(keys, report.worker)
        if now is None or now.started_at != report.started_at:
            return "gone"
        state = now.state
        if state == "draining" and not ended:
            return state
        if clock.monotonic() >= deadline:
            break
        yield Pause(_LOOK)
    told = f"drains, and has not ended within {seconds:g} s" if state == "draining" else f"has not confirmed within {seconds:g} s"
    raise WaitTimeout(f"worker {report.worker} {told}", hint="the request stands; see `taskq workers`, and its log")
