"""`declares_tasks`: whether a file of a folder is worth an inspection."""

from __future__ import annotations

import ast


def declares_tasks(source: bytes) -> bool:
    """Whether a file seems to declare a task: it imports from taskq, and decorates or derives by what it imported.

    A file that can't be parsed counts if it speaks of taskq: its inspection then says what is wrong with it.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return b"taskq" in source
    names = _imported(tree)
    return any(_head(used) in names for node in ast.walk(tree) for used in _uses(node))


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "taskq" and not node.level:
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names if alias.name.split(".")[0] == "taskq")
    return names


def _uses(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.decorator_list
    if isinstance(node, ast.ClassDef):
        return node.bases
    return []


def _head(node: ast.expr) -> str:
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        else:
            return ""
    return node.id
