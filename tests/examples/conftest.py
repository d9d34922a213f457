"""The examples as modules: loaded from their files, as a worker does. Their runs are the business of `taskq.testing`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example() -> Iterator[Callable[[str], ModuleType]]:
    """Loads an example by its name, afresh for each test."""
    names = []

    def load(name: str) -> ModuleType:
        full = f"taskq_example_{name}"
        spec = importlib.util.spec_from_file_location(full, EXAMPLES / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        names.append(full)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        sys.modules.pop(name, None)
