"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("taskq", "producer", "worker", "registry")
NAMED = re.compile(r"`([\w./-]+\.(?:py|lua))`")


def missing(text: str, root: Path) -> list[str]:
    """Files that a text names in backticks and that are not in the tree.

    A path counts from the root; a shorter one, as a walk through a package uses, may end any path of a room.
    """
    files = [path.relative_to(root).as_posix() for room in (*ROOMS, "tests", "scripts", "examples") for path in (root / room).rglob("*.*")]
    named = dict.fromkeys(NAMED.findall(text))
    return [name for name in named if not any(file == name or file.endswith(f"/{name}") for file in files) and name != "hello.py"]


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "examples/README.md"])
def test_each_file_that_a_document_names_exists(document: str) -> None:
    assert missing((ROOT / document).read_text(), ROOT) == []


def test_a_name_that_is_not_in_the_tree_is_found(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "there.py").touch()
    assert missing("`worker/there.py` `there.py` `gone.py` `worker/gone.lua`", tmp_path) == ["gone.py", "worker/gone.lua"]


def test_the_architecture_is_no_longer_than_can_be_read() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 300
