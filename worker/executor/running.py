"""One run → one outcome: call the task's code, and say in a closed set of words how it ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from pathlib import Path
from types import CoroutineType
from typing import Any, Final

from taskq.registry import clock, codec
from taskq.registry.authoring.context import TaskContext, set_current
from taskq.registry.authoring.retry import RetryRequested
from taskq.registry.code.traces import format_error, last_line
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.worker.executor.gate import Gate
from taskq.worker.executor.versions import Loaded, event_loop
from taskq.worker.link.protocol import MAX_FRAME, Order, Report

# What a FINISHED may hold besides the result: error, traceback, the frame's own bytes.
_RESERVED: Final = 1024 * 1024
MAX_TRACEBACK: Final = 64 * 1024
MAX_LINE: Final = 2 * 1024
_OURS: Final = f"{Path(__file__).resolve().parents[1]}{os.sep}"  # the worker's room, whose frames nobody wants to see
_LOGGER: Final = logging.getLogger("taskq.task")

_NONE: Final = codec.dumps(None)
_PARAMS: Final = Order._fields.index("params")
_TIMEOUT: Final = Order._fields.index("timeout")
_ALL: Final = (BaseException, object)


def outcome(state: str, reason: str | None = None, *, result: bytes | None = None, error: str | None = None) -> Report:
    """How a run ended; see `taskq.worker.link.protocol` for the words."""
    return {"outcome": state, "reason": reason, "result": result, "error": error, "traceback": None, "ms": 0.0}


def _unheard(_error: BaseException) -> None:
    """What was raised is told in the outcome; nobody wants the exception itself."""


def execute(
    number: int, order: Sequence[Any], loaded: Loaded, gate: Gate, *, on_error: Callable[[BaseException], None] = _unheard
) -> Report:
    """Execute a run to its end, whatever its code does.

    Args:
        number: of the RUN message.
        order: its body.
        loaded: the version to run.
        gate: lets a stop through meanwhile.
        on_error: given what the task's code raised, a stop too.
    """
    started = Started(order, loaded)
    try:
        # In a copy of the context: what task code sets in context variables ends with its run.
        ended: Report = gate.guard(number, copy_context().run, _alone, started, gate)
    except BaseException as error:  # noqa: BLE001  # whatever task code raises, SystemExit and a stop too, is the run's outcome
        ended = raised(error)
        on_error(error)
    return started.close(ended, gate.why)


def _alone(started: Started, gate: Gate) -> Report:
    value = started.call()
    if type(value) is CoroutineType:
        value = event_loop().run(value, gate)
    return started.succeeded(value)


class Started:
    """A run that has begun: its code is called, and what comes of it becomes its outcome."""

    __slots__ = ("_at", "_context", "_loaded", "_order", "_timeout")

    def __init__(self, order: Sequence[Any], loaded: Loaded) -> None:
        """
        Args:
            order: the body of its RUN. ``loaded``: its version.
        """
        self._context: TaskContext | None = None
        self._order, self._loaded, self._at = order, loaded, clock.monotonic()
        self._timeout: float = order[_TIMEOUT] if len(order) > _TIMEOUT and order[_TIMEOUT] is not None else loaded.timeout

    def context(self) -> TaskContext:
        """The run's context; made when it is first asked for, since most code does not."""
        if self._context is None:
            order, loaded = Order(*self._order), self._loaded
            queue = loaded.queue if order.queue is None else order.queue
            deadline = self._at + self._timeout
            self._context = TaskContext(order.run, loaded.task, loaded.version, order.attempt, queue, order.cause, deadline, _LOGGER)
        return self._context

    def call(self) -> Any:
        """Call the task's code, in this context; returns what it returns.

        Raises:
            BaseException: whatever it raises.
        """
        loaded, blob = self._loaded, self._order[_PARAMS]
        set_current(self.context)
        if loaded.instance is not None:
            loaded.instance.set_context(self.context())
        params: dict[str, Any] = {}
        try:
            if blob:
                params = codec.loads(blob)
            if loaded.convert is not None:
                params = loaded.convert(loaded.body, params)
        except (InvalidInput, FormatUnknown) as error:
            raise _Unfit(error.message) from None
        if loaded.context is not None:
            params = {**params, loaded.context: self.context()}
        return loaded.body(**params)

    def succeeded(self, value: Any) -> Report:
        """The outcome of a run that has returned ``value``."""
        if value is None:
            return outcome("succeeded", result=_NONE)
        return _serialised(value, min(self._loaded.max_result, MAX_FRAME - _RESERVED))

    def close(self, ended: Report, why: str | None) -> Report:
        """The outcome as it is reported; ``why`` is why the run was told to stop, or None."""
        if why is not None:
            _tell_stop(ended, why, self._timeout)
        ended["ms"] = (clock.monotonic() - self._at) * 1000
        return ended


class _Unfit(BaseException):
    """The parameters are not what the task takes."""


def raised(error: BaseException) -> Report:
    """The outcome of a run whose code raised."""
    if isinstance(error, RetryRequested):
        ended = outcome("retry", error=error.error)
        ended["delay"] = error.delay
        ended["traceback"] = told(error.__cause__) if error.__cause__ is not None else None
        return ended
    if isinstance(error, _Unfit):
        return outcome("failed", "invalid_parameters", error=str(error))
    ended = outcome("failed", "error", error=_line(error))
    ended["traceback"] = told(error)
    ended["kinds"] = _kinds(type(error))
    return ended


def _kinds(raised_type: type[BaseException]) -> list[str]:
    """Names of the class of what was raised and of its bases, bare and qualified: what a retry policy may name."""
    kinds = [kind for kind in raised_type.__mro__ if kind not in _ALL]
    return [name for kind in kinds for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")]


def _serialised(value: Any, limit: int) -> Report:
    if value is not None and codec.exceeds(value, limit):  # not packed: that would take its memory once more
        return outcome("failed", "result_too_large", error=f"the result has more than {limit} bytes, which is the limit")
    try:
        result = codec.dumps(value)
    except InvalidInput as error:
        return outcome("failed", "result_not_serialisable", error=f"the result of type {type(value).__name__} is {error.message}")
    except Exception as error:  # noqa: BLE001  # methods of the value's own classes may raise anything
        told_by = f"the result of type {type(value).__name__} is not serialisable: {_line(error)}"
        return outcome("failed", "result_not_serialisable", error=told_by)
    if len(result) > limit:
        return outcome("failed", "result_too_large", error=f"the result has {len(result)} bytes, the limit is {limit}")
    return outcome("succeeded", result=result)


def _tell_stop(ended: Report, why: str, timeout: float) -> None:
    """The run was told to stop: that is its outcome, also where it has swallowed the exception."""
    if why == "shutdown":
        ended.update(outcome="released", reason=None, result=None, error="stopped because the worker shuts down")
    elif why == "timeout":
        ended.update(outcome="failed", reason="timeout", result=None, error=f"the run exceeded its timeout of {timeout:g} s")
    else:
        ended.update(outcome="failed", reason="cancelled", result=None, error="the run was cancelled")


def told(error: BaseException) -> str:
    """The traceback of ``error`` and its causes, or what of it can be had if an exception's own methods raise."""
    try:
        return _shortened(format_error(error, _OURS), MAX_TRACEBACK)
    except Exception as broken:  # noqa: BLE001  # methods of a task's exception may raise anything; its type still counts
        return f"{type(error).__name__}: <its traceback can't be shown: {type(broken).__name__}>\n"


def _line(error: BaseException) -> str:
    return _shortened(last_line(error), MAX_LINE)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n… {len(text) - limit} characters left out …\n{text[-(limit // 2) :]}"
