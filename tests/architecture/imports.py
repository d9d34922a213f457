"""Who imports whom: no cycle, no late import, one direction between the rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from architecture.tree import Module, Tree

# What each room may import of the others; the face may import all.
DIRECTION = {"taskq.registry": (), "taskq.producer": ("taskq.registry",), "taskq.worker": ("taskq.registry",)}
BARE = frozenset({"registry", "producer", "worker"})


@dataclass(frozen=True)
class Import:
    """One import: the module that is named, its line, whether it stands in a function, whether only type checkers see it."""

    target: str
    line: int
    late: bool
    types_only: bool


def imports_of(module: Module, tree: Tree) -> Iterator[Import]:
    """All imports of a module; of ours, the target is the module itself and not the name that is taken from it."""
    yield from _walk(module.ast, module, tree, late=False, types_only=False)


def _walk(node: ast.AST, module: Module, tree: Tree, *, late: bool, types_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        in_function = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = types_only or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        for target in _targets(child, module, tree):
            yield Import(target, getattr(child, "lineno", 0), late, types_only)
        yield from _walk(child, module, tree, late=in_function, types_only=typing)


def _targets(node: ast.AST, module: Module, tree: Tree) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _base(node, module)
        return [full if (full := f"{base}.{alias.name}") in tree.modules else base for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__") and node.args:
        first = node.args[0]
        return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else ["?"]
    return []


def _base(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    package = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
    return ".".join([*package, *([node.module] if node.module else [])])


def cycles(tree: Tree) -> list[str]:
    """Cycles of imports at import time; what only type checkers see does not count."""
    graph = {
        module.name: {
            found.target for found in imports_of(module, tree) if not (found.late or found.types_only) and found.target in tree.modules
        }
        - {module.name}
        for module in tree
    }
    found: dict[frozenset[str], str] = {}
    done: set[str] = set()
    for start in graph:
        path = _cycle(graph, start, [], done)
        found.setdefault(frozenset(path), " → ".join(path))
    return [line for line in found.values() if line]


def _cycle(graph: Mapping[str, set[str]], node: str, path: list[str], done: set[str]) -> list[str]:
    if node in path:
        return [*path[path.index(node) :], node]
    if node in done:
        return []
    for target in sorted(graph[node]):
        found = _cycle(graph, target, [*path, node], done)
        if found:
            return found
    done.add(node)
    return []


def late_imports(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Imports of our own modules inside functions, and imports of modules whose name is computed.

    Args:
        tree: where to look.
        excused: module → why it may import late.
    """
    faults, used = [], set()
    for module in tree:
        for found in imports_of(module, tree):
            if found.late and (found.target == "?" or found.target.split(".")[0] in tree.own):
                used.add(module.name)
                if not excused.get(module.name):
                    faults.append(f"{module.place}:{found.line}: imports {found.target} inside a function")
    return faults + [f"{name}: needs no exception any more" for name in excused if name not in used]


def against_direction(tree: Tree) -> list[str]:
    """Imports from a room that the importing room must not know; type checkers' imports count, too."""
    faults = []
    for module in tree:
        room = next((room for room in DIRECTION if (module.name + ".").startswith(room + ".")), None)
        if room is None:
            continue
        for found in imports_of(module, tree):
            ours = found.target.split(".")[0] in tree.own
            if ours and not any((found.target + ".").startswith(allowed + ".") for allowed in (room, *DIRECTION[room])):
                faults.append(f"{module.place}:{found.line}: {room} imports {found.target}")
    return faults


def bare_imports(tree: Tree) -> list[str]:
    """Imports of the rooms by their folders' names: these give other objects than ``taskq.…``; relative imports."""
    faults = []
    for module in tree:
        for node in ast.walk(module.ast):
            if isinstance(node, ast.ImportFrom) and node.level:
                faults.append(f"{module.place}:{node.lineno}: a relative import")
        faults += [
            f"{module.place}:{found.line}: imports {found.target}, not taskq.{found.target}"
            for found in imports_of(module, tree)
            if found.target.split(".")[0] in BARE
        ]
    return faults
