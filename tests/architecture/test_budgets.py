"""Sizes: the tree holds its budgets, and a tree that breaks one is found out."""

from __future__ import annotations

from pathlib import Path

from architecture import budgets, exceptions
from architecture.tree import ROOMS, ROOT, real, synthetic


def test_no_module_is_long() -> None:
    assert budgets.long_modules(real(*ROOMS, "examples", "scripts")) == []


def test_a_long_module_is_found() -> None:
    tree = synthetic({"registry/long.py": "x = 1\n" * 401, "registry/fits.py": "x = 1\n" * 400})
    assert budgets.long_modules(tree) == ["registry/long.py: 401 lines, 400 are allowed"]


def test_no_function_is_long_without_a_reason() -> None:
    assert budgets.long_functions(real(), exceptions.LONG_FUNCTIONS) == []
    assert budgets.long_functions(real("examples"), {}) == []


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


def test_a_long_function_is_found_and_a_reason_excuses_it() -> None:
    text = "class C:\n" + "".join(f"    {line}\n" for line in function("long", 51).splitlines()) + function("fits", 50)
    tree = synthetic({"worker/a.py": text + "".join(function(f"f{number}", 2) for number in range(100))})
    assert budgets.long_functions(tree, {}) == ["taskq.worker.a:C.long: 51 lines, 50 are allowed"]
    assert budgets.long_functions(tree, {"taskq.worker.a:C.long": "a table"}) == []


def test_reasons_are_few_and_needed() -> None:
    tree = synthetic({"worker/a.py": function("long", 51)})
    assert budgets.long_functions(tree, {"taskq.worker.a:long": "why"}) == ["1 exceptions among 1 functions: more than 2%"]
    assert "taskq.worker.a:gone: needs no exception any more" in budgets.long_functions(tree, {"taskq.worker.a:gone": "why"})


def test_no_class_is_large() -> None:
    assert budgets.large_classes(real(), exceptions.LARGE_CLASSES) == []


def test_a_large_class_is_found() -> None:
    def methods(count: int) -> str:
        return "class C:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(count)) + "    def m0(self): ...\n"

    tree = synthetic({"worker/a.py": methods(21), "worker/b.py": methods(20)})
    assert budgets.large_classes(tree, {}) == ["taskq.worker.a:C: 21 methods, 20 are allowed"]
    assert budgets.large_classes(tree, {"taskq.worker.a:C": "a table"}) == []
    assert budgets.large_classes(synthetic({}), {"taskq.worker.a:C": "a table"}) == ["taskq.worker.a:C: needs no exception any more"]


def test_no_folder_is_full() -> None:
    assert budgets.full_folders(real()) == []


def test_a_full_folder_is_found() -> None:
    places = {f"worker/pool/m{number}.py": "" for number in range(13)} | {f"worker/m{number}.py": "" for number in range(12)}
    assert budgets.full_folders(synthetic(places | {"worker/__init__.py": ""})) == ["worker/pool/: 13 modules, 12 are allowed"]


def test_no_function_is_complex() -> None:
    assert budgets.complex_functions([ROOT / folder for folder in (*ROOMS, "examples", "scripts")]) == []


def test_a_complex_function_is_found_even_where_it_is_hushed_up(tmp_path: Path) -> None:
    branches = "".join(f"    if x == {number}:\n        return {number}\n" for number in range(10))
    (tmp_path / "bad.py").write_text(f"def bad(x):  # noqa: C901\n{branches}")
    (tmp_path / "good.py").write_text(f"def good(x):\n{branches[: branches.rindex('    if')]}")
    (fault,) = budgets.complex_functions([tmp_path])
    assert "bad.py:1" in fault and "11 > 10" in fault
