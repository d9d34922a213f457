"""What only one module may do: spell keys, read the environment, ask a clock; and that an exception gives its reason."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from io import StringIO

from architecture.tree import Module, Tree

KEYS = "taskq.registry.keys"
SETTINGS = "taskq.registry.settings"
CLOCK = "taskq.registry.clock"

SHORTEST_REASON = 8

ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"})
CLOCKS = frozenset(
    {f"time.{name}{unit}" for name in ("time", "monotonic") for unit in ("", "_ns")}
    | {f"{prefix}{call}" for prefix in ("", "datetime.") for call in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")}
)


RQ_FAMILIES = frozenset({"wip", "finished", "failed", "canceled", "deferred", "scheduled", "execution", "executions", "intermediate"})


def key_families(tree: Tree) -> frozenset[str]:
    """The second parts of our keys and RQ's (``registry``, ``job`` …), as the module of keys spells them."""
    spelt = (
        match.group(1)
        for node in ast.walk(tree.modules[KEYS].ast)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := re.match(r":(\w+)(?::|$)", node.value))
    )
    return RQ_FAMILIES.union(spelt)


def spelt_keys(tree: Tree, excused: Mapping[str, str], families: frozenset[str]) -> list[str]:
    """Texts that spell a key: ``taskq:…``, ``rq:…`` or ``:family:…`` behind a prefix. Docstrings don't count."""
    spelt = re.compile(rf"(?:taskq|rq):(?!//)\S*\Z|:(?:{'|'.join(sorted(families))})(?::\S*)?\Z")
    return _monopoly(tree, KEYS, excused, lambda module: _texts(module, spelt))


def _texts(module: Module, spelt: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.ast):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in module.docstrings and spelt.match(node.value):
            yield node.lineno, f"spells the key {node.value!r}"


def environment_reads(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Uses of the environment outside of the settings."""
    return _monopoly(tree, SETTINGS, excused, lambda module: _uses(module, ENVIRONMENT))


def clock_reads(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Questions to a clock outside of the clock."""
    return _monopoly(tree, CLOCK, excused, lambda module: _uses(module, CLOCKS))


def _uses(module: Module, names: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Where a module uses one of ``names``, as an attribute or imported by name."""
    for node in ast.walk(module.ast):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
            yield node.lineno, f"uses {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in names:
                    yield node.lineno, f"imports {node.module}.{alias.name}"


def _monopoly(tree: Tree, owner: str, excused: Mapping[str, str], find: Callable[[Module], Iterator[tuple[int, str]]]) -> list[str]:
    faults, used = [], set()
    for module in tree:
        for line, what in find(module) if module.name != owner else ():
            used.add(module.name)
            if not excused.get(module.name):
                faults.append(f"{module.place}:{line}: {what}; only {owner} does")
    return faults + [f"{name}: needs no exception any more" for name in excused if name not in used]


def silent_exceptions(tree: Tree) -> list[str]:
    """``noqa`` and ``type: ignore`` without a code, or without a reason on the same line."""
    whole = re.compile(r"#\s*(?:noqa:\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\])")
    faults = []
    for module in tree:
        for token in tokenize.generate_tokens(StringIO(module.text).readline):
            if token.type != tokenize.COMMENT or not re.search(r"#\s*(?:noqa|type:\s*ignore)", token.string):
                continue
            if len(whole.sub("", token.string).strip(" #-:;,()")) < SHORTEST_REASON or not whole.search(token.string):
                faults.append(f"{module.place}:{token.start[0]}: {token.string} gives no reason")
    return faults


def sleeping_tests(tree: Tree, excused: Mapping[str, str]) -> list[str]:
    """Calls of ``sleep`` in tests, other than ``sleep(0)``; text that a test gives to a process does not count."""

    def calls(module: Module) -> Iterator[tuple[int, str]]:
        for node in ast.walk(module.ast):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep" and ast.unparse(node.args[0]) != "0":
                yield node.lineno, f"calls {ast.unparse(node)}"

    return _monopoly(tree, "tests.support.waiting", excused, calls)
