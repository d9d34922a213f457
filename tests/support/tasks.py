"""Tasks that several tests of workers run, as the text of their files, and what can be seen of them from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import psutil
from support.waiting import until

HEAD: Final = "import ctypes, io, os, signal, subprocess, sys, time\nfrom taskq.registry import TaskContext, task\n"
FREE: Final[dict[str, Any]] = {"parameters": {"json_schema": {"type": "object"}}}
"""The part of a spec by which a task takes any parameters."""

# Says that it has begun.
NAP: Final = (
    HEAD + "@task\ndef nap(seconds: float = 0.0, path: str = '/dev/null'):\n    open(path, 'a').write('x')\n    time.sleep(seconds)\n"
)
# Starts a process in a session of its own, and waits; notes the process.
LEAVES: Final = HEAD + (
    "@task\ndef leaves(path: str):\n"
    "    child = subprocess.Popen(['sleep', '99'], start_new_session=True)\n"
    "    open(path, 'w').write(str(child.pid))\n"
    "    time.sleep(60)\n"
)
# The same, but neither it nor the process can be stopped otherwise than by SIGKILL.
STUBBORN: Final = HEAD + (
    "@task\ndef stubborn(path: str):\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    code = 'import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)'\n"
    "    child = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
    "    open(path, 'w').write(str(child.pid))\n"
    "    while True:\n        try:\n            time.sleep(60)\n        except BaseException:\n            pass\n"
)


def started(path: Path, count: int = 1) -> None:
    """Waits until so many characters stand in the file: so many naps have begun, or the process that a run has started is noted."""
    until(lambda: path.exists() and len(path.read_text()) >= count, what="it started")


def gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have reaped it."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
