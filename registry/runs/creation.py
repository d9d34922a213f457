"""Making runs: their ids, their limits, and the one call of ``enqueue.lua``."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import hiredis

from taskq.registry.codec import dumps, exceeds
from taskq.registry.effects import Arg, Call
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.scripts import Script, load
from taskq.registry.serializer import GUARD

ID_BYTES: Final = 12
"""Random bytes of a run's id, which is their hex form."""

MAX_BATCH: Final = 500
"""Runs in one call of the script: what Redis does without looking at another client."""

INDEX_CAP: Final = 100_000
"""Runs that an index lists. Retiring a task cancels what its index lists, so it is larger than a queue should ever be."""

LARGE: Final = 256 * 1024
"""Bytes of parameters from which on it is said, once a task, that they are large: each copy of them costs the server as much."""

_MOST_WARNED: Final = 10_000
_warned: set[str] = set()
log = logging.getLogger("taskq.producer")


class NewRun(NamedTuple):
    """One run to be created: its id, its encoded parameters (`encode`), and the body of its queued event or ``""``."""

    run: str
    data: bytes
    event: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the runs of one call have in common.

    Args:
        task: whose runs they are. ``queue``: ours, without the namespace.
        timeout: of the spec, in seconds. ``limit``: the caller's own timeout instead, or None.
        revision: of the registry that they were validated against, as text; ``""`` for any.
        pin: version that they must run on, or None.
        trigger: what made them. ``cause``: id of what caused them, or ``""``.
        due: when they may start: ``""`` for now, whole milliseconds since the epoch, or ``+`` and milliseconds from now.
        once: key of the idempotency record, or None. ``once_ttl``: how long it is kept, in seconds.
    """

    task: str
    queue: str
    timeout: float
    revision: str = ""
    limit: float | None = None
    pin: int | None = None
    trigger: str = "client"
    cause: str = ""
    once: str | None = None
    once_ttl: float = 86_400.0
    due: str = ""


def new_ids(count: int) -> list[str]:
    """Fresh run ids: 96 random bits each, in hex."""
    text = os.urandom(ID_BYTES * count).hex()
    width = ID_BYTES * 2
    return [text[at : at + width] for at in range(0, len(text), width)]


def encode(task: str, params: dict[str, Any], max_params: int) -> bytes:
    """Validated parameters as a run's ``data``; from `LARGE` bytes on a warning is logged, once a task in a process.

    Raises:
        InvalidInput: they can't be serialised, or are larger than ``max_params`` bytes.
    """
    if exceeds(params, max_params):
        raise _too_large(task, f"more than {max_params:,}", max_params)
    blob = dumps(params)
    size = len(blob)
    if size > max_params:
        raise _too_large(task, f"{size:,}", max_params)
    if size > LARGE and task not in _warned and len(_warned) < _MOST_WARNED:
        _warned.add(task)
        log.warning(
            "task %s: the parameters take %s bytes; from %s on a reference to the data serves better", task, f"{size:,}", f"{LARGE:,}"
        )
    return GUARD + blob


def _too_large(task: str, size: str, limit: int) -> InvalidInput:
    return InvalidInput(
        f"task {task}: the parameters take {size} bytes, allowed are {limit:,} (max_params)",
        hint="pass a reference to the data (a path, a key) instead, or raise TASKQ_MAX_PARAMS",
    )


@dataclass(frozen=True, slots=True)
class Form:
    """A call of ``enqueue.lua`` with everything filled in but the runs; good for any number of calls."""

    script: Script
    names: list[str]
    head: list[Arg]


def form_of(keys: Keys, batch: Batch) -> Form:
    """The form for runs of this batch."""
    names = [keys.revision, keys.rq_queues, keys.rq_queue(batch.queue), keys.runs, keys.runs_of(batch.task), keys.events]
    head = _common(keys, batch)
    if _more(batch):
        names += [keys.scheduler_runs, keys.rq_registry("scheduled", batch.queue)]
        if batch.once is not None:
            names.append(batch.once)
        head += ["more", batch.due, keys.scheduler_wake, math.ceil(batch.once_ttl), batch.cause]
        head += ["" if batch.pin is None else batch.pin, "" if batch.limit is None else repr(batch.limit)]
    else:
        head.append("")
    return Form(load("enqueue"), names, head)


def form_of_one(keys: Keys, batch: Batch) -> Form | None:
    """The form for one run without an event, by ``enqueue_one.lua``: id and data follow. None if that can't say all of this batch."""
    if _more(batch):
        return None
    names = [keys.revision, keys.rq_queues, keys.rq_queue(batch.queue), keys.runs, keys.runs_of(batch.task)]
    return Form(load("enqueue_one"), names, _common(keys, batch))


def _common(keys: Keys, batch: Batch) -> list[Arg]:
    limit = batch.timeout if batch.limit is None else batch.limit
    return [batch.revision, keys.rq, keys.queue_name(batch.queue), batch.task, math.ceil(limit), batch.trigger, INDEX_CAP]


def _more(batch: Batch) -> bool:
    """Whether something is to be said that few runs need."""
    return bool(batch.due or batch.once or batch.cause) or batch.pin is not None or batch.limit is not None


def packed_head(form: Form) -> bytes:
    """The call of a form of `form_of_one` as it is sent to Redis, but for `packed_run`, which follows."""
    first: tuple[Any, ...] = ("EVALSHA", form.script.sha, len(form.names), *form.names, *form.head)
    packed = hiredis.pack_command(first)
    return b"*%d%b" % (len(first) + 2, packed[packed.index(b"\r") :])


def packed_run(run: bytes, data: bytes) -> bytes:
    """What follows `packed_head`."""
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(run), run, len(data), data)


def enqueue_call(form: Form, runs: Iterable[NewRun]) -> Call:
    """The script call that creates these runs, at most `MAX_BATCH`; with ``batch.once`` exactly one.

    The reply is the script's: ``[b"moved", revision]``, ``[b"duplicate", run]`` or ``[b"ok", time, due in ms or b"", created…]``.
    """
    args = list(form.head)
    for run in runs:
        args += run
    return Call(form.script, form.names, args)
