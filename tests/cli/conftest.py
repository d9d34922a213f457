"""The command line in this process, on the embedded server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskq.cli.group import taskq
from taskq.producer import Client
from taskq.registry.settings import Settings


class Shell:
    """Runs commands with the settings of the test in their environment."""

    def __init__(self, settings: Settings) -> None:
        self.environ = {"TASKQ_REDIS_URL": settings.redis_url, "COLUMNS": "100"}

    def __call__(self, *words: str, code: int = 0, stdin: str | None = None) -> Result:
        """Run a command and check its exit code."""
        result = CliRunner().invoke(taskq, list(words), env=self.environ, input=stdin, prog_name="taskq")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{words} exited {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        """The one document that a command prints with ``--json``."""
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def shell(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(settings)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings=settings) as made:
        yield made
