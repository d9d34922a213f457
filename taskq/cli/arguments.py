"""Types of arguments: names with completion from the server, durations, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from taskq.cli.options import Options
from taskq.cli.session import Session, session
from taskq.registry.authoring.duration import seconds
from taskq.registry.authoring.size import octets
from taskq.registry.errors import InvalidInput, TaskqError
from taskq.registry.names import check

_OFFERED = 500
_LATEST = 50
_SHOWN = 100
_PATIENCE = 0.5  # completion must not keep a shell waiting


class Name(click.ParamType[str]):
    """A name by the grammar of `taskq.registry.names`, completed from the server where that is near."""

    def __init__(self, kind: str, offers: Callable[[Session, str], list[str]]) -> None:
        self.name = kind
        self._offers = offers

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; fails with what is allowed."""
        try:
            return check(self.name, value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        """Names that begin so; none where the server does not answer at once."""
        try:
            with session(ctx.ensure_object(Options), connect_timeout=_PATIENCE, socket_timeout=_PATIENCE) as opened:
                return [CompletionItem(name) for name in self._offers(opened, incomplete)[:_OFFERED]]
        except TaskqError:
            return []


def _tasks(opened: Session, incomplete: str) -> list[str]:
    names = sorted(name.decode() for name in opened.ask("HKEYS", opened.keys.registry))
    return [name for name in names if name.startswith(incomplete)]


def _runs(opened: Session, incomplete: str) -> list[str]:
    runs = [run.decode() for run in opened.ask("ZREVRANGE", opened.keys.runs, 0, _LATEST - 1)]
    return [run for run in runs if run.startswith(incomplete)]


def _workers(opened: Session, incomplete: str) -> list[str]:
    names = [name.decode() for name in opened.ask("ZRANGE", opened.keys.workers, 0, -1)]
    return [name for name in names if name.startswith(incomplete)]


class Seconds(click.ParamType[float]):
    """A duration: seconds, or text such as ``30s`` and ``1m30s``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what is allowed."""
        try:
            return seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Executors(click.ParamType[tuple[int, int]]):
    """How many executors: ``N``, or ``MIN:MAX``."""

    name = "executors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The least and the most; fails with what is allowed."""
        least, colon, most = str(value).partition(":")
        try:
            found = int(least), int(most if colon else least)
        except ValueError:
            found = (0, 0)
        if not 1 <= found[0] <= found[1]:
            self.fail(f"{value!r} is not a number from 1, or two as MIN:MAX", param, ctx)
        return found


class Size(click.ParamType[int]):
    """A size: bytes, or text such as ``256M``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; fails with what is allowed."""
        try:
            return octets(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


TASK = Name("task", _tasks)
RUN = Name("run", _runs)
WORKER = Name("worker", _workers)
SECONDS = Seconds()
SIZE = Size()
EXECUTORS = Executors()
VERSION = click.IntRange(min=1)


def split_params(words: tuple[str, ...]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """What ``k=v`` and ``k:=JSON`` words say: texts to be converted by the task's signature, and values as they are.

    Raises:
        InvalidInput: a word has neither form, JSON can't be read, or a name is given twice.
    """
    texts: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        exact = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            raise InvalidInput(f"{_brief(word)!r} is not a parameter", hint="write name=value, or name:=JSON")
        if name in values or name in dict(texts):
            raise InvalidInput(f"parameter {name} is given twice")
        if exact:
            values[name] = read_json(f"{name}:=", text)
        else:
            texts.append((name, text))
    return texts, values


def read_json(what: str, text: str) -> Any:
    """A JSON value from the command line; raises `InvalidInput` naming ``what``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{what}{_brief(text)}: not JSON: {error}", hint="text needs quotes: 'name:=\"text\"', or write name=text"
        ) from None


def read_object(what: str, text: str) -> dict[str, Any]:
    """A JSON object from the command line; raises `InvalidInput` naming ``what``."""
    value = read_json(f"{what} ", text)
    if not isinstance(value, dict):
        raise InvalidInput(f'{what} {_brief(text)}: must be a JSON object, such as \'{{"region": "eu"}}\'')
    return value


def _brief(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
