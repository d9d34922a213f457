"""Who imports whom, and that a tree which breaks the rule is found out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from architecture import exceptions, imports
from architecture.tree import real, synthetic

HEAVY = {"redis", "rq", "pydantic", "pydantic_core", "hiredis", "click", "rich", "jsonschema_rs", "psutil", "asyncio"}


def test_there_is_no_cycle() -> None:
    assert imports.cycles(real()) == []


def test_a_cycle_is_found() -> None:
    tree = synthetic(
        {
            "registry/__init__.py": "",
            "registry/a.py": "from taskq.registry import b",
            "registry/b.py": "import taskq.registry.c",
            "registry/c.py": "from taskq.registry.a import x",
        }
    )
    assert imports.cycles(tree) == ["taskq.registry.a → taskq.registry.b → taskq.registry.c → taskq.registry.a"]


def test_a_cycle_through_a_package_is_found() -> None:
    tree = synthetic({"registry/__init__.py": "from taskq.registry.a import x", "registry/a.py": "from taskq.registry import y"})
    assert imports.cycles(tree) == ["taskq.registry → taskq.registry.a → taskq.registry"]


def test_what_only_type_checkers_see_is_no_cycle() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from taskq.registry.a import x\n"
    assert imports.cycles(synthetic({"registry/a.py": "import taskq.registry.b", "registry/b.py": text})) == []


def test_nothing_of_ours_is_imported_late_without_a_reason() -> None:
    assert imports.late_imports(real(), exceptions.LATE_IMPORTS) == []


@pytest.mark.parametrize(
    "statement",
    [
        "from taskq.registry import b",
        "import taskq.registry.b",
        "importlib.import_module('taskq.registry.b')",
        "import_module(name)",
        "__import__('taskq.registry.b')",
        "(lambda: importlib.import_module('taskq.registry.b'))()",
    ],
)
def test_a_late_import_is_found(statement: str) -> None:
    tree = synthetic({"registry/a.py": f"def f(name):\n    if name:\n        {statement}\n", "registry/b.py": ""})
    (fault,) = imports.late_imports(tree, {})
    assert fault.startswith("registry/a.py:3: imports ")
    assert imports.late_imports(tree, {"taskq.registry.a": "why"}) == []


def test_a_late_import_of_somebody_elses_is_none() -> None:
    tree = synthetic({"registry/a.py": "def f():\n    import json\n    from click import echo\n"})
    assert imports.late_imports(tree, {}) == []
    assert imports.late_imports(tree, {"taskq.registry.a": "why"}) == ["taskq.registry.a: needs no exception any more"]


def test_the_rooms_know_only_what_they_may() -> None:
    assert imports.against_direction(real()) == []


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("registry/a.py", "from taskq.producer import client"),
        ("registry/a.py", "import taskq"),
        ("registry/a.py", "from taskq import task"),
        ("registry/a.py", "if TYPE_CHECKING:\n    import taskq.worker.pool"),
        ("producer/a.py", "import taskq.worker"),
        ("worker/a/b.py", "def f():\n    from taskq.producer.client import Client"),
        ("worker/a.py", "from taskq.cli import output"),
    ],
)
def test_an_import_against_the_direction_is_found(place: str, statement: str) -> None:
    assert len(imports.against_direction(synthetic({place: statement}))) == 1


def test_the_face_may_import_all() -> None:
    text = "import taskq.registry, taskq.producer, taskq.worker"
    assert imports.against_direction(synthetic({"taskq/commands/a.py": text, "producer/a.py": "import taskq.registry.keys"})) == []


def test_no_room_is_imported_by_its_folders_name() -> None:
    assert imports.bare_imports(real()) == []
    assert imports.bare_imports(real("examples", "scripts")) == []
    assert [fault for fault in imports.bare_imports(real("tests")) if "relative" not in fault] == []


@pytest.mark.parametrize("statement", ["import registry", "from worker.pool import x", "import producer.client", "from . import keys"])
def test_a_bare_or_relative_import_is_found(statement: str) -> None:
    assert len(imports.bare_imports(synthetic({"registry/a.py": statement}))) == 1


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh process has after ``statement``."""
    command = [sys.executable, "-c", f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"]
    return set(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@pytest.mark.process
def test_an_executor_starts_without_what_costs_memory() -> None:
    found = imported_by("import taskq.worker.executor.__main__")
    assert {name.split(".")[0] for name in found} & HEAVY == set()
    assert [name for name in found if name.startswith(("taskq.producer", "taskq.cli", "taskq.commands", "taskq.registry.model"))] == []


@pytest.mark.process
@pytest.mark.parametrize("statement", ["import taskq", "import taskq.registry", "import taskq.producer", "import taskq.worker"])
def test_the_faces_are_lazy(statement: str) -> None:
    assert {name.split(".")[0] for name in imported_by(statement)} & HEAVY == set()


@pytest.mark.process
def test_a_module_that_is_not_lazy_would_be_seen() -> None:
    assert {"redis", "pydantic"} <= {name.split(".")[0] for name in imported_by("import taskq.producer.client")}
