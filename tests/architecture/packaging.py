"""The list of packages, the Lua scripts, the tree of errors: what stands in two places has to agree."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from architecture.tree import Tree

_LISTED = re.compile(r"^[ │├└─]*(\w+) +(\d) / (\d{3}) ", re.MULTILINE)


def packages(tree: Tree, pyproject: str) -> list[str]:
    """Packages that are in the tree or in pyproject.toml, but not in both."""
    listed = set(tomllib.loads(pyproject)["tool"]["setuptools"]["packages"])
    there = {module.name for module in tree if module.is_package}
    orphans = {module.name for module in tree if not module.is_package and module.name.rpartition(".")[0] not in there}
    faults = [f"{name}: in the tree, not in pyproject.toml" for name in sorted(there - listed)]
    faults += [f"{name}: in pyproject.toml, not in the tree" for name in sorted(listed - there)]
    return faults + [f"{name}: its folder has no __init__.py" for name in sorted(orphans)]


def unused_scripts(tree: Tree, scripts: Mapping[str, str]) -> list[str]:
    """Lua scripts that no module loads (``load("name")``, ``server.call("name", …)``) and no script includes; includes that are missing.

    Args:
        tree: where they are loaded.
        scripts: name of the file without ``.lua`` → its text.
    """
    included = {name for text in scripts.values() for name in re.findall(r"^--!include (\w+)\.lua$", text, re.MULTILINE)}
    loaded = {
        str(node.args[0].value)
        for module in tree
        for node in ast.walk(module.ast)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("load", "call")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    faults = [f"{name}.lua: nothing loads or includes it" for name in sorted(set(scripts) - loaded - included)]
    return faults + [f"{name}.lua: included, and missing" for name in sorted(included - set(scripts))]


def headless_scripts(scripts: Mapping[str, str]) -> list[str]:
    """Scripts without the header that says KEYS, ARGV, what is returned and why it must be atomic; pieces need one line."""
    included = {name for text in scripts.values() for name in re.findall(r"^--!include (\w+)\.lua$", text, re.MULTILINE)}
    faults = []
    for name, text in scripts.items():
        body = text.split("\n", 1)[1] if text.startswith("#!") else text
        if name in included:
            wanted = ["-- "] if not body.startswith("-- ") else []
        else:
            wanted = [line for line in ("-- KEYS:", "-- ARGV:", "-- Returns:", "-- Atomic because:") if f"\n{line}" not in text]
            wanted += [] if body.startswith(f"-- {name}.lua: ") else [f"-- {name}.lua: what it does"]
        faults += [f"{name}.lua lacks: {line}" for line in wanted]
    return faults


def drawn_errors(text: str) -> dict[str, tuple[int, int]]:
    """Exit code and HTTP status of each class, as the tree at the top of errors.py draws them."""
    return {name: (int(code), int(status)) for name, code, status in _LISTED.findall(ast.get_docstring(ast.parse(text)) or "")}


def foreign_errors(tree: Tree, ours: frozenset[str], excused: Mapping[str, str]) -> list[str]:
    """Public exception classes outside of the tree of errors that have no reason. A private one stays in its module."""
    faults, found = [], set()
    for module in tree:
        for node in module.classes():
            bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
            raised = any(base.endswith(("Error", "Exception")) for base in bases) and not bases & ours
            name = f"{module.name}:{node.name}"
            if raised and not node.name.startswith("_") and node.name not in ours:
                found.add(name)
                if not excused.get(name):
                    faults.append(f"{name}: an exception of {', '.join(sorted(bases))}, not a TaskqError")
    return faults + [f"{name}: needs no exception any more" for name in excused if name not in found]


def read_scripts(folder: Path) -> dict[str, str]:
    """The Lua scripts of a folder by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.lua"))}
