"""One supervised child: restarts, back-off, output, death with its parent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.waiting import until

from taskq.up import child as child_module
from taskq.up.child import Child, describe_exit

DEAF = "import signal\nsignal.signal(15, lambda *_: None)\nprint('up', flush=True)\nwhile True: signal.pause()"


class Heard:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.deaths: list[tuple[str, float]] = []
        self.pids: list[int] = []
        self.changed = asyncio.Event()

    def output(self, name: str, line: str) -> None:
        self.lines.append(f"{name}: {line}")
        self.changed.set()

    def died(self, name: str, why: str, delay: float) -> None:
        assert name == "it"
        self.deaths.append((why, delay))
        self.changed.set()

    def started(self, name: str, pid: int, *, again: bool) -> None:
        assert name == "it"
        assert again == bool(self.pids)
        self.pids.append(pid)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_who_dies_is_started_again_less_and_less_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(child_module, "LONGEST_DELAY", 0.05)

    async def scenario() -> Heard:
        heard = Heard()
        child = Child("it", lambda starts: python(f"print('start {starts}'); raise SystemExit(3)"), os.environ, heard)
        child.start()
        await heard.until(lambda: len(heard.deaths) >= 5)
        child.ask_to_stop()
        assert await child.ended(10)
        return heard

    heard = asyncio.run(scenario())
    assert heard.lines[:3] == ["it: start 0", "it: start 1", "it: start 2"]
    assert heard.deaths[0][0] == "exit code 3"
    delays = [delay for _, delay in heard.deaths]
    assert delays == sorted(delays)
    assert delays[-1] == 0.05


def test_a_stop_ends_it_for_good_and_a_kill_ends_who_does_not_listen() -> None:
    async def scenario() -> Heard:
        heard = Heard()
        child = Child("it", lambda _: python(DEAF), os.environ, heard)
        child.start()
        await heard.until(lambda: bool(heard.lines))
        child.ask_to_stop()
        assert not await child.ended(0.2)
        child.ask_to_stop(kill=True)
        assert await child.ended(10)
        assert child.pid is None
        return heard

    heard = asyncio.run(scenario())
    assert heard.deaths == []
    assert len(heard.pids) == 1


def test_a_long_line_is_cut_into_pieces_and_the_last_one_needs_no_newline() -> None:
    async def scenario() -> Heard:
        heard = Heard()
        child = Child("it", lambda _: python("print('x' * 30000); print('end', end='')"), os.environ, heard)
        child.start()
        await heard.until(lambda: bool(heard.deaths))
        child.ask_to_stop()
        assert await child.ended(10)
        return heard

    lines = asyncio.run(scenario()).lines
    assert sum(line.count("x") for line in lines) == 30000
    assert "it: end" in lines


PARENT = """
import asyncio, os, sys
from taskq.up.child import Child

class Quiet:
    def output(self, name, line): pass
    def died(self, name, why, delay): pass
    def started(self, name, pid, *, again): print(pid, flush=True)

async def main():
    Child("it", lambda _: [sys.executable, "-S", "-c", "import time; time.sleep(600)"], os.environ, Quiet()).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_it_dies_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


def test_exits_are_told_in_words() -> None:
    assert [describe_exit(code) for code in (0, 3, -9, -64)] == ["exit code 0", "exit code 3", "signal SIGKILL", "signal SIGRTMAX"]
