"""`Run` and `AsyncRun`: one run, as of the last time that it was read."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

from taskq.producer.cancelling import cancel_and_wait
from taskq.producer.link import AsyncLink, Link
from taskq.producer.waiting import failure_of, wait_for
from taskq.registry.authoring.task import body_of
from taskq.registry.code.results import as_returned
from taskq.registry.runs.document import Attempt, RunDocument, read_run
from taskq.registry.runs.logs import FIRST, LogLine, read_logs
from taskq.registry.runs.retries import retry_run

R = TypeVar("R")
V = TypeVar("V")


class Field(Generic[V]):
    """An attribute that is read from the run's document."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = "run" if name == "id" else name

    @overload
    def __get__(self, view: None, owner: type) -> Field[V]: ...
    @overload
    def __get__(self, view: View[Any], owner: type) -> V: ...
    def __get__(self, view: View[Any] | None, owner: type) -> Field[V] | V:
        return self if view is None else view.document[self._name]  # type: ignore[literal-required]  # a name of the document


class Unread(Protocol):
    """A document that is made when it is first asked for."""

    def document(self) -> RunDocument:
        """Make it."""


class View(Generic[R]):
    """What a run's two faces share: the fields of its document.

    Attributes:
        deduplicated: whether an idempotency key stood for this run before it was asked for.
    """

    id = Field[str]()
    task = Field[str]()
    version = Field[int | None]()
    status = Field[str | None]()
    reason = Field[str | None]()
    error = Field[str | None]()
    attempt = Field[int]()
    attempts = Field[list[Attempt]]()
    worker = Field[str | None]()
    trigger = Field[str | None]()
    cause = Field[str | None]()
    due_at = Field[str | None]()
    queued_at = Field[str | None]()
    started_at = Field[str | None]()
    ended_at = Field[str | None]()

    __slots__ = ("_document", "_of", "deduplicated")

    def __init__(self, document: RunDocument | Unread, *, deduplicated: bool = False, of: object = None) -> None:
        """
        Args:
            document, deduplicated: the attributes; the document may be one that is yet to be made.
            of: the task as it was given: a function or class says of what type its result is.
        """
        self._document = document
        self.deduplicated = deduplicated
        self._of = None if isinstance(of, str) else of

    @property
    def document(self) -> RunDocument:
        """The ``status`` document as of the last reading."""
        if not isinstance(self._document, dict):
            self._document = self._document.document()
        return self._document

    @document.setter
    def document(self, document: RunDocument) -> None:
        self._document = document

    @property
    def result(self) -> R | None:
        """What the task returned; None unless it has succeeded.

        Where the run was enqueued by its decorated function or class, it is what that says it returns (a dataclass, a model, a
        tuple …), as far as it fits. Otherwise it is plain: a dict in place of a dataclass or model, a list in place of a tuple, a
        value in place of an enum's member.
        """
        return self._returned()  # type: ignore[no-any-return]  # what the task returned is R

    def _returned(self) -> Any:
        value = self.document["result"]
        return value if value is None or self._of is None else as_returned(body_of(self._of), value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self.task}: {self.status}>"

    def _ended(self, document: RunDocument) -> R:
        """The result in the document of an ended run; raises `RunFailed` if it did not succeed."""
        self.document = document
        failure = failure_of(document)
        if failure is not None:
            raise failure
        return self._returned()  # type: ignore[no-any-return]  # what the task returned is R


class Run(View[R]):
    """A run, driven over a blocking connection; made by `Client`."""

    __slots__ = ("_link",)

    def __init__(self, link: Link, document: RunDocument | Unread, *, deduplicated: bool = False, of: object = None) -> None:
        super().__init__(document, deduplicated=deduplicated, of=of)
        self._link = link

    def refresh(self) -> Run[R]:
        """Read the run again and return it; raises `NotFound` once its record has expired."""
        self.document = self._link.perform(read_run(self._link.keys, self.id))
        return self

    def wait(self, timeout: float | None = None) -> R:
        """The result, once there is one; of which type it is, `result` says.

        Args:
            timeout: how long to wait in seconds; None for as long as it takes.

        Raises:
            RunFailed: it failed or was cancelled; carries the remote traceback.
            WaitTimeout: it has not ended in time; it goes on.
            NotFound: its record has expired.
        """
        return self._ended(self._link.perform(wait_for(self._link.keys, self.id, timeout, self._link.block)))

    def cancel(self, reason: str = "", *, wait: float | None = None) -> None:
        """Take the run back if it waits, or have its worker stop it.

        Args:
            reason: what is recorded as the reason.
            wait: how long the worker may take to stop it, in seconds; None for the task's grace and some seconds; 0 to ask only.

        Raises:
            Conflict: it has ended by itself.
            WaitTimeout: the worker has not confirmed it in time; the request stands.
            NotFound: its record has expired.
        """
        link = self._link
        self.document = link.perform(cancel_and_wait(link.keys, link.settings, self.id, reason, wait=wait, block=link.block))

    def retry(self) -> None:
        """Queue the run once more, if it has failed or was cancelled: the same run, with the attempts that it had.

        Raises:
            Conflict: it waits, runs or has succeeded.
            NotFound, TaskRetired: its record has expired, or its task accepts no runs.
        """
        self._link.perform(retry_run(self._link.keys, self._link.settings, self.id))
        self.refresh()

    def logs(self, after: str = FIRST) -> list[LogLine]:
        """Lines that the run logged so far, oldest first: all, or those after the line of that ``id``."""
        return self._link.perform(read_logs(self._link.keys, self.id, after))


class AsyncRun(View[R]):
    """A run, driven over an asyncio connection; made by `AsyncClient`."""

    __slots__ = ("_link",)

    def __init__(self, link: AsyncLink, document: RunDocument, *, deduplicated: bool = False, of: object = None) -> None:
        super().__init__(document, deduplicated=deduplicated, of=of)
        self._link = link

    async def refresh(self) -> AsyncRun[R]:
        """As `Run.refresh`."""
        self.document = await self._link.perform(read_run(self._link.keys, self.id))
        return self

    async def wait(self, timeout: float | None = None) -> R:  # noqa: ASYNC109  # the same signature as Run.wait; Redis does the waiting
        """As `Run.wait`."""
        return self._ended(await self._link.perform(wait_for(self._link.keys, self.id, timeout, self._link.block)))

    async def cancel(self, reason: str = "", *, wait: float | None = None) -> None:
        """As `Run.cancel`."""
        link = self._link
        self.document = await link.perform(cancel_and_wait(link.keys, link.settings, self.id, reason, wait=wait, block=link.block))

    async def retry(self) -> None:
        """As `Run.retry`."""
        await self._link.perform(retry_run(self._link.keys, self._link.settings, self.id))
        await self.refresh()

    async def logs(self, after: str = FIRST) -> list[LogLine]:
        """As `Run.logs`."""
        return await self._link.perform(read_logs(self._link.keys, self.id, after))
