"""`Requests`: what others ask of this worker: the end of a run, or of the worker.

Each request comes in two ways: as a message on the control channel, at once, and in a hash of Redis, which the heartbeat reads. So a
message that is lost costs one heartbeat, and one that comes twice costs nothing: a run that is being stopped is left alone, and so is
a worker that drains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from taskq.worker.pool.pool import Pool
from taskq.worker.pool.seating import Seating
from taskq.worker.runs import verdicts
from taskq.worker.runs.run import Run
from taskq.worker.supervisor.dispatch import Dispatch, Settle

log = logging.getLogger("taskq.worker")
_CANCEL = "cancel:"
_DRAIN = "drain"


class Requests:
    """Acts upon requests.

    Args:
        worker: our name. ``pool``, ``seating``, ``dispatch``: where runs are.
        claimed: runs that are claimed and not dispatched yet. ``settle``: is given each run that has a verdict.
        started: when this worker started, as a request to drain names the one that it means.
        drain: has this worker drain and end. ``inspect``: sources wait to be inspected.
    """

    def __init__(
        self,
        worker: str,
        pool: Pool,
        seating: Seating,
        dispatch: Dispatch,
        *,
        claimed: Callable[[], Iterator[Run]],
        settle: Settle,
        started: Callable[[], str],
        drain: Callable[[], None],
        inspect: Callable[[], None],
    ) -> None:
        self._worker, self._pool, self._seating, self._dispatch = worker, pool, seating, dispatch
        self._claimed, self._settle, self._drain, self._inspect = claimed, settle, drain, inspect
        self._started = started
        self._absent: set[str] = set()

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message of the control channel; what is not meant for us, or makes no sense, is ignored."""
        match message:
            case {"type": "inspect"}:
                self._inspect()
            case {"type": "cancel", "run": str(run)}:
                reason = message.get("reason")
                self._cancel(None, run, reason if isinstance(reason, str) else "")
            case {"type": "drain", "worker": self._worker, "started_at": str(started_at)} if started_at == self._started():
                self._drain()

    def read(self, asked: Mapping[bytes, bytes]) -> list[str]:
        """What stands in Redis, as fields and values; returns the fields that are done with."""
        done: list[str] = []
        absent: set[str] = set()
        for name, value in asked.items():
            field, text = name.decode("utf-8", "replace"), value.decode("utf-8", "replace")
            if field == _DRAIN and text == self._started():
                self._drain()
            elif not field.startswith(_CANCEL):
                done.append(field)  # of an earlier worker of this name
            elif not self._cancel(*_attempt(field), text):
                # Not here: over, or a claim's reply is under way. So it is looked for once more.
                (done.append if field in self._absent else absent.add)(field)
        self._absent = absent
        return done

    def _cancel(self, token: str | None, run_id: str, reason: str) -> bool:
        """Stop a run, of this token if one is named; returns whether it is here."""
        run = next((run for run in self._here() if run.id == run_id and token in (None, run.token)), None)
        if run is None:
            return False
        if run.stop is not None:
            return True
        log.info("run %s is cancelled%s", run.id, f": {reason}" if reason else "", extra=run.about)
        run.why = reason
        handle = self._seating.executor_of(run)
        if handle is not None:
            self._pool.deadlines.stop(handle, run, "cancel")
            if run.stop is None:
                handle.cancel(run, "cancel")  # it has not begun
            return True
        run.stop = "cancel"
        if run not in self._claimed():  # those are seen by `Dispatch`
            self._dispatch.forget(run)
            self._settle(run, verdicts.on_cancel(run))
        return True

    def _here(self) -> Iterator[Run]:
        yield from self._claimed()
        yield from self._dispatch.held()


def _attempt(field: str) -> tuple[str, str]:
    """Token and run of a request in Redis."""
    token, _, run = field.removeprefix(_CANCEL).partition(":")
    return token, run
