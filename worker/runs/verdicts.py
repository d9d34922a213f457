"""What becomes of a claimed run: pure decisions, one for each way in which an attempt can end.

=======================  ===========================================================================================
an attempt ends by       and the run
=======================  ===========================================================================================
a report of the executor finishes (succeeded, failed with its reason), or is handed back where it had not begun
a failure that the       waits for its next attempt, which takes the task's route of that time; one more retry; recorded with its reason
policy retries
``ctx.retry()``          the same; failed, ``error``, once its retries are used up
death of its executor    one more loss: front of the queue; the third: failed, ``poison``; with ``on_lost=fail``: failed, ``lost``
an expired lease         the same, recorded as ``worker_lost``
our SIGKILL at the       failed, ``timeout``, or tried again by policy
deadline
a limit of resources     failed, ``oom`` (or ``killed``), or tried again by policy; no loss
`taskq cancel`           cancelled, also where it had to be killed; succeeded if that was faster
shutdown                 front of the queue, no attempt burned
=======================  ===========================================================================================
"""

from __future__ import annotations

import base64
import math
import signal
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from taskq.registry.model.retry import RetryPolicy
from taskq.registry.model.spec import Spec
from taskq.registry.runs.attempts import attempt_blob
from taskq.worker.runs import retrying
from taskq.worker.runs.run import Run

POISON_LOSSES = 3
_REASONS = frozenset(
    {"error", "timeout", "cancelled", "result_too_large", "result_not_serialisable", "invalid_parameters", "killed", "refused", "oom"}
)
_MAX_ERROR = 2_000
_MAX_TRACEBACK = 200_000
_MAX_KINDS = 200
# Ten years: what is asked for beyond it is still a time that can be written.
_LONGEST_DELAY = 315_360_000.0


@dataclass(slots=True, frozen=True)
class Finish:
    """The run ends: ``status`` is RQ's (finished, failed, canceled); ``result`` a blob, ``traceback`` text."""

    status: Literal["finished", "failed", "canceled"]
    reason: str = ""
    error: str = ""
    result: bytes = b""
    traceback: str = ""
    losses: int | None = None


@dataclass(slots=True, frozen=True)
class Release:
    """The run goes back: to the ``front`` or ``back`` of its queue, is parked, or waits ``delay`` seconds (``later``).

    ``later`` is one more retry. ``burned``: the attempt counts. ``losses``: how many there are now, None for as many as before.
    ``outcome`` is what the attempt is recorded as, '' for no record: it had not begun. ``traceback``: of what ended it, for the run's log.
    """

    where: Literal["front", "back", "park", "later"] = "front"
    burned: bool = False
    losses: int | None = None
    outcome: str = ""
    error: str = ""
    delay: float = 0.0
    traceback: str = ""


Verdict = Finish | Release
HAND_BACK = Release("front")
_NO_RETRY = RetryPolicy()


def on_report(run: Run, report: Mapping[str, Any]) -> Verdict:
    """The executor says how the run ended. Fields that are not what they should be count as absent."""
    outcome = report.get("outcome")
    if outcome == "succeeded":
        return Finish("finished", result=_bytes(report.get("result")))
    if run.stop == "cancel":
        return on_cancel(run, _text(report.get("traceback"), _MAX_TRACEBACK))
    if run.stop == "shutdown":
        return on_shutdown(run)
    if outcome == "released":
        return Release("back" if report.get("reason") == "not_loaded" else "front")
    error, traceback = _text(report.get("error"), _MAX_ERROR), _text(report.get("traceback"), _MAX_TRACEBACK)
    if outcome == "retry":
        return on_request(run, _seconds(report.get("delay")), error, traceback)
    reason = report.get("reason")
    known = reason if isinstance(reason, str) and reason in _REASONS else "error"
    return on_failure(run, Finish("failed", known, error, traceback=traceback), _names(report.get("kinds")))


def on_failure(run: Run, finish: Finish, kinds: Iterable[str] = ()) -> Verdict:
    """An attempt failed: ``finish``, or another attempt if the policy has one for it.

    ``kinds``: names of the classes of what was raised, bare and qualified.
    """
    policy = run.spec.retry if run.spec else _NO_RETRY
    if run.retries >= policy.max or not retrying.wanted(policy, finish.reason, kinds):
        return finish
    return _again(retrying.delay_of(policy, run.retries + 1, run.id), finish.reason, finish.error, finish.traceback)


def on_request(run: Run, delay: float | None, error: str, traceback: str = "") -> Verdict:
    """The task's code asked for another attempt in ``delay`` seconds, None: as its policy says."""
    policy = run.spec.retry if run.spec else _NO_RETRY
    if run.retries < policy.max:
        seconds = retrying.delay_of(policy, run.retries + 1, run.id) if delay is None else delay
        return _again(seconds, "error", error or "the task asked for a retry", traceback)
    why = "it declares none: give it retry=Retry(max=…)"
    if policy.max:
        why = f"its retries are used up (max={policy.max})"
    return Finish("failed", "error", f"the task asked for a retry, but {why}{error and '; '}{error}", traceback=traceback)


def _again(delay: float, reason: str, error: str, traceback: str) -> Release:
    return Release("later", burned=True, outcome=reason, error=error, delay=delay, traceback=traceback)


def on_executor_death(run: Run, returncode: int) -> Verdict:
    """The executor died while this run was the one in progress; ``returncode`` is negative for a signal."""
    if run.stop == "shutdown":
        return on_shutdown(run)
    if run.stop == "timeout":
        late = f"killed: it did not stop within {run.grace:g} s after its timeout of {run.timeout:g} s"
        return on_failure(run, Finish("failed", "timeout", late))
    if run.stop == "cancel":
        return on_cancel(run, error=f"killed: it did not stop within {run.grace:g} s after it was cancelled")
    if run.breach is not None:
        return on_failure(run, Finish("failed", *run.breach))
    return on_loss(run.losses, run.spec, "executor_died", describe_exit(returncode))


def on_death_beside(returncode: int) -> Verdict:
    """The executor died, and the run had begun in it: beside others, or it has ended and its outcome is lost. Not of its making."""
    return Release("front", outcome="executor_died", error=describe_exit(returncode))


def on_loss(losses: int, spec: Spec | None, outcome: Literal["executor_died", "worker_lost"], error: str) -> Verdict:
    """An attempt was lost; ``losses`` is how many were lost before it."""
    total = losses + 1
    if spec is not None and spec.on_lost == "fail":
        return Finish("failed", "lost", f"{outcome}: {error}" if error else outcome, losses=total)
    if total >= POISON_LOSSES:
        return Finish("failed", "poison", f"lost {total} times, last: {outcome} {error}".rstrip(), losses=total)
    return Release("front", burned=True, losses=total, outcome=outcome, error=error)


def on_cancel(run: Run, traceback: str = "", error: str = "") -> Finish:
    """Somebody asked for its end, and it has ended, or has never begun."""
    return Finish("canceled", run.why, error, traceback=traceback)


def on_shutdown(run: Run) -> Release:
    """The worker ends before the run did."""
    return Release("front", outcome="released" if run.began else "", error="the worker was stopped" if run.began else "")


def describe_exit(returncode: int) -> str:
    """``signal 9 (SIGKILL)`` or ``exit code 3``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"


def attempt_record(run: Run, worker: str, release: Release, ended_at: float) -> bytes:
    """The attempt as the list of earlier attempts holds it; '' where it had not begun."""
    if not release.outcome:
        return b""
    return attempt_blob(
        run.attempt,
        worker,
        run.version or None,
        outcome=release.outcome,
        error=release.error,
        started_at=run.started_at or run.claimed_at,
        ended_at=ended_at,
    )


def stored_result(result: bytes) -> bytes:
    """A return value as RQ's results hold it."""
    return base64.b64encode(result) if result else b""


def stored_traceback(text: str) -> bytes:
    """A traceback as RQ's results hold it."""
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 1)) if text else b""


def _text(value: Any, limit: int) -> str:
    if not isinstance(value, str):
        return ""
    clean = value.encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[:limit] + " …"


def _seconds(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return min(float(value), _LONGEST_DELAY) if known else None


def _names(value: Any) -> list[str]:
    return [name for name in value[:_MAX_KINDS] if isinstance(name, str)] if isinstance(value, list) else []


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
