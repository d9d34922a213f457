"""Where a process stands among the control groups, from the texts of /proc."""

from __future__ import annotations

from pathlib import Path

from taskq.worker.resources.places import look, own_folders

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""


def test_each_controller_of_version_1_has_its_own_place() -> None:
    unified, found = own_folders(HYBRID, "4:memory:/a/b\n2:cpu,cpuacct:/\n9:name=systemd:/s\n0::/u\n")

    assert unified == Path("/sys/fs/cgroup/unified/u")
    assert found["memory"] == Path("/sys/fs/cgroup/memory/a/b")
    assert found["cpu"] == found["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert "pids" not in found


def test_a_container_sees_its_own_group_as_the_root_of_the_mount() -> None:
    namespaced = "600 590 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n"
    assert own_folders(namespaced, "0::/\n") == (Path("/sys/fs/cgroup"), {})

    host = "35 31 0:32 /docker/c0ffee /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert own_folders(host, "4:memory:/docker/c0ffee\n") == (None, {"memory": Path("/sys/fs/cgroup/memory")})


def test_a_mount_that_does_not_show_our_group_is_of_no_use() -> None:
    foreign = "600 590 0:26 /../../system.slice /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    assert own_folders(foreign, "0::/\n") == (None, {})
    other = "35 31 0:32 /docker/c0ffee /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert own_folders(other, "4:memory:/docker/c0ffee2\n") == (None, {})


def test_blanks_in_a_mount_point_are_read() -> None:
    odd = r"35 31 0:32 / /mnt/my\040groups rw - cgroup2 cgroup rw" + "\n"
    assert own_folders(odd, "0::/x\n")[0] == Path("/mnt/my groups/x")


def test_what_is_found_of_this_process_is_there() -> None:
    unified, found = look()
    assert all(path.is_dir() for path in [*found.values(), *([unified] if unified else [])])
