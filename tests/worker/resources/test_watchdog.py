"""The watchdog: it needs nothing of the machine."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Callable

import psutil
from support.puppet import Puppet
from support.waiting import until

from taskq.registry.model.resources import Resources
from taskq.worker.resources.watchdog import WatchdogCell
from taskq.worker.runs.run import Breach

HOG = "kept.append(bytes(1 << 20) * {})"


def watched(puppet: Puppet, limits: Resources, body: Callable[[WatchdogCell, list[Breach]], object]) -> list[Breach]:
    """Have a run watched while ``body`` goes on, on a thread of its own; returns the breaches."""
    found: list[Breach] = []

    def kill(breach: Breach) -> None:
        found.append(breach)
        puppet.end()

    async def main() -> None:
        cell = WatchdogCell(puppet.pid)
        cell.begin(limits, kill)
        await asyncio.to_thread(body, cell, found)
        cell.end()
        cell.remove()

    asyncio.run(main())
    return found


def test_a_run_above_its_memory_is_killed_with_the_limit_named(puppet: Puppet) -> None:
    puppet.tell(HOG.format(200))
    assert puppet.ask("len(kept)") == "1"

    def body(cell: WatchdogCell, found: list[Breach]) -> None:
        puppet.tell(HOG.format(80))
        assert puppet.ask("len(kept)") == "2"
        assert cell.breach(-9) is None
        puppet.tell(HOG.format(200))
        until(lambda: found, what="a breach")
        assert cell.breach(-9) is found[0]

    (breach,) = watched(puppet, Resources(memory=128 << 20), body)
    assert breach.reason == "oom"
    assert "limit of 128M" in breach.error


def test_memory_that_a_forked_child_shares_counts_once(puppet: Puppet) -> None:
    puppet.tell(HOG.format(200))
    assert puppet.ask("len(kept)") == "1"

    def body(_cell: WatchdogCell, found: list[Breach]) -> None:
        puppet.tell("children = [os.fork() or time.sleep(60) for _ in range(3)]")
        assert puppet.ask("len(children)") == "3"
        until(lambda: len(psutil.Process(puppet.pid).children()) == 3, what="three children")
        puppet.tell("time.sleep(0.5)")
        assert puppet.ask("1") == "1"
        assert found == []

    assert watched(puppet, Resources(memory=100 << 20), body) == []


def test_memory_of_children_counts_together(puppet: Puppet) -> None:
    hog = "import sys, time; x = bytes(1 << 20) * 60; time.sleep(60)"

    def body(_cell: WatchdogCell, found: list[Breach]) -> None:
        puppet.tell(f"kept += [subprocess.Popen([sys.executable, '-c', {hog!r}]) for _ in range(3)]")
        until(lambda: found, what="a breach")

    (breach,) = watched(puppet, Resources(memory=128 << 20), body)
    assert breach.reason == "oom"


def test_more_processes_than_allowed_are_killed_setsid_or_not(puppet: Puppet) -> None:
    family: list[psutil.Process] = []

    def body(_cell: WatchdogCell, found: list[Breach]) -> None:
        puppet.tell("kept += [subprocess.Popen(['sleep', '60'], start_new_session=True) for _ in range(4)]")
        assert puppet.ask("len(kept)") == "4"
        family.extend(psutil.Process(puppet.pid).children())
        assert found == []
        puppet.tell("kept += [subprocess.Popen(['sleep', '60'], start_new_session=True) for _ in range(4)]")
        until(lambda: found, what="a breach")

    (breach,) = watched(puppet, Resources(pids=5), body)
    assert breach.reason == "killed"
    assert "processes and threads" in breach.error
    assert "limit of 5 pids" in breach.error
    assert not psutil.wait_procs(family, timeout=2)[1]


def test_what_the_run_left_is_killed_and_what_was_there_stays(puppet: Puppet) -> None:
    puppet.tell("daemon = subprocess.Popen(['sleep', '60'], start_new_session=True)")
    daemon = int(puppet.ask("daemon.pid"))

    def body(_cell: WatchdogCell, _found: list[Breach]) -> None:
        puppet.tell("kept += [subprocess.Popen(['sleep', '60'], start_new_session=True) for _ in range(3)]")
        assert puppet.ask("len(kept)") == "3"

    assert watched(puppet, Resources(pids=10), body) == []
    puppet.tell("codes = [child.wait() for child in kept]")
    assert puppet.ask("codes") == str([-signal.SIGKILL] * 3)
    assert psutil.Process(daemon).status() != psutil.STATUS_ZOMBIE


def test_what_can_be_mapped_is_bounded_during_the_run_only(puppet: Puppet) -> None:
    before = resource.prlimit(puppet.pid, resource.RLIMIT_DATA)
    during: list[tuple[int, int]] = []

    def body(_cell: WatchdogCell, _found: list[Breach]) -> None:
        during.append(resource.prlimit(puppet.pid, resource.RLIMIT_DATA))

    watched(puppet, Resources(memory=64 << 20), body)
    assert (64 << 20) + (1 << 30) < during[0][0] < (64 << 20) + (2 << 30)
    assert resource.prlimit(puppet.pid, resource.RLIMIT_DATA) == before
