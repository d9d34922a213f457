"""The common options, and the class of all commands: help with examples, errors as messages and exit codes.

Only click is imported here, for the sake of ``taskq --help``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from taskq.registry.errors import TaskqError

INTERRUPTED = 130
COMMON = ("redis", "namespace", "json")


@dataclass(slots=True)
class Options:
    """The common options as they were given; None means not given."""

    redis: str | None = None
    namespace: str | None = None
    json: bool = False


class Failure(click.ClickException):
    """A `TaskqError` as click shows it: message and hint on stderr, and its exit code."""

    def __init__(self, error: TaskqError) -> None:
        super().__init__(str(error))
        self.error = error
        self.hint = error.hint

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click's is a plain attribute
        """The error's exit code."""
        return self.error.exit_code

    def show(self, file: Any = None) -> None:
        """Write message and hint; ``file`` is stderr if None."""
        click.secho("Error: ", fg="red", bold=True, nl=False, err=file is None, file=file)
        click.echo(self.message, err=file is None, file=file)
        if self.hint:
            click.secho(f"  → {self.hint}", fg="cyan", err=file is None, file=file)


class Command(click.Command):
    """A command with the common options, examples in its help, and one way from errors to exit codes."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        self.params.extend(common_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; `TaskqError` becomes `Failure`, Ctrl-C exit code 130."""
        try:
            return super().invoke(ctx)
        except TaskqError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first, the common ones in a section of their own."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                (common if param.name in COMMON else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, each on its own line as written."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    options = ctx.ensure_object(Options)
    if value and param.name:
        setattr(options, param.name, value)


def common_options() -> list[click.Option]:
    """Fresh ``--redis``, ``--namespace`` and ``--json``; they are accepted before and after the command, the last wins."""
    return [
        _common("--redis", metavar="URL", help="The server.  [$TASKQ_REDIS_URL, else `taskq up`'s]"),
        _common("--namespace", metavar="NS", help="Prefix of the keys.  [$TASKQ_NAMESPACE, else taskq]"),
        _common("--json", is_flag=True, help="JSON on stdout, and nothing else there."),
    ]


def _common(name: str, **attributes: Any) -> click.Option:
    return click.Option([name], callback=_store, expose_value=False, **attributes)


def command(name: str, *, examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Declare a function as the command ``name``; it receives `Options` first, then its own parameters by name.

    Args:
        name: as it is typed.
        examples: lines for its help.
    """

    def declare(function: Callable[..., Any]) -> Command:
        return click.command(name, cls=Command, examples=examples)(click.make_pass_decorator(Options, ensure=True)(function))

    return declare
