"""`Registry`: the face of this package, for programs and for the command line."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from taskq.registry.changes import reading, routing
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.register import How, Order, register
from taskq.registry.changes.rollout import Manner
from taskq.registry.connect import connect
from taskq.registry.inspection.sources import Source, find_sources, one_source
from taskq.registry.keys import Keys
from taskq.registry.names import check
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

Documents = list[dict[str, Any]]


class Registry:
    """Reads and changes the registry.

    Documents are the plain mappings of the command line's ``--json``. A change returns ``{task, version, digest, revision,
    state}`` for each task that it concerned.

    Args:
        connection: a redis-py client without ``decode_responses``; found as the command line finds it if None.
        settings: from the environment if None.
        who: in whose name changes are made; ``user@host`` if None.
    """

    def __init__(self, connection: Redis | None = None, *, settings: Settings | None = None, who: str | None = None) -> None:
        settings = settings or Settings.load()
        self._owned = connect(settings) if connection is None else None
        redis = connection if connection is not None else self._owned
        assert redis is not None  # noqa: S101  # one of the two is there
        self._desk = Desk(redis, Keys(settings.namespace, settings.rq_prefix), settings, who or _who())

    def close(self) -> None:
        """Close the connection, if it was made here."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- changes -----------------------------------------------------------------------------------------
    def register(self, paths: Sequence[str | Path] | str | Path, *, origin: str | None = None, **how: Unpack[How]) -> Documents:
        """Register each task of the named files and folders, all as one release: all of them, or nothing.

        A version is loaded by each live worker that serves its queue before its route is switched.

        Args:
            paths: Python files; of a folder each ``*.py`` in it that declares a task.
            origin: the project that the tasks belong to; the name in the nearest pyproject.toml, else the folder's, if None.
            message: why.
            take_over: tasks of another origin may be taken.
            force: content that was rolled back from may come again.
            if_version: the latest version that each task must have, 0 for none. if_revision: the registry's revision.
            activate: False only has the workers load the version; `promote` then switches.
            stage_timeout: how long to wait for the workers, in seconds; the setting if None.
            max_unready: how many of them may fail to be ready.
            inspect: where a file is imported to find its tasks: ``local``, ``worker``, or ``auto``: by a worker where something
                is not installed here.
            dry_run: say what would be done and change nothing.
            on_progress: called with a line for people on what is being waited for.

        Raises:
            InspectionFailed, DistributionMissing: a file can't be imported, or holds no task.
            InvalidInput, Unsupported: a declaration or an argument is not allowed.
            Conflict: a demand is not met, a task belongs to another origin, or its content was rolled back from.
            RolloutFailed: workers could not load a version; nothing was switched. See ``failures`` and ``documents``.
            ServerUnreachable: Redis does not answer.
        """
        named = [paths] if isinstance(paths, str | Path) else list(paths)
        return _register(self._desk, find_sources(named, largest=self._desk.settings.max_artifact, origin=origin), how)

    def register_source(self, file_name: str, source: bytes, *, origin: str | None = None, **how: Unpack[How]) -> Documents:
        """The same for a file's bytes; ``file_name`` is recorded and shown in tracebacks."""
        return _register(self._desk, [one_source(file_name, source, largest=self._desk.settings.max_artifact, origin=origin)], how)

    def promote(self, task: str, version: int, message: str = "", *, stage_timeout: float | None = None, max_unready: int = 0) -> Documents:
        """Route ``task`` to ``version``, once the workers have it loaded.

        Raises:
            NotFound: there is no such task or version. TaskRetired: the task is retired.
            RolloutFailed: workers could not load it; nothing was switched.
        """
        timeout = self._desk.settings.stage_timeout if stage_timeout is None else stage_timeout
        manner = Manner("promoted", timeout, message, max_unready=max_unready)
        return routing.promote(self._desk, check("task", task), version, manner)

    def rollback(self, task: str, version: int | None = None, message: str = "") -> Documents:
        """Route ``task`` to an earlier version; the one that it leaves is not taken again unless forced.

        Args:
            version: the one to go back to; the stable one before the current one if None.

        Raises:
            NotFound: there is no such version, or none to go back to. Conflict: it is the stable one.
            RolloutFailed: workers could not load it; nothing was switched.
        """
        manner = Manner("rolled_back", self._desk.settings.stage_timeout, message, withdraw=True)
        return routing.roll_back(self._desk, check("task", task), version, manner)

    def pause(self, task: str, message: str = "", if_revision: int | None = None) -> Documents:
        """Have nothing of ``task`` start; runs are accepted and wait. Raises `NotFound`, `TaskRetired`, `Conflict`."""
        return routing.pause(self._desk, check("task", task), message, if_revision)

    def resume(self, task: str, message: str = "", if_revision: int | None = None) -> Documents:
        """Have runs of a paused task start again. Raises `NotFound`, `TaskRetired`, `Conflict`."""
        return routing.resume(self._desk, check("task", task), message, if_revision)

    def retire(self, task: str, message: str = "", if_revision: int | None = None) -> Documents:
        """Refuse runs of ``task`` from now on and cancel those that wait. Raises `NotFound`, `Conflict`."""
        return routing.retire(self._desk, check("task", task), message, if_revision)

    # -- reading -----------------------------------------------------------------------------------------
    @property
    def revision(self) -> int:
        """The registry's revision."""
        return self._desk.perform(reading.read_revision(self._desk.keys))

    def show(self, task: str) -> dict[str, Any]:
        """One task with its spec and parameters. Raises `NotFound`."""
        return self._desk.perform(reading.show_task(self._desk.keys, task))

    def history(self, task: str) -> Documents:
        """The versions of a task, newest first. Raises `NotFound`."""
        return self._desk.perform(reading.history(self._desk.keys, task))

    def source(self, task: str, version: int | None = None) -> str:
        """The code of a version, of the stable one if None. Raises `NotFound`."""
        return self._desk.perform(reading.source(self._desk.keys, task, version))

    def diff(self, task: str, a: int, b: int) -> str:
        """Unified diff of two versions: the code, then the spec. Raises `NotFound`."""
        return self._desk.perform(reading.diff(self._desk.keys, task, a, b))

    def audit(self, task: str | None = None, limit: int = 200) -> Documents:
        """Who changed what, when and why, newest first. Raises `NotFound`."""
        return self._desk.perform(reading.audit(self._desk.keys, task, limit))

    def rollout(self, task: str) -> dict[str, Any]:
        """Which workers have the route of ``task`` applied, and its last failed rollout. Raises `NotFound`."""
        return self._desk.perform(reading.rollout(self._desk.keys, self._desk.settings, task))

    def workers(self) -> Documents:
        """The workers."""
        return self._desk.perform(reading.workers(self._desk.keys, self._desk.settings))

    def list(self) -> Documents:
        """All tasks, by name."""
        return self._desk.perform(reading.list_tasks(self._desk.keys))


def _who() -> str:
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:  # a container often runs as a user without a name
        name = str(user)
    return f"{name}@{socket.gethostname()}"


def _register(desk: Desk, sources: Sequence[Source], how: How) -> Documents:
    progress = how.get("on_progress")
    if progress is not None:
        desk = replace(desk, progress=progress)
    return register(desk, sources, Order.of(how, desk.settings.stage_timeout))
