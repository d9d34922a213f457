"""Checks what is in a built wheel: scripts/check_wheel.py FILE. Exit code 1 and a line for each fault.

A package that pyproject.toml forgets works in an editable install and is missing from the wheel; a script's text that no
`package-data` names, too.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"taskq": "taskq", "taskq/registry": "registry", "taskq/producer": "producer", "taskq/worker": "worker"}
KINDS = {".py", ".lua", ".typed"}


def expected(root: Path) -> set[str]:
    """Each file of the four rooms that has to be in the wheel, by its place there."""
    return {
        f"{place}/{path.relative_to(root / room).as_posix()}"
        for place, room in ROOMS.items()
        for path in (root / room).rglob("*")
        if path.is_file() and path.suffix in KINDS
    }


def faults(names: set[str], wanted: set[str]) -> list[str]:
    """What is wrong with a wheel that holds ``names``."""
    held = {name for name in names if not name.endswith("/") and ".dist-info/" not in name}
    lines = [f"missing from the wheel: {name}" for name in sorted(wanted - held)]
    lines += [f"must not be in the wheel: {name}" for name in sorted(held - wanted)]
    return lines + [f"the metadata lack {name}" for name in ("METADATA", "entry_points.txt", "licenses/LICENSE") if not ends(names, name)]


def ends(names: set[str], name: str) -> bool:
    """Whether the metadata folder holds ``name``."""
    return any(held.endswith(f".dist-info/{name}") for held in names)


def main() -> int:
    """Check the wheel that is named in the arguments."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        names = set(wheel.namelist())
    found = faults(names, expected(ROOT))
    print("\n".join(found) or f"  {Path(sys.argv[1]).name}: {len(names)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
