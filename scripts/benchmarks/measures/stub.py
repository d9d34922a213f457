"""`Stub`: stands where the server was, and counts who comes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 128


class Stub:
    """Listens on a Unix socket, closes each connection at once, and counts them by the process that made them.

    Attributes:
        attempts: process → connections.
    """

    def __init__(self, place: Path) -> None:
        self.attempts: Counter[int] = Counter()
        self._place = place
        place.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(place))
        self._socket.listen(_BACKLOG)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._socket.close()
        self._place.unlink(missing_ok=True)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                self.attempts[_CREDENTIALS.unpack(raw)[0]] += 1
