"""Version 2 on a pretended tree: how the worker moves aside, what it writes, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.groups import Pretended

from taskq.registry.model.resources import Resources
from taskq.worker.resources import v2
from taskq.worker.resources.v2 import Version2, Version2Cell, open_v2

ALL = Resources(memory=256 << 20, pids=64, cpu=0.5)


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2, "Group", Pretended)
    monkeypatch.setattr(Pretended, "broken", set())


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def opened(folder: Path) -> Version2:
    made = open_v2(folder, "w1")
    assert isinstance(made, Version2), made
    return made


def cell_of(backend: Version2, folder: Path, pid: int) -> tuple[Version2Cell, Pretended]:
    return backend.cell(pid), Pretended(folder / f"taskq-{os.getpid()}-w1" / str(pid))


def test_the_worker_moves_aside_and_hands_the_controllers_down(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids cpu", os.getpid())
    backend = opened(own)
    name = f"taskq-{os.getpid()}-w1"

    backend.cell(child)
    assert Pretended(own).layout() == {".": [], name: [], f"{name}/supervisor": [os.getpid()], f"{name}/{child}": [child]}
    assert backend.enforces == ("memory", "pids", "cpu")
    assert backend.lacks == ""


def test_afterwards_everything_is_as_it_was(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids cpu", os.getpid())
    backend = opened(own)
    cell, group = cell_of(backend, own, child)
    os.kill(child, signal.SIGKILL)
    group.write("cgroup.procs", "")  # it has ended

    assert cell.remove()
    assert backend.close()
    assert Pretended(own).layout() == {".": [os.getpid()]}
    assert Pretended(own).read("cgroup.subtree_control") == ""


def test_the_root_of_all_groups_keeps_its_processes(tmp_path: Path) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", 1, os.getpid(), kind="")
    backend = opened(own)

    assert Pretended(own).layout()["."] == [1, os.getpid()]
    assert backend.enforces == ("memory", "pids")
    assert "cpu" in backend.lacks
    assert backend.close()


@pytest.mark.parametrize(
    ("controllers", "pids", "told"),
    [
        ("cpu pids", (), "no controller for memory"),
        ("", (), "no controller for memory and pids"),
        ("memory pids", (1, 2), "2 other processes"),
    ],
)
def test_where_it_can_not_work_it_says_why_and_changes_nothing(tmp_path: Path, controllers: str, pids: tuple[int, ...], told: str) -> None:
    own = Pretended.root(tmp_path / "own", controllers, os.getpid(), *pids)
    before = {path: path.read_text() for path in own.rglob("*")}

    assert told in str(open_v2(own, "w1"))
    assert {path: path.read_text() for path in own.rglob("*")} == before
    assert open_v2(None, "w1") == "version 2 is not mounted here"


def test_a_kernel_that_refuses_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    monkeypatch.setattr(Pretended, "_hand_down", lambda *_: (_ for _ in ()).throw(OSError(16, "Device or resource busy")))

    assert "Device or resource busy" in str(open_v2(own, "w1"))
    assert Pretended(own).layout() == {".": [os.getpid()]}


def test_a_delegated_group_above_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Pretended.root(tmp_path / "unit", "memory pids")
    Pretended(unit).below("main").make()
    Pretended(unit).below("main").add(os.getpid())
    monkeypatch.setattr(v2, "_is_delegated", lambda folder: folder == unit)

    backend = opened(unit / "main")
    assert (unit / f"taskq-{os.getpid()}-w1").is_dir()
    assert Pretended(unit).layout()["main"] == [os.getpid()]
    assert backend.close()


def test_limits_are_set_above_what_is_used_and_lifted_again(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids cpu", os.getpid())
    cell, group = cell_of(opened(own), own, child)
    group.write("memory.current", 50 << 20)
    group.write("memory.stat", f"anon 1\ninactive_file {20 << 20}\nactive_file {10 << 20}")
    group.write("pids.current", 3)

    cell.begin(ALL, pytest.fail)
    assert group.number("memory.max") == (20 << 20) + (256 << 20)
    assert group.number("memory.swap.max") == 0
    assert group.number("pids.max") == 67
    assert group.read("cpu.max").split() == ["50000", "100000"]

    cell.end()
    assert [group.read(name).split()[0] for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")] == ["max"] * 4


def test_files_in_the_cache_are_taken_back_before_a_limit_that_they_would_break(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    cell, group = cell_of(opened(own), own, child)
    group.write("memory.current", 1 << 30)
    group.write("memory.stat", f"inactive_file {(1 << 30) - (8 << 20)}\nactive_file 0")

    cell.begin(Resources(memory=64 << 20), pytest.fail)
    assert group.number("memory.reclaim") == (1 << 30) - (72 << 20)
    assert group.number("memory.max") == 1 << 30  # nothing was taken back: a lower limit would kill


def test_what_the_run_left_is_killed_and_nothing_else(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    cell, group = cell_of(opened(own), own, os.getppid())
    with (
        subprocess.Popen(["sleep", "60"]) as earlier,
        subprocess.Popen(["sleep", "60"]) as left,
    ):
        group.write("cgroup.procs", f"{os.getppid()}\n{earlier.pid}")
        cell.begin(ALL, pytest.fail)
        group.write("cgroup.procs", f"{os.getppid()}\n{earlier.pid}\n{left.pid}")
        cell.end()
        assert left.wait(5) == -signal.SIGKILL
        assert earlier.poll() is None
        earlier.kill()


def test_a_kill_by_the_kernel_since_the_run_began_is_a_breach(tmp_path: Path, child: int) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    cell, group = cell_of(opened(own), own, child)
    group.write("memory.events", "oom_kill 1")
    cell.begin(ALL, pytest.fail)
    assert cell.breach(-signal.SIGKILL) is None

    group.write("memory.events", "oom_kill 2")
    breach = cell.breach(-signal.SIGKILL)
    assert breach is not None
    assert breach.reason == "oom"
    assert "256M" in breach.error
    assert cell.breach(-signal.SIGSEGV) is None


def test_the_groups_of_dead_workers_are_removed_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    with subprocess.Popen(["true"]) as ended:
        pass
    for name in (f"taskq-{ended.pid}-w0", "taskq-1-w9", "other", f"taskq-{os.getpid()}-w1"):
        Pretended(own).below(name).make()
        Pretended(own).below(name).below("77").make()
    with subprocess.Popen(["sleep", "60"]) as orphan:
        Pretended(own).below(f"taskq-{ended.pid}-w0").below("77").write("cgroup.procs", orphan.pid)
        opened(own)
        assert orphan.wait(5) == -signal.SIGKILL

    left = {path.name for path in own.iterdir() if path.is_dir()}
    assert {"taskq-1-w9", "other", f"taskq-{os.getpid()}-w1"} <= left
    assert not (own / f"taskq-{os.getpid()}-w1" / "77").exists()
