"""Which modules of its own folder a source file imports: a source artifact is one file and can't bring them along."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from taskq.registry.errors import InvalidInput


def local_imports(source: str, folder: Path) -> list[str]:
    """Names of the modules beside the file that it imports, anywhere in it, in order of their names.

    Relative imports always count. Absolute ones count where a file or package of that name stands in ``folder`` and the
    name is neither in the standard library nor installed. Imports under ``if TYPE_CHECKING:`` are never executed and
    don't count.

    Args:
        source: text of the file. ``folder``: where it stands.

    Raises:
        SyntaxError: it can't be parsed.
    """
    found: set[str] = set()
    for node in _executed(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            targets = [node.module] if node.module else [alias.name for alias in node.names]
            found.update("." * node.level + target for target in targets)
        elif isinstance(node, ast.ImportFrom):
            found.update(_local([node.module or ""], folder))
        elif isinstance(node, ast.Import):
            found.update(_local([alias.name for alias in node.names], folder))
    return sorted(found)


def refuse_local_imports(source: str, folder: Path, file: str) -> None:
    """Refuse a file that imports modules beside it.

    Raises:
        InvalidInput: it does; names them.
    """
    names = local_imports(source, folder)
    if names:
        raise InvalidInput(
            f"{file} imports local modules {', '.join(names)}: a source artifact is one file; "
            "move what it needs into the file or into an installed package"
        )


def _local(names: list[str], folder: Path) -> set[str]:
    tops = {name.split(".")[0] for name in names}
    return {top for top in tops if _beside(top, folder) and top not in sys.stdlib_module_names and not _installed(top)}


def _beside(name: str, folder: Path) -> bool:
    package = folder / name
    return (folder / f"{name}.py").is_file() or (package.is_dir() and any(package.glob("*.py")))


def _installed(name: str) -> bool:
    # The first entry of the path is the folder of the program or the working folder: what stands there is not installed.
    for finder in sys.meta_path:
        where = sys.path[1:] if finder is PathFinder else None
        find = getattr(finder, "find_spec", None)
        if find is not None and find(name, where) is not None:
            return True
    return False


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            for other in node.orelse:
                yield other
                yield from _executed(other)
            continue
        yield node
        yield from _executed(node)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"
