"""The operations of a client, as generators; `Client` and `AsyncClient` drive them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoScriptError

from taskq.producer.catalog import Catalog, Target
from taskq.producer.options import Options
from taskq.registry.clock import iso
from taskq.registry.effects import Call, Command, Op, Pipeline
from taskq.registry.errors import Conflict, TaskqError
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.runs.creation import MAX_BATCH, Batch, Form, NewRun, enqueue_call, form_of, form_of_one, new_ids
from taskq.registry.runs.document import RunDocument, new_document, read_runs
from taskq.registry.runtime.faults import point
from taskq.registry.settings import Settings

_MOST_MOVES: Final = 100
_CALLS_A_PIPELINE: Final = 20
_MOST_FORMS: Final = 1000
_HEAD: Final = 3  # items of a reply before those of its runs


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A run that was accepted. ``deduplicated``: its idempotency key stood for it already."""

    document: RunDocument
    deduplicated: bool = False


class Core:
    """Enqueueing over one namespace, with a cache of what it has read of the registry.

    Args:
        settings: of the namespace.
        keys: of the same.
        trigger: what the runs record as having made them.

    Attributes:
        catalog: what is known of the tasks.
    """

    def __init__(self, settings: Settings, keys: Keys, trigger: str = "client") -> None:
        self._settings = settings
        self._keys = keys
        self._trigger = trigger
        self.catalog = Catalog(keys)
        self._forms: dict[tuple[str, Options], tuple[Target, Batch, Form]] = {}

    def enqueue(self, task: str, params: Mapping[str, Any], options: Options) -> Op[Enqueued]:
        """Validate and enqueue one run.

        Raises:
            NotFound, TaskRetired: the task accepts no runs.
            InvalidInput: the parameters don't fit its signature, or are too large. Nothing was written.
            Conflict: the registry changed all the time.
        """
        (accepted,) = yield from self.enqueue_many(task, [params], options)
        return accepted

    def enqueue_many(self, task: str, params: Sequence[Mapping[str, Any]], options: Options) -> Op[list[Enqueued]]:
        """Validate and enqueue runs of one task, in their order; all are validated before the first one is written.

        Raises:
            NotFound, TaskRetired, InvalidInput, Conflict: as `enqueue`. If the registry changed while they were being
                written, so that the rest is refused, the hint says how many had been enqueued.
        """
        ids = new_ids(len(params))
        accepted: list[Enqueued] = []
        for tried in range(_MOST_MOVES):
            done = len(accepted)
            try:
                target, data = yield from self._prepare(task, params[done:], options, fresh=tried > 0)
            except TaskqError as error:
                if done:
                    error.hint = f"{done} of {len(params)} runs had been enqueued before the registry changed"
                raise
            accepted += yield from self._write(target, options, list(zip(ids[done:], data, strict=True)))
            if len(accepted) == len(params):
                return accepted
        raise Conflict("the registry changes too fast: nothing could be enqueued against a revision of it")

    def _prepare(self, task: str, params: Sequence[Mapping[str, Any]], options: Options, *, fresh: bool) -> Op[tuple[Target, list[bytes]]]:
        limit = self._settings.max_params
        known = None if fresh else self.catalog.known(task, options.version)
        if known is not None:
            try:
                return known, [known.encode(values, limit) for values in params]
            except TaskqError:
                pass  # what is known may be outdated: the registry decides below
        target = yield from self.catalog.read(task, options.version)
        return target, [target.encode(values, limit) for values in params]

    def _write(self, target: Target, options: Options, runs: Sequence[tuple[str, bytes]]) -> Op[list[Enqueued]]:
        """Create the runs, as far as the registry stays at the target's revision."""
        batch, form = self._form(target, options)
        new = [NewRun(run, data, self._event(batch, run)) for run, data in runs]
        calls = [enqueue_call(form, new[at : at + MAX_BATCH]) for at in range(0, len(new), MAX_BATCH)]
        accepted: list[Enqueued] = []
        point("client.enqueueing")
        replies = yield from _send(calls)
        point("client.enqueued")
        for reply in replies:
            if reply[0] == b"moved":
                break
            if reply[0] == b"duplicate":
                accepted.append((yield from self._earlier(target.task, reply[1].decode())))
                break
            times = times_of(reply)
            accepted += [_accepted(batch, run, times) for run, _ in runs[len(accepted) : len(accepted) + len(reply) - _HEAD]]
        return accepted

    def _form(self, target: Target, options: Options) -> tuple[Batch, Form]:
        """What calls for this target and these options have in common; kept where other calls will have it in common as well."""
        known = self._forms.get((target.task, options))
        if known is not None and known[0] is target:
            return known[1:]
        batch = self._batch(target, options)
        form = form_of(self._keys, batch)
        if options.once is None and not options.due:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            self._forms[target.task, options] = (target, batch, form)
        return batch, form

    def ready(self, task: str, options: Options) -> tuple[Target, Batch, Form] | None:
        """What calls for one run of this task with these options have in common, as long as the target is `Catalog.known`.

        None also where each run is sent with something of its own beside its id and its parameters.
        """
        target = self.catalog.known(task, options.version)
        if target is None or options.once is not None or self._settings.events == "all":
            return None
        batch = self._batch(target, options)
        form = form_of_one(self._keys, batch)
        return None if form is None else (target, batch, form)

    def _batch(self, target: Target, options: Options) -> Batch:
        return Batch(
            task=target.task,
            queue=target.spec.queue,
            timeout=target.spec.timeout,
            revision=target.revision,
            limit=options.timeout,
            pin=target.version if options.pin else options.version,
            trigger=self._trigger,
            once=None if options.once is None else self._keys.idempotency(target.task, options.once),
            once_ttl=self._settings.idempotency_ttl,
            due=options.due,
        )

    def _event(self, batch: Batch, run: str) -> str:
        if self._settings.events != "all":
            return ""
        status = "scheduled" if batch.due else "queued"  # the script corrects it where the time is past
        return run_event("queued", namespace=self._keys.namespace, task=batch.task, run=run, status=status, version=batch.pin)

    def _earlier(self, task: str, run: str) -> Op[Enqueued]:
        """The run that an idempotency key stands for; its record may have expired before the key."""
        (document,) = yield from read_runs(self._keys, [run])
        if document is None or isinstance(document, TaskqError):
            document = new_document(run, task)
        return Enqueued(document, deduplicated=True)


def times_of(reply: Sequence[bytes]) -> dict[str, str | None]:
    """Status, ``queued_at`` and ``due_at`` of the runs that a call has created, from its reply."""
    if reply[2]:
        return {"status": "scheduled", "due_at": iso(int(reply[2]) / 1000)}
    return {"status": "queued", "queued_at": iso(float(reply[1]))}


def _accepted(batch: Batch, run: str, times: Mapping[str, str | None]) -> Enqueued:
    return Enqueued(new_document(run, batch.task, version=batch.pin, trigger=batch.trigger, **times))


def _send(calls: Sequence[Call]) -> Op[list[Any]]:
    """The replies of script calls; the first goes alone, so that the server knows the script, the rest in pipelines."""
    replies = [(yield calls[0])] if calls else []
    for at in range(1, len(calls), _CALLS_A_PIPELINE):
        window = calls[at : at + _CALLS_A_PIPELINE]
        try:
            replies += yield Pipeline([Command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args) for call in window])
        except NoScriptError:
            # The server was restarted in between. What it took before is not taken twice: the ids are there.
            for call in window:
                replies.append((yield call))
    return replies
