"""The installed `taskq` command as a user would run it, and worker processes under test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.waiting import until

from taskq.registry.settings import Settings

_TIMES = ("lease", "lease_renew", "sweep", "heartbeat", "worker_ttl", "stage_timeout", "load_timeout", "poll")


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a user whose shell has these settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
    clean |= {f"TASKQ_{name.upper()}": f"{getattr(settings, name):g}" for name in _TIMES}
    return clean | {"TASKQ_REDIS_URL": str(settings.redis_url), "TASKQ_PUBSUB": "on" if settings.pubsub else "off"} | more


class Command:
    """`taskq …` in a folder, with the settings in its environment."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.environ = environment(settings)

    def __call__(self, *words: str, code: int | None = 0, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run it to its end; checks the exit code unless ``code`` is None."""
        done = subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert code is None or done.returncode == code, f"{words} exited {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str, code: int | None = 0, timeout: float = 60) -> Any:
        """Its ``--json`` document."""
        return json.loads(self(*words, "--json", code=code, timeout=timeout).stdout)

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start it in the background, its output into ``<folder>/<first word>.log``."""
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.Popen(self.argv(*words), cwd=self.folder, env=self.environ | more, **output)

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("taskq")), *words]

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def live(self) -> list[dict[str, Any]]:
        """Workers that are ready for runs."""
        return [row for row in self.json("workers") if row["state"] in ("idle", "busy")]

    @contextmanager
    def workers(self, count: int, *, executors: int = 2, **more: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many workers, ready; at the end they are drained, and killed if they do not go."""
        started = [self.start("worker", "--executors", str(executors), "--name", f"w{index}", **more) for index in range(count)]
        try:
            until(lambda: len(self.live()) >= count, 30, f"{count} workers ready\n{self.log()}")
            yield started
        finally:
            for worker in started:
                worker.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs([psutil.Process(worker.pid) for worker in started if worker.poll() is None], timeout=15)
            for process in alive:
                process.kill()
            for worker in started:
                worker.wait()
            assert not alive, f"workers did not stop\n{self.log()}"

    def log(self) -> str:
        """What the workers wrote."""
        path = self.folder / "worker.log"
        return path.read_text()[-8000:] if path.exists() else ""


def executors_of(worker: subprocess.Popen[bytes]) -> set[int]:
    """Pids of a worker's child processes."""
    return {child.pid for child in psutil.Process(worker.pid).children()}


def as_a_user(argv: list[str]) -> list[str]:
    """Root without these capabilities sees of /proc what a user sees of processes of the same uid."""
    if os.geteuid() != 0:
        return argv
    if not shutil.which("setpriv"):
        pytest.fail("running as root, this test needs setpriv (util-linux)")
    gone = "-sys_ptrace,-perfmon,-sys_admin"
    return ["setpriv", f"--bounding-set={gone}", f"--inh-caps={gone}", *argv]
