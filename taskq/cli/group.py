"""The command ``taskq``: the table of all commands, each imported when it is used."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import click

from taskq.cli.options import INTERRUPTED, common_options

Table = Mapping[str, Mapping[str, tuple[str, str]]]

# section → command → module of taskq.commands, one line of help.
TABLE: Table = {
    "On this machine": {
        "up": ("up", "Run everything on this machine: server and workers."),
        "dev": ("dev", "Run a task in this process, without a server."),
    },
    "Tasks and versions": {
        "register": ("register", "Register the tasks of files as one release."),
        "list": ("reading", "List the tasks."),
        "show": ("reading", "Show a task: route, spec, parameters."),
        "history": ("reading", "List a task's versions, newest first."),
        "source": ("reading", "Print the code of a version."),
        "diff": ("reading", "Compare two versions."),
        "audit": ("reading", "List who changed what, when and why."),
        "promote": ("routing", "Give a task's runs another version."),
        "rollback": ("routing", "Go back to an earlier version."),
        "rollout": ("routing", "Show which workers have applied a task's route."),
        "pause": ("routing", "Start no runs of a task for now."),
        "resume": ("routing", "Start a paused task's runs again."),
        "retire": ("routing", "Withdraw a task and cancel its runs that wait."),
    },
    "Runs": {
        "run": ("run", "Enqueue a run, now or for later; with --wait print its result."),
        "runs": ("runs", "List the latest runs."),
        "status": ("runs", "Show a run and its attempts."),
        "logs": ("runs", "Print what a run logged."),
        "cancel": ("runs", "Cancel runs that wait, or have their workers stop them."),
        "retry": ("runs", "Run failed or cancelled runs again."),
        "queues": ("fleet", "List the queues with their depth and workers."),
        "schedules": ("scheduler", "List the schedules: when they fire next, when they last did."),
    },
    "Fleet": {
        "worker": ("worker", "Run a worker."),
        "workers": ("fleet", "List the workers."),
        "drain": ("fleet", "Have a worker finish what it runs, and end."),
        "scheduler": ("scheduler", "Run a scheduler; further ones stand by."),
        "events": ("fleet", "Stream what happens, one event a line."),
        "doctor": ("doctor", "Check server and fleet, and say what to do."),
        "completion": ("completion", "Print the shell completion script."),
    },
}
_MODULES = {name: module for section in TABLE.values() for name, (module, _) in section.items()}


class LazyGroup(click.Group):
    """A group that knows its commands by `TABLE` and imports the module of the one that is used.

    A module holds the command ``name`` as ``<name>_command``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Names of all commands, in the order of the table."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """The command of that name, imported now; None if there is none."""
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        found = getattr(importlib.import_module(f"taskq.commands.{module}"), f"{cmd_name}_command")
        assert isinstance(found, click.Command)  # noqa: S101  # a fault of ours, found by the test of the table
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; Ctrl-C while a command's module is imported ends like one during the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, and an unknown command's message names the nearest ones."""
        name = args[0]
        if name not in _MODULES and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, _MODULES, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else " `taskq --help` lists the commands."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """The sections of the table, nothing imported."""
        width = max(len(name) for name in _MODULES)
        for title, section in TABLE.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in section.items()])


@click.group(
    cls=LazyGroup,
    params=list(common_options()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done · 1 failed · 2 usage · 3 not found · 4 conflict · 5 Redis unreachable · 6 refused",
)
@click.version_option(package_name="taskq-fleet", prog_name="taskq")
def taskq() -> None:
    """Tasks that are registered, changed, rolled out and rolled back while everything runs.

    Start with `taskq up`, then in a second terminal `taskq register FILE` and `taskq run TASK --wait`.
    """
