"""``python -m taskq.registry.inspection.child FILE TIMEOUT``: the source on stdin, the answer as a blob on stdout.

Two processes: this one is in charge and executes nothing foreign; the one that it forks executes the file. What the file
prints goes into the answer, the last of it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from types import FrameType
from typing import Any, Final, NoReturn

from taskq.registry import clock, codec
from taskq.registry.inspection.descendants import end_descendants, keep_within_reach
from taskq.registry.inspection.description import describe

_TICK: Final = 0.02
_LENGTH: Final = 8
_OUTPUT: Final = 8192
_CHUNK: Final = 65_536


def main(file: str, timeout: float) -> None:
    """Inspect what stands on stdin."""
    source = sys.stdin.buffer.read()
    answer_fd = os.dup(1)
    signal.signal(signal.SIGTERM, _ended)
    keep_within_reach()
    try:
        answer = supervise(source, file, timeout)
    finally:
        end_descendants()
    with os.fdopen(answer_fd, "wb") as pipe:
        pipe.write(codec.dumps(answer))


def supervise(source: bytes, file: str, timeout: float) -> dict[str, Any]:
    """Have a forked process describe ``source`` and return its answer, or why there is none.

    Args:
        source: the file's bytes. ``file``: its name. ``timeout``: how long it may take, in seconds.
    """
    answer_read, answer_write = os.pipe()
    output_read, output_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _execute(source, file, answer_write, output_write)
    os.close(answer_write)
    os.close(output_write)
    watch = _Watch(pid, answer_read, output_read)
    reason = watch.until(clock.monotonic() + timeout, f"timed out after {timeout:g} s")
    output = bytes(watch.output).decode(errors="replace").strip()
    if reason is None:
        return {**codec.loads(bytes(watch.answer[_LENGTH:])), "output": output}
    return {"tasks": [], "error": reason, "missing": None, "refused": None, "output": output}


class _Watch:
    """Reads both pipes until the answer is complete, the process has ended or the time is over."""

    def __init__(self, pid: int, answer: int, output: int) -> None:
        self.pid, self.answer_fd, self.output_fd = pid, answer, output
        self.answer, self.output = bytearray(), bytearray()

    def until(self, deadline: float, late: str) -> str | None:
        """None once the answer is complete, else the reason why there is none."""
        while not self._complete():
            # First look whether it ended, then read: what it wrote before its end is not missed.
            ended = self._ended()
            moved = self._read()
            if ended is not None and not moved and not self._complete():
                return ended
            if clock.monotonic() > deadline:
                return late
        self._read()
        return None

    def _complete(self) -> bool:
        return len(self.answer) >= _LENGTH and len(self.answer) - _LENGTH >= int.from_bytes(self.answer[:_LENGTH], "big")

    def _read(self) -> bool:
        moved = False
        ready, _, _ = select.select([self.answer_fd, self.output_fd], [], [], _TICK)
        for fd in ready:
            data = os.read(fd, _CHUNK)
            moved = moved or bool(data)
            if fd == self.answer_fd:
                self.answer += data
            else:
                self.output += data
                del self.output[:-_OUTPUT]
        return moved

    def _ended(self) -> str | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "the import ended its process"
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"the import crashed: signal {-code} ({signal.Signals(-code).name})"
        return f"the import ended its process: os._exit({code})"


def _execute(source: bytes, file: str, answer: int, output: int) -> NoReturn:
    """In the forked process: describe, answer, and be gone without running what the file left for the exit."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        blob = codec.dumps(describe(source, file))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        data = len(blob).to_bytes(_LENGTH, "big") + blob
        while data:
            data = data[os.write(answer, data) :]
        code = 0
    finally:
        os._exit(code)


def _ended(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # a signal handler's signature
    sys.exit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
