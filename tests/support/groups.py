"""A pretended tree of version 2: folders and files that keep the rules of the kernel which matter here."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import ClassVar

from taskq.worker.resources.group import Group

CORE = {"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.kill": "0", "cgroup.type": "domain\n"}
FILES = {
    "memory": {
        "memory.max": "max\n",
        "memory.swap.max": "max\n",
        "memory.current": "0\n",
        "memory.reclaim": "",
        "memory.stat": "anon 0\ninactive_file 0\nactive_file 0\n",
        "memory.events": "oom 0\noom_kill 0\n",
    },
    "pids": {"pids.max": "max\n", "pids.current": "0\n"},
    "cpu": {"cpu.max": "max 100000\n"},
}


class Pretended(Group):
    """No internal processes; no controller that the group above does not hand down; no group goes while one is in it."""

    broken: ClassVar[set[str]] = set()  # files that can't be written

    @classmethod
    def root(cls, folder: Path, controllers: str, *pids: int, kind: str = "domain\n") -> Path:
        """The group of this process, with processes in it; ``kind`` '' makes it the root of all groups."""
        folder.mkdir()
        group = cls(folder)
        group._fill(controllers.split())
        if not kind:
            (folder / "cgroup.type").unlink()
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return folder

    def _fill(self, controllers: list[str]) -> None:
        for name, text in CORE.items():
            (self.path / name).write_text(text)
        self.offer(controllers)

    def make(self) -> None:
        if not self.path.exists():
            super().make()
            self._fill((self.path.parent / "cgroup.subtree_control").read_text().split())

    def write(self, name: str, value: int | str) -> None:
        if name in self.broken:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path / name))
        if name == "cgroup.subtree_control":
            self._hand_down(str(value).split())
        elif not self.has(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / name))
        else:
            (self.path / name).write_text(f"{value}\n")

    def _hand_down(self, changes: list[str]) -> None:
        if self.processes() and self.has("cgroup.type"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        handed = set(self.read("cgroup.subtree_control").split())
        for change in changes:
            if change[1:] not in self.read("cgroup.controllers").split():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if change[0] == "-" and any(change[1:] in group.read("cgroup.subtree_control").split() for group in self.groups()):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            handed = handed | {change[1:]} if change[0] == "+" else handed - {change[1:]}
        (self.path / "cgroup.subtree_control").write_text(" ".join(sorted(handed)))
        for group in self.groups():
            group.offer(sorted(handed))

    def offer(self, controllers: list[str]) -> None:
        """The group above hands these down now."""
        (self.path / "cgroup.controllers").write_text(" ".join(controllers))
        for controller, files in FILES.items():
            for name, text in files.items():
                if controller not in controllers:
                    (self.path / name).unlink(missing_ok=True)
                elif not self.has(name):
                    (self.path / name).write_text(text)

    def add(self, pid: int) -> None:
        if self.read("cgroup.subtree_control") and self.has("cgroup.type"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        top = self.path
        while (top.parent / "cgroup.procs").exists():
            top = top.parent
        for file in top.rglob("cgroup.procs"):
            left = [line for line in file.read_text().split() if line != str(pid)]
            file.write_text("".join(f"{line}\n" for line in left))
        with (self.path / "cgroup.procs").open("a") as out:
            out.write(f"{pid}\n")

    def remove(self) -> bool:
        if not self.path.exists():
            return True
        removed = [group.remove() for group in self.groups()]
        if not all(removed) or self.processes():
            return False
        shutil.rmtree(self.path)
        return True

    def layout(self) -> dict[str, list[int]]:
        """Each group below with its processes."""
        return {
            str(file.parent.relative_to(self.path)): sorted(map(int, file.read_text().split())) for file in self.path.rglob("cgroup.procs")
        }
