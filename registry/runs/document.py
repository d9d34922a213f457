"""The ``status`` document of a run, read from RQ's job hash, the list of its earlier attempts and RQ's latest result."""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from taskq.registry import clock, codec
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown, NotFound
from taskq.registry.keys import Keys
from taskq.registry.names import check
from taskq.registry.runs.statuses import TERMINAL, from_rq

# All but ``data``: the parameters are no part of the document, and may be large.
_FIELDS: Final = (
    "taskq", "task", "status", "version", "pin", "attempt", "reason", "error",
    "trigger", "cause", "worker_name", "due", "enqueued_at", "started_at", "ended_at",
)  # fmt: skip
_FORMAT: Final = "1"
_RQ_SUCCEEDED: Final = "1"
_LONGEST: Final = 4 * 1024 * 1024
# What numbers and times raise where a field, or a part of an attempt, is not what it should be.
_DAMAGED: Final = (ValueError, TypeError, AttributeError, OverflowError, OSError)


class Attempt(TypedDict):
    """One attempt of a run; times are ISO 8601. ``outcome`` is a status, a reason, ``worker_lost``, ``executor_died`` or ``released``."""

    attempt: int
    worker: str | None
    version: int | None
    outcome: str
    error: str | None
    started_at: str | None
    ended_at: str | None


class RunDocument(TypedDict):
    """What is known of a run; times are ISO 8601 with zone, absent is None.

    ``status`` is None only where an idempotency key stands for a run whose record has expired. ``error`` is the remote
    traceback if there is one, else a sentence. ``due_at`` is when a run that was made for a later time may start, or one
    that has failed is tried again, and stays there afterwards; ``queued_at`` is when it came into its queue, so it is None
    before that. ``result`` is the value that the task returned; a succeeded run has an ``error`` only where its result
    can't be read.
    """

    run: str
    task: str
    version: int | None
    status: str | None
    reason: str | None
    result: Any
    error: str | None
    attempt: int
    attempts: list[Attempt]
    worker: str | None
    trigger: str | None
    cause: str | None
    due_at: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None


def read_run(keys: Keys, run: str) -> Op[RunDocument]:
    """The document of one run.

    Raises:
        InvalidInput: ``run`` can't be an id.
        NotFound: no such run, or its record has expired.
        FormatUnknown: it was enqueued by a release of taskq that stores runs otherwise.
    """
    (document,) = yield from read_runs(keys, [check("run", run)])
    if document is None:
        raise NotFound(f"there is no run {run}", hint="records of ended runs expire after the task's result_ttl or failure_ttl")
    if isinstance(document, FormatUnknown):
        raise document
    return document


def read_runs(keys: Keys, runs: Sequence[str]) -> Op[list[RunDocument | FormatUnknown | None]]:
    """The documents of several runs in one round trip: None for one that is gone, the error for one that can't be read."""
    if not runs:
        return []
    commands: list[Command] = []
    for run in runs:
        commands += (
            Command("HMGET", keys.rq_job(run), *_FIELDS),
            Command("LRANGE", keys.attempts(run), 0, -1),
            Command("XREVRANGE", keys.rq_results(run), "+", "-", "COUNT", 1),
        )
    replies = yield Pipeline(commands)
    return [_parse(run, *replies[at * 3 : at * 3 + 3]) for at, run in enumerate(runs)]


def new_document(run: str, task: str, **known: Any) -> RunDocument:
    """The document of a run of which only ``known`` is known yet."""
    document: RunDocument = {
        "run": run,
        "task": task,
        "version": None,
        "status": None,
        "reason": None,
        "result": None,
        "error": None,
        "attempt": 0,
        "attempts": [],
        "worker": None,
        "trigger": None,
        "cause": None,
        "due_at": None,
        "queued_at": None,
        "started_at": None,
        "ended_at": None,
    }
    document.update(known)  # type: ignore[typeddict-item]  # the keys are the caller's, all of them names of the document
    return document


def _parse(
    run: str, values: Sequence[bytes | None], earlier: Sequence[bytes], results: Sequence[Any]
) -> RunDocument | FormatUnknown | None:
    fields = {name: value.decode(errors="replace") for name, value in zip(_FIELDS, values, strict=True) if value}
    if "taskq" not in fields or "status" not in fields:
        return None
    if fields["taskq"] != _FORMAT:
        return FormatUnknown(f"run {run} has format {fields['taskq']}, this release reads {_FORMAT}")
    try:
        return _document(run, fields, [codec.loads(blob) for blob in earlier], results)
    except FormatUnknown as error:
        return error
    except _DAMAGED as error:
        return FormatUnknown(f"the record of run {run} is damaged: {error}")


def _document(run: str, fields: Mapping[str, str], earlier: Sequence[Mapping[str, Any]], results: Sequence[Any]) -> RunDocument:
    attempt = int(fields.get("attempt", 0))
    status = from_rq(fields["status"], attempt)
    ended = status in TERMINAL
    result, error = _outcome(status, results[0][1] if results and ended else {})
    started = clock.rq_parse(fields.get("started_at"))
    attempts = [_attempt(record) for record in earlier]
    document = new_document(
        run,
        fields.get("task", ""),
        version=_integer(fields.get("version") or fields.get("pin")),
        status=status,
        reason=fields.get("reason") or ("error" if status == "failed" else None),
        result=result,
        error=error or fields.get("error"),
        # A stock worker that failed a run has started it, but knows nothing of our count.
        attempt=attempt or int(started is not None),
        attempts=attempts,
        worker=fields.get("worker_name"),
        trigger=fields.get("trigger"),
        cause=fields.get("cause"),
        due_at=_due(fields.get("due")),
        queued_at=_iso(fields.get("enqueued_at")),
        started_at=clock.iso(started),
        ended_at=_iso(fields.get("ended_at")) if ended else None,
    )
    if started is not None:
        attempts.append(_last_attempt(document, fields.get("error") or _last_line(error)))
    return document


def _last_attempt(document: RunDocument, error: str | None) -> Attempt:
    status = document["status"] or ""
    return {
        "attempt": document["attempt"],
        "worker": document["worker"],
        "version": document["version"],
        "outcome": (document["reason"] or status) if status == "failed" else status,
        "error": error,
        "started_at": document["started_at"],
        "ended_at": document["ended_at"],
    }


def _attempt(record: Mapping[str, Any]) -> Attempt:
    return {
        "attempt": record.get("attempt", 0),
        "worker": record.get("worker"),
        "version": record.get("version"),
        "outcome": record.get("outcome", ""),
        "error": record.get("error"),
        "started_at": clock.iso(record.get("started_at")),
        "ended_at": clock.iso(record.get("ended_at")),
    }


def _outcome(status: str, entry: Mapping[bytes, bytes]) -> tuple[Any, str | None]:
    """Return value and traceback of RQ's latest result, as far as it belongs to this status."""
    if status == "succeeded" and entry.get(b"type", b"").decode() == _RQ_SUCCEEDED:
        return _result(entry.get(b"return_value"))
    if status == "failed" and b"exc_string" in entry:
        return None, _traceback(entry[b"exc_string"])
    return None, None


def _result(value: bytes | None) -> tuple[Any, str | None]:
    if not value:
        return None, None
    try:
        return codec.loads(b64decode(value)), None
    except (FormatUnknown, ValueError) as error:
        return None, f"the result can't be read: {error}"


def _traceback(stored: bytes) -> str:
    """What RQ or we have stored; cut, since few bytes may hold very many."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(b64decode(stored), _LONGEST).decode(errors="replace")
    except (zlib.error, ValueError) as error:
        return f"the traceback can't be read: {error}"
    return text if stream.eof or stream.unconsumed_tail else "the traceback can't be read: its end is missing"


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _iso(text: str | None) -> str | None:
    return clock.iso(clock.rq_parse(text))


def _due(milliseconds: str | None) -> str | None:
    return clock.iso(int(milliseconds) / 1000) if milliseconds else None


def _last_line(text: str | None) -> str | None:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else None
