"""Enqueueing one run of a task that was enqueued before: what all its calls have in common is packed once.

Nothing is decided here. Whatever is not as it was (the registry has moved, the parameters don't fit, the server does not answer or refuses)
is left to `Core`, which knows what to do and what to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from taskq.producer.catalog import Target
from taskq.producer.core import times_of
from taskq.producer.link import Link
from taskq.producer.options import Options
from taskq.registry.authoring.task import FunctionTask
from taskq.registry.effects import Call, Op
from taskq.registry.errors import TaskqError
from taskq.registry.runs.creation import ID_BYTES, Batch, Form, packed_head, packed_run
from taskq.registry.runs.document import RunDocument, new_document
from taskq.registry.runtime.faults import point

_MOST: Final = 1000


class Ready(NamedTuple):
    """Calls for one task: their target and form, the form as bytes, and the data of a run without parameters if they are allowed."""

    target: Target
    batch: Batch
    form: Form
    head: bytes
    bare: bytes | None


class Sent(NamedTuple):
    """A run that was accepted; its document is made when it is first asked for."""

    batch: Batch
    run: str
    reply: Any

    def document(self) -> RunDocument:
        """What is known of it."""
        batch = self.batch
        return new_document(self.run, batch.task, version=batch.pin, trigger=batch.trigger, **times_of(self.reply))


class Express:
    """Enqueues with given options over a blocking connection.

    Args:
        link: the connection, and the core that knows the tasks. ``options``: of all its runs.
    """

    def __init__(self, link: Link, options: Options) -> None:
        self._link, self._options = link, options
        self._ready: dict[str, Ready] = {}
        self._known, self._version, self._limit = link.core.catalog.known, options.version, link.settings.max_params

    def enqueue(self, task: object, params: Mapping[str, Any]) -> Sent | None:
        """Enqueue one run; None if that must be done by the core: then nothing was written."""
        ready = self._ready.get(task if type(task) is str else task.name if type(task) is FunctionTask else "")
        link = self._link
        if ready is None or self._known(ready.batch.task, self._version) is not ready.target:
            return None
        data = ready.bare
        if params or data is None:
            try:
                data = ready.target.encode(params, self._limit)
            except TaskqError:
                return None
        name = os.urandom(ID_BYTES).hex()
        point("client.enqueueing")
        reply = link.lines.exchange(ready.head + packed_run(name.encode(), data))
        if reply is None:
            # The same run again: whatever became of the first try, there will be one.
            reply = link.perform(_send(Call(ready.form.script, ready.form.names, [*ready.form.head, name, data])))
            link.lines.went_well()
        point("client.enqueued")
        return Sent(ready.batch, name, reply) if reply[0] == b"ok" else None

    def learn(self, task: str) -> None:
        """A run of the task was enqueued by the core: the next one may go by what was known for it."""
        known = self._link.core.ready(task, self._options)
        if known is None:
            return
        target, batch, form = known
        try:
            bare = target.encode({}, self._limit)
        except TaskqError:
            bare = None
        if len(self._ready) >= _MOST:
            self._ready.clear()
        self._ready[task] = Ready(target, batch, form, packed_head(form), bare)
        self._link.lines.went_well()


def _send(call: Call) -> Op[Any]:
    return (yield call)
