"""A way to Redis that loses replies: what stands between a worker and its server."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

_CHUNK = 1 << 16


class Proxy:
    """Passes everything on between a socket of its own and that of a server, until it is told not to.

    Args:
        socket_path: where it listens. ``server``: the server's socket.

    Attributes:
        url: of it, for a client.
        lost: how many replies were lost.
        opened: how many connections were asked for.
    """

    def __init__(self, socket_path: Path, server: Path) -> None:
        self.url, self._server = f"unix://{socket_path}", server
        self.lost = self.opened = 0
        self._marker, self._times, self._every = b"", 0, 1
        self._hung = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, marker: str, times: int = 1, every: int = 1) -> None:
        """Hand requests that hold ``marker`` on, and cut the connection instead of giving back what is answered.

        Args:
            marker: text in the request, such as the SHA of a script. ``times``: how often. ``every``: of so many such requests one.
        """
        with self._lock:
            self._marker, self._times, self._every = marker.encode(), times, every

    def cut(self) -> None:
        """Cut all connections that are open."""
        with self._lock:
            for end in list(self._open):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no further connections, and cut those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.opened += 1
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._server))
            except OSError:
                server.close()
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            losing = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, losing, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, losing, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, losing: threading.Event, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if asks and self._is_lost(data):
                    losing.set()
                elif not asks and losing.is_set():
                    self.lost += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open.discard(end)
        source.close()

    def _is_lost(self, data: bytes) -> bool:
        with self._lock:
            if not self._times or self._marker not in data:
                return False
            self._turn = getattr(self, "_turn", 0) + 1
            if self._turn % self._every:
                return False
            self._times -= 1
            return True
