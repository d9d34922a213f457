"""The folder ``.taskq/``: who holds it, and what stands in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from taskq.registry.errors import Conflict, InvalidInput, Refused
from taskq.registry.settings import HOME_FOLDER, UP_FILE

_LONGEST_SOCKET = 107  # bytes in sockaddr_un.sun_path, less the closing zero


class Home:
    """A ``.taskq/`` that this process holds.

    Attributes:
        path: the folder itself, absolute.
        socket: where the server listens.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "redis.sock"
        self.config = path / "redis.conf"
        self.log = path / "redis.log"
        self._document = path / UP_FILE
        self._password = path / "password"

    @classmethod
    @contextlib.contextmanager
    def held(cls, folder: Path) -> Iterator[Home]:
        """The home in ``folder``, made if it is missing, held until the end of the block.

        Raises:
            Conflict: another `taskq up` holds it.
            InvalidInput: its socket's path would be too long.
            Refused: it is not this user's folder.
        """
        home = cls(folder.resolve() / HOME_FOLDER)
        home._check_length()
        home._make()
        lock = os.open(home.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"`taskq up` already runs in {home.path.parent}{home._holder()}", hint="use it, or stop it with Ctrl-C first"
                ) from None
            home._clear()
            yield home
            home._clear()
        finally:
            os.close(lock)

    def publish(self, *, pid: int, password: str | None, processes: Mapping[str, int]) -> None:
        """Tell other commands where the server is and what runs: ``up.json``, replaced as a whole."""
        named = [{"name": name, "pid": process} for name, process in processes.items()]
        document: dict[str, Any] = {"socket": self.socket.name, "password": password, "pid": pid, "processes": named}
        self.write_private(self._document, json.dumps(document, indent=2) + "\n")

    def password(self) -> str:
        """The password of this folder's server, made once."""
        if not self._password.exists():
            self.write_private(self._password, secrets.token_urlsafe(24))
        return self._password.read_text().strip()

    @staticmethod
    def write_private(path: Path, text: str) -> None:
        """Write a file that only this user may read, whole or not at all."""
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)

    def _check_length(self) -> None:
        length = len(os.fsencode(self.socket))
        if length > _LONGEST_SOCKET:
            raise InvalidInput(
                f"the path of the server's socket has {length} bytes, the system allows {_LONGEST_SOCKET}: {self.socket}",
                hint="run `taskq up` in a folder with a shorter path",
            )

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        state = self.path.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            raise Refused(f"{self.path} is not used: it must be a folder that belongs to you")
        self.path.chmod(0o700)
        (self.path / ".gitignore").write_text("*\n")

    def _holder(self) -> str:
        try:
            return f" (pid {json.loads(self._document.read_text())['pid']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _clear(self) -> None:
        self._document.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
