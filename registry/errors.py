"""The errors that taskq raises on purpose.

::

    TaskqError                    1 / 500   the operation failed
    ├── InvalidInput              2 / 422   a value is not what the field allows
    │   └── Unsupported           2 / 422   the field is known, but not built yet
    ├── NotFound                  3 / 404   no such task, version, run, worker
    ├── TaskRetired               3 / 410   the task was retired: nothing is enqueued
    ├── Conflict                  4 / 409   the state is not the one that was demanded
    ├── ServerUnreachable         5 / 503   no Redis answers
    ├── Refused                   6 / 403   not permitted
    ├── InspectionFailed          1 / 422   the code could not be imported or holds no task
    │   └── DistributionMissing   1 / 422   the import lacks an installed distribution
    ├── RolloutFailed             1 / 409   workers could not load the version: nothing was switched
    ├── RunFailed                 1 / 500   a run that was waited for did not succeed
    ├── WaitTimeout               1 / 504   what was waited for did not happen in time
    └── FormatUnknown             1 / 500   stored by another release of taskq, put back

Each class carries its exit code of the command line and its HTTP status; the docstring is the default message.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TaskqError(Exception):
    """The operation failed."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """
        Args:
            message: what happened, naming field and value; the class's docstring if empty.
            hint: what the user can do next, shown on a line of its own.
        """
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(self.message)


class InvalidInput(TaskqError):
    """A value is not what the field allows."""

    exit_code = 2
    http_status = 422


class Unsupported(InvalidInput):
    """This field is not supported by this release."""


class NotFound(TaskqError):
    """There is no such thing."""

    exit_code = 3
    http_status = 404


class TaskRetired(TaskqError):
    """The task was retired and accepts no runs."""

    exit_code = 3
    http_status = 410


class Conflict(TaskqError):
    """The registry is not in the state that was demanded."""

    exit_code = 4
    http_status = 409


class ServerUnreachable(TaskqError):
    """Redis can't be reached."""

    exit_code = 5
    http_status = 503


class Refused(TaskqError):
    """This is not permitted."""

    exit_code = 6
    http_status = 403


class InspectionFailed(TaskqError):
    """The code could not be imported."""

    http_status = 422


class DistributionMissing(InspectionFailed):
    """The code imports a distribution that is not installed here."""

    def __init__(self, message: str = "", *, hint: str = "", module: str = "") -> None:
        super().__init__(message, hint=hint)
        self.module = module


class RolloutFailed(TaskqError):
    """Workers could not load the version; no route was switched.

    ``failures`` is a list of ``{"worker": name, "error": traceback or reason}``, ``documents`` what each task is now.
    """

    http_status = 409

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        failures: list[dict[str, str]] | None = None,
        documents: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.failures = failures or []
        self.documents = documents or []

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"{item['worker']}: {item['error']}" for item in self.failures)])


class RunFailed(TaskqError):
    """The run did not succeed.

    ``run`` is the run's id, ``status`` its terminal status, ``reason`` and ``error`` (the remote traceback) as recorded.
    """

    def __init__(
        self, message: str = "", *, run: str = "", status: str = "failed", reason: str | None = None, error: str | None = None
    ) -> None:
        super().__init__(message)
        self.run, self.status, self.reason, self.error = run, status, reason, error

    def __str__(self) -> str:
        return f"{self.message}\n{self.error}" if self.error else self.message


class WaitTimeout(TaskqError):
    """It did not happen in time."""

    http_status = 504


class FormatUnknown(TaskqError):
    """This was written in a format that this release does not know."""
