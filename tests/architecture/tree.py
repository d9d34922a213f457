"""The source tree as the checks see it: parsed modules under the names they are installed as.

A check is a function from a `Tree` to a list of faults, each a line for people. `synthetic` makes a small tree of texts,
so that each check is shown to find what it is there to find.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"taskq": "taskq", "registry": "taskq.registry", "producer": "taskq.producer", "worker": "taskq.worker"}


@dataclass(frozen=True)
class Module:
    """One module: its dotted name as installed, its place in the repository, its text."""

    name: str
    place: str
    text: str

    @cached_property
    def ast(self) -> ast.Module:
        return ast.parse(self.text, self.place)

    @cached_property
    def is_package(self) -> bool:
        return self.place.endswith("__init__.py")

    @property
    def folder(self) -> str:
        return self.place.rpartition("/")[0]

    @cached_property
    def docstrings(self) -> frozenset[int]:
        """Identities of the constants that are docstrings."""
        return frozenset(
            id(node.body[0].value)
            for node in ast.walk(self.ast)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        )

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Each function and method with its qualified name."""
        yield from _functions(self.ast, "")

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.ast) if isinstance(node, ast.ClassDef))


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _functions(child, f"{prefix}{child.name}." if named else prefix)  # type: ignore[attr-defined]  # it is named


@dataclass(frozen=True)
class Tree:
    """Modules by name."""

    modules: Mapping[str, Module]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules.values())

    @cached_property
    def own(self) -> frozenset[str]:
        """First parts of the names that are ours."""
        return frozenset(name.split(".", 1)[0] for name in self.modules)


def real(*folders: str) -> Tree:
    """The repository's rooms (all four unless named), and other folders by their own names."""
    modules = {}
    for folder in folders or tuple(ROOMS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            name = ".".join((ROOMS.get(folder, folder), *path.relative_to(ROOT / folder).with_suffix("").parts)).removesuffix(".__init__")
            modules[name] = Module(name, place, path.read_text(encoding="utf-8"))
    return Tree(modules)


def synthetic(texts: Mapping[str, str]) -> Tree:
    """A tree of ``{place: text}``, for example ``{"registry/__init__.py": "", "worker/pool.py": "import os"}``."""
    modules = {}
    for place, text in texts.items():
        folder, _, rest = place.partition("/")
        name = f"{ROOMS.get(folder, folder)}.{rest.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
        modules[name] = Module(name, place, text)
    return Tree(modules)
