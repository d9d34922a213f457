"""What stands in two places agrees: packages, Lua scripts, errors, the wheel's contents."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from architecture import exceptions, packaging
from architecture.tree import ROOT, real, synthetic
from taskq.registry import errors, scripts

SCRIPTS = packaging.read_scripts(ROOT / "registry/lua")


def all_errors() -> dict[str, type[errors.TaskqError]]:
    return {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.TaskqError)}


def test_pyproject_lists_each_package() -> None:
    assert packaging.packages(real(), (ROOT / "pyproject.toml").read_text()) == []


def test_a_forgotten_package_is_found() -> None:
    tree = synthetic({"registry/__init__.py": "", "registry/new/__init__.py": "", "worker/lost/a.py": ""})
    listed = '[tool.setuptools]\npackages = ["taskq.registry", "taskq.gone"]\n'
    assert packaging.packages(tree, listed) == [
        "taskq.registry.new: in the tree, not in pyproject.toml",
        "taskq.gone: in pyproject.toml, not in the tree",
        "taskq.worker.lost.a: its folder has no __init__.py",
    ]


def test_each_script_is_used() -> None:
    assert packaging.unused_scripts(real(), SCRIPTS) == []


def test_an_unused_script_is_found() -> None:
    tree = synthetic({"worker/a.py": "CLAIM = scripts.load('claim')"})
    found = packaging.unused_scripts(tree, {"claim": "--!include time.lua\n--!include gone.lua", "time": "", "idle": ""})
    assert found == ["idle.lua: nothing loads or includes it", "gone.lua: included, and missing"]


def test_each_script_says_what_it_takes_and_why_it_is_atomic() -> None:
    assert packaging.headless_scripts(SCRIPTS) == []
    for name in SCRIPTS:
        if not any(f"--!include {name}.lua" in text for text in SCRIPTS.values()):
            assert "--!include" not in scripts.load(name).text


def test_a_script_without_a_header_is_found() -> None:
    head = "-- good.lua: does\n-- KEYS: none\n-- ARGV: none\n-- Returns: 1\n-- Atomic because: it is\n"
    good = f"#!lua flags=allow-oom\n{head}--!include piece.lua\n"
    bad = good.replace("-- ARGV: none\n", "").replace("-- good.lua", "-- gut.lua")
    assert packaging.headless_scripts({"good": good, "piece": "-- a piece"}) == []
    assert packaging.headless_scripts({"good": bad, "piece": "local x"}) == [
        "good.lua lacks: -- ARGV:",
        "good.lua lacks: -- good.lua: what it does",
        "piece.lua lacks: -- ",
    ]


def test_each_error_has_an_exit_code_and_a_status_as_the_tree_draws_them() -> None:
    drawn = packaging.drawn_errors((ROOT / "registry/errors.py").read_text())
    assert drawn == {name: (error.exit_code, error.http_status) for name, error in all_errors().items()}
    for name, error in all_errors().items():
        assert 1 <= error.exit_code <= 6 and 400 <= error.http_status < 600, name
        assert error().message == (error.__doc__ or "").strip() != "", name


def test_the_drawn_tree_is_read() -> None:
    text = '"""Errors.\n\n    Base    1 / 500   failed\n    ├── Child   2 / 422   bad\n    │   └── Leaf  2 / 404  worse\n"""\n'
    assert packaging.drawn_errors(text) == {"Base": (1, 500), "Child": (2, 422), "Leaf": (2, 404)}


def test_what_is_raised_for_users_is_one_of_our_errors() -> None:
    assert packaging.foreign_errors(real(), frozenset(all_errors()), exceptions.FOREIGN_ERRORS) == []


def test_an_error_outside_of_the_tree_is_found() -> None:
    tree = synthetic({"worker/a.py": "class Broken(ValueError): ...\nclass _Inner(Exception): ...\nclass Fine(errors.Conflict): ...\n"})
    assert packaging.foreign_errors(tree, frozenset(all_errors()), {}) == [
        "taskq.worker.a:Broken: an exception of ValueError, not a TaskqError"
    ]
    assert packaging.foreign_errors(tree, frozenset(all_errors()), {"taskq.worker.a:Broken": "why"}) == []


@pytest.fixture(scope="module")
def check_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("taskq_check_wheel", ROOT / "scripts/check_wheel.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_wheel_that_lacks_or_adds_a_file_is_found(check_wheel: ModuleType) -> None:
    wanted = check_wheel.expected(ROOT)
    assert {"taskq/py.typed", "taskq/__init__.py", "taskq/registry/lua/claim.lua", "taskq/worker/executor/__main__.py"} <= wanted
    meta = {f"taskq_fleet-1.dist-info/{name}" for name in ("METADATA", "entry_points.txt", "licenses/LICENSE", "RECORD")}
    assert check_wheel.faults(wanted | meta, wanted) == []
    assert check_wheel.faults((wanted | meta | {"tests/test_a.py"}) - {"taskq/registry/lua/claim.lua"}, wanted) == [
        "missing from the wheel: taskq/registry/lua/claim.lua",
        "must not be in the wheel: tests/test_a.py",
    ]
    assert check_wheel.faults(wanted, wanted)[0] == "the metadata lack METADATA"
