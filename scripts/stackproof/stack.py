"""A stack of docker-compose.yml as a project of its own, driven by the `docker` command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "files"
PROJECT = "taskq-proof"


class NotProven(Exception):
    """A promise does not hold."""


class Stack:
    """The stack. Use as a context manager: it is removed with its volumes at the end, unless ``keep``.

    Attributes:
        runs: how many runs are enqueued while something is killed.
        files: the folder that the command line's container sees as ``/files``. ``port``: of Redis, on this machine.
        image: the name of the image that is built.
    """

    def __init__(self, runs: int, *, keep: bool) -> None:
        self.runs, self._keep = runs, keep
        self.image = PROJECT
        self.port = _free_port()
        self.files = Path(tempfile.mkdtemp(prefix="taskq-proof-"))
        self.files.chmod(0o755)  # the container's user has to read it
        for path in FILES.glob("*.py"):
            shutil.copy(path, self.files)
        # Nothing of the caller's settings counts: what is proven is the stack as it is if nothing is set.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
        ours = {"TASKQ_IMAGE": self.image, "TASKQ_REDIS_PORT": str(self.port), "TASKQ_FILES": str(self.files)}
        self._environment = clean | ours

    def __enter__(self) -> Stack:
        self.compose("down", "--volumes", "--remove-orphans")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._keep:
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")
            shutil.rmtree(self.files)

    def run(self, *words: str, code: int | None = 0, within: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command and give back what it printed.

        Raises:
            NotProven: it did not end in time, or with another exit code than ``code`` (None: any).
        """
        try:
            done = subprocess.run(
                words,
                cwd=ROOT,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=within,
            )
        except subprocess.TimeoutExpired:
            raise NotProven(f"{' '.join(words)}: not done within {within:g} s") from None
        if code is not None and done.returncode != code:
            raise NotProven(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done

    def docker(self, *words: str, code: int | None = 0) -> str:
        """What ``docker …`` prints."""
        return self.run("docker", *words, code=code).stdout

    def compose(self, *words: str, code: int | None = 0) -> str:
        """What ``docker compose …`` prints."""
        return self.run(*self.words(*words), code=code).stdout

    @staticmethod
    def words(*words: str) -> list[str]:
        """The command line of ``docker compose …`` for this project."""
        return ["docker", "compose", "--project-name", PROJECT, *words]

    def cli(self, *words: str, code: int | None = 0) -> str:
        """What ``taskq …`` prints in a container of its own."""
        return self.compose("run", "--rm", "-T", "cli", *words, code=code)

    def json(self, *words: str, code: int | None = 0) -> Any:
        """The document that ``taskq … --json`` prints."""
        return json.loads(self.cli(*words, "--json", code=code))

    def load(self, first: int, count: int) -> subprocess.Popen[str]:
        """Start enqueueing ``count`` runs from a container of its own."""
        return subprocess.Popen(
            self.words("run", "--rm", "-T", "--entrypoint", "python", "cli", "/files/load.py", str(first), str(count)),
            cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """What Docker knows of the containers, in the order of their names; the command line's are not among them."""
        label = f"label=com.docker.compose.project={PROJECT}"
        ids = self.docker("ps", "--all", "--quiet", "--filter", label, "--filter", "label=com.docker.compose.oneoff=False").split()
        found = json.loads(self.docker("inspect", *ids)) if ids else []
        found = [one for one in found if service in (None, one["Config"]["Labels"]["com.docker.compose.service"])]
        return sorted(found, key=lambda one: str(one["Name"]))

    def healthy(self, service: str, count: int, within: float = 60.0) -> float:
        """Wait until ``count`` containers of ``service`` are healthy; returns how long it took in seconds."""

        def states() -> list[str]:
            return [one["State"].get("Health", {}).get("Status", "") for one in self.containers(service)]

        began = time.monotonic()
        until(lambda: states() == ["healthy"] * count, within, lambda: f"{count} healthy {service}: {states()}")
        return time.monotonic() - began

    def lines(self, name: str) -> list[list[str]]:
        """The lines of ``/work/<name>``, each as its words; none if it is not there."""
        reader = ["run", "--rm", "--network", "none", "--volume", f"{PROJECT}_work:/work:ro", "--entrypoint", "cat", self.image]
        return [line.split() for line in self.docker(*reader, f"/work/{name}", code=None).splitlines()]

    def kill(self, container: dict[str, Any], *, crash: bool = False) -> None:
        """SIGKILL a container by Docker, which then does not start it again; ``crash``: its first process, behind Docker's back."""
        if crash:
            os.kill(container["State"]["Pid"], 9)
        else:
            self.docker("kill", "--signal", "KILL", container["Id"])


def until(look: Callable[[], T], within: float, what: Callable[[], str]) -> T:
    """The first truthy value of ``look``, asked about four times a second.

    Raises:
        NotProven: there was none within so many seconds.
    """
    deadline = time.monotonic() + within
    while not (value := look()):
        if time.monotonic() > deadline:
            raise NotProven(f"not within {within:g} s: {what()}")
        time.sleep(0.25)
    return value


def names(containers: Sequence[dict[str, Any]]) -> list[str]:
    """Short names of containers, such as ``worker-1``."""
    return [str(one["Name"]).removeprefix(f"/{PROJECT}-") for one in containers]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
