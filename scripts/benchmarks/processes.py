"""Processes that the benchmark starts: each ends with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from benchmarks.errors import BenchError

# Becomes the program that is named behind it, which is killed when we are: also by a `kill -9`, which nothing here can handle.
_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])
"""
# What would change how a peer behaves is not inherited.
_PRIVATE = ("TASKQ_", "RQ_", "PYTHON")
_LAST_LINES = 15


def clean_environment() -> dict[str, str]:
    """Our environment without what configures Python or a peer."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}


class Process:
    """A running program.

    Args:
        argv: its command line; the program by its path. ``log``: takes all that it writes.
        environment: added to the clean one. ``pipes``: whether it is spoken to on stdin and stdout; then `pipes` has their other ends.
    """

    def __init__(self, argv: Sequence[str | Path], log: Path, environment: Mapping[str, str], pipes: bool = False) -> None:
        self.log = log
        command = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *argv]
        with log.open("ab") as out:
            # A session of its own: a Ctrl-C at the terminal reaches us alone, and we end the rest in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else out,
                stderr=out,
                env=clean_environment() | dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """What it reads and what it writes."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 # whoever asks opened them
        return self._process.stdin, self._process.stdout

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self, within: float = 15.0) -> None:
        """SIGTERM, and wait for its end; a second one after a third of the time, which all peers take as "at once".

        A forking RQ worker that gets the first one between two jobs notes it and then waits for the next job, for minutes.

        Raises:
            BenchError: it had died before, or does not stop.
        """
        if not self.running:
            raise BenchError(f"{self.describe()} had ended by itself with code {self._process.returncode}\n{self.last_words()}")
        below = descendants(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(within / 3)
        except subprocess.TimeoutExpired:
            self._process.terminate()
        try:
            self._process.wait(within * 2 / 3)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.describe()} did not stop within {within:g} s\n{self.last_words()}") from None
        _, left = psutil.wait_procs(below, timeout=5)
        _kill(left)

    def wait(self, within: float) -> None:
        """Wait for its end, in seconds; raises `BenchError` where it goes on."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.describe()} did not end within {within:g} s\n{self.last_words()}") from None

    def kill(self) -> None:
        """SIGKILL it and all that descends from it, and wait for their end."""
        below = descendants(self._process.pid) if self.running else []
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _kill(below)

    def describe(self) -> str:
        """What it is, for messages."""
        return f"{self.log.stem} (pid {self._process.pid})"

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])


class Processes:
    """All processes of one measurement; as a context manager it ends those that still run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Process] = []

    def start(self, name: str, argv: Sequence[str | Path], *, pipes: bool = False, **environment: str) -> Process:
        """Start a program; its log is ``<name>.log`` in the folder."""
        process = Process(argv, self._folder / f"{name}.log", environment, pipes)
        self._all.append(process)
        return process

    def check(self) -> None:
        """Raise `BenchError` if one of them has ended."""
        for process in self._all:
            if not process.running:
                raise BenchError(f"{process.describe()} ended by itself\n{process.last_words()}")

    def retire(self, process: Process) -> None:
        """Stop one that is not needed any more."""
        process.stop()
        self._all.remove(process)

    def ended(self, process: Process, within: float = 15.0) -> None:
        """Wait for the end of one that was told to end.

        Raises:
            BenchError: it does not.
        """
        process.wait(within)
        self._all.remove(process)

    def close(self) -> None:
        """Kill what still runs, the latest first."""
        for process in reversed(self._all):
            process.kill()
        self._all.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(argv: Sequence[str | Path], **environment: str) -> str:
    """Run a program to its end; returns what it wrote on stdout.

    Raises:
        BenchError: it failed.
    """
    done = subprocess.run(argv, env=clean_environment() | environment, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, argv))} ended with code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def pause(seconds: float) -> None:
    """Wait; the one place that does."""
    time.sleep(seconds)


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
