"""Budgets of size: modules, functions, classes, folders, complexity."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from architecture.tree import Tree

MODULE_LINES = 400
FUNCTION_LINES = 50
CLASS_METHODS = 20
COMPLEXITY = 10
FOLDER_MODULES = 12
EXCEPTIONS_SHARE = 0.02


def long_modules(tree: Tree) -> list[str]:
    """Modules above 400 lines."""
    return [
        f"{module.place}: {count} lines, {MODULE_LINES} are allowed"
        for module in tree
        if (count := len(module.text.splitlines())) > MODULE_LINES
    ]


def long_functions(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Functions above 50 lines that have no reason, and reasons that nothing needs any more.

    Args:
        tree: where to look.
        excused: ``module:function`` → why it may be longer; for at most 2 % of all functions.
    """
    total, found = 0, []
    for module in tree:
        for name, node in module.functions():
            total += 1
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES:
                found.append((f"{module.name}:{name}", count))
    faults = [f"{name}: {count} lines, {FUNCTION_LINES} are allowed" for name, count in found if not excused.get(name)]
    faults += [f"{name}: needs no exception any more" for name in excused if name not in dict(found)]
    if len(excused) > total * EXCEPTIONS_SHARE:
        faults.append(f"{len(excused)} exceptions among {total} functions: more than {EXCEPTIONS_SHARE:.0%}")
    return faults


def large_classes(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Classes with more than 20 methods, properties included, that have no reason; overloads of one method count once."""
    found = {}
    for module in tree:
        for node in module.classes():
            names = {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}
            if len(names) > CLASS_METHODS:
                found[f"{module.name}:{node.name}"] = len(names)
    faults = [f"{name}: {count} methods, {CLASS_METHODS} are allowed" for name, count in found.items() if not excused.get(name)]
    return faults + [f"{name}: needs no exception any more" for name in excused if name not in found]


def full_folders(tree: Tree) -> list[str]:
    """Folders with more than 12 modules, ``__init__`` not counted."""
    counts = Counter(module.folder for module in tree if not module.is_package)
    return [f"{folder}/: {count} modules, {FOLDER_MODULES} are allowed" for folder, count in counts.items() if count > FOLDER_MODULES]


def complex_functions(paths: list[Path]) -> list[str]:
    """Functions whose cyclomatic complexity is above 10, whatever a ``noqa`` says."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--ignore-noqa",
        "--select",
        "C901",
        "--output-format",
        "json",
    ]
    setting = ["--config", f"lint.mccabe.max-complexity={COMPLEXITY}"]
    done = subprocess.run([*command, *setting, *paths], check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return [f"{item['filename']}:{item['location']['row']}: {item['message']}" for item in json.loads(done.stdout)]
