"""Version 1 in the kernel of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from support.puppet import Puppet
from support.waiting import until

from taskq.registry.model.resources import Resources
from taskq.worker.resources import places
from taskq.worker.resources.v1 import Version1, open_v1

HOG = "kept.append(bytes(1 << 20) * {})"


def no_breach(_breach: object) -> None:
    raise AssertionError("the kernel holds the limits, not we")


def test_what_was_there_before_does_not_count(v1: Version1, puppet: Puppet) -> None:
    puppet.tell(HOG.format(150))
    cell = v1.cell(puppet.pid)
    puppet.tell(HOG.format(100))
    assert puppet.ask("len(kept)") == "2"

    cell.begin(Resources(memory=128 << 20), no_breach)
    puppet.tell(HOG.format(100))
    assert puppet.ask("len(kept)") == "3"
    cell.end()
    puppet.tell(HOG.format(100))
    assert puppet.ask("len(kept)") == "4"

    cell.begin(Resources(memory=128 << 20), no_breach)
    puppet.tell(HOG.format(200))
    assert puppet.process.wait(20) == -signal.SIGKILL
    breach = cell.breach(-signal.SIGKILL)
    assert breach is not None
    assert (breach.reason, "limit of 128M" in breach.error) == ("oom", True)
    until(cell.remove, what="its groups are removed")


def test_a_kill_by_somebody_else_is_no_breach(v1: Version1, puppet: Puppet) -> None:
    cell = v1.cell(puppet.pid)
    cell.begin(Resources(memory=128 << 20), no_breach)
    puppet.process.kill()
    puppet.process.wait(10)

    assert cell.breach(-signal.SIGKILL) is None
    until(cell.remove, what="its groups are removed")


def test_a_child_that_takes_too_much_dies_alone(v1: Version1, puppet: Puppet) -> None:
    cell = v1.cell(puppet.pid)
    cell.begin(Resources(memory=64 << 20), no_breach)
    puppet.tell("child = subprocess.run([sys.executable, '-c', 'x = bytes(1 << 20) * 300'])")

    assert puppet.ask("child.returncode") == "-9"
    assert puppet.process.poll() is None


def test_a_fork_above_the_limit_of_pids_fails(v1: Version1, puppet: Puppet) -> None:
    cell = v1.cell(puppet.pid)
    cell.begin(Resources(pids=3), no_breach)
    puppet.tell("for _ in range(3): kept.append(subprocess.Popen(['sleep', '60']))")
    puppet.tell("import contextlib")
    puppet.tell("with contextlib.suppress(BlockingIOError): kept.append(subprocess.Popen(['sleep', '60']))")

    assert puppet.ask("len(kept)") == "3"
    assert len(psutil.Process(puppet.pid).children()) == 3
    cell.end()


def test_what_the_run_left_is_killed_with_setsid_as_well_and_what_was_there_stays(v1: Version1, puppet: Puppet) -> None:
    cell = v1.cell(puppet.pid)
    puppet.tell("daemon = subprocess.Popen(['sleep', '60'], start_new_session=True)")
    daemon = int(puppet.ask("daemon.pid"))
    cell.begin(Resources(pids=20), no_breach)
    puppet.tell("kept += [subprocess.Popen(['sleep', '60'], start_new_session=True) for _ in range(5)]")
    assert puppet.ask("len(kept)") == "5"

    cell.end()
    puppet.tell("codes = [child.wait() for child in kept]")
    assert puppet.ask("codes") == str([-9] * 5)
    assert psutil.Process(daemon).status() != psutil.STATUS_ZOMBIE
    puppet.tell("kept += [subprocess.Popen(['true']) for _ in range(25)]")
    assert puppet.ask("len(kept)") == "30"


def test_cpu_is_held_to_its_share(v1: Version1, puppet: Puppet) -> None:
    if "cpu" not in v1.enforces:
        pytest.skip("this machine has no writable hierarchy for cpu")
    cell = v1.cell(puppet.pid)
    cell.begin(Resources(cpu=0.1), no_breach)
    puppet.tell("began, used = time.monotonic(), time.process_time()")
    puppet.tell("while time.monotonic() - began < 1.5: pass")
    share = float(puppet.ask("(time.process_time() - used) / (time.monotonic() - began)"))
    assert share < 0.3  # without a limit it is a whole core, or at the worst what two busy ones leave


def test_groups_of_a_dead_worker_are_removed_with_what_runs_in_them(v1: Version1) -> None:
    folders = places.look()[1]
    with subprocess.Popen(["true"]) as ended:
        pass
    with subprocess.Popen(["sleep", "60"]) as orphan:
        for name in ("memory", "pids"):
            group = folders[name] / f"taskq-{ended.pid}-dead"
            (group / "7").mkdir(parents=True)
            (group / "7" / "cgroup.procs").write_text(str(orphan.pid))
        again = open_v1(folders, "again")
        assert orphan.wait(5) == -signal.SIGKILL
    assert isinstance(again, Version1)
    until(again.close, what="they are removed")
    final = open_v1(folders, "final")
    assert isinstance(final, Version1)
    until(final.close, what="they are removed")
    assert not [path for name in ("memory", "pids") for path in folders[name].glob(f"taskq-{ended.pid}-*")]


def test_there_is_no_group_before_the_first_run_with_limits(v1: Version1, puppet: Puppet) -> None:
    folders = [folder for name, folder in places.look()[1].items() if name in v1.enforces]
    name = f"taskq-{os.getpid()}-test"
    assert not [folder for folder in folders if (folder / name).exists()]
    v1.cell(puppet.pid)
    assert all((folder / name / str(puppet.pid)).is_dir() for folder in folders)


def test_without_its_controllers_or_rights_it_says_so(tmp_path: Path) -> None:
    assert open_v1({}, "w") == "version 1 has no controller for memory and pids here"
    (tmp_path / "cgroup.procs").write_text("")
    (tmp_path / "cgroup.procs").chmod(0o400)
    made = open_v1({"memory": tmp_path / "gone", "pids": tmp_path}, "w")
    assert made == f"version 1: {tmp_path / 'gone'} is not writable"
