"""A process that does what it is told, in place of an executor."""

from __future__ import annotations

import subprocess
import sys

from taskq.worker.link.descendants import kill_tree

_LOOP = "import os, subprocess, sys, time\nkept = []\nprint('ready', flush=True)\nfor line in sys.stdin:\n    exec(line)\n"


class Puppet:
    """A process that executes a line of Python at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-u", "-c", _LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        assert self.answer() == "ready"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, expression: str) -> str:
        self.tell(f"print({expression}, flush=True)")
        return self.answer()

    def end(self) -> None:
        if self.process.poll() is None:
            kill_tree(self.pid)
            self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
