"""Where this process stands among the control groups: read from /proc, decided by pure functions of its texts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A hierarchy of control groups in our file system.

    ``point``: where it is mounted; ``root``: which of its groups stands there; ``version``: 1 or 2; ``controllers``: those of a
    hierarchy of version 1.
    """

    point: Path
    root: str
    version: int
    controllers: frozenset[str] = frozenset()


def mounts_in(mountinfo: str) -> list[Mount]:
    """The hierarchies that a /proc/self/mountinfo names, in its order."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, point = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), text) for text in fields.split()[3:5])
        names = frozenset(options.split()[-1].split(",")) if kind == "cgroup" else frozenset()
        found.append(Mount(Path(point), root, 2 if kind == "cgroup2" else 1, names))
    return found


def groups_in(cgroup: str) -> dict[str, str]:
    """The groups that a /proc/self/cgroup names: controller → path; that of version 2 stands at ''."""
    found = {}
    for line in cgroup.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


def folder_of(mount: Mount, group: str) -> Path | None:
    """The folder of a group below a mount; None if that mount does not show it (it is of another namespace)."""
    inside = os.path.relpath(group, mount.root)
    return None if inside.split("/")[0] == ".." else mount.point / inside


def own_folders(mountinfo: str, cgroup: str) -> tuple[Path | None, dict[str, Path]]:
    """This process's folder of version 2, or None; and those of version 1 by controller."""
    unified: Path | None = None
    by_controller: dict[str, Path] = {}
    groups = groups_in(cgroup)
    for mount in mounts_in(mountinfo):
        for name in mount.controllers or ("",):
            if name not in groups or (folder := folder_of(mount, groups[name])) is None:
                continue
            if mount.version == 2:
                unified = unified or folder
            else:
                by_controller.setdefault(name, folder)
    return unified, by_controller


def look() -> tuple[Path | None, dict[str, Path]]:
    """`own_folders` of this process, as it is now; nothing where there is no /proc."""
    try:
        return own_folders(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError:
        return None, {}
