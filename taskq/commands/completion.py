"""``completion``: what makes the shell complete our commands, options, tasks and runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from taskq.cli import output
from taskq.cli.options import Options, command


@command(
    "completion",
    examples="""
    taskq completion bash >> ~/.bashrc
    taskq completion zsh  >> ~/.zshrc       # after compinit
    taskq completion fish  > ~/.config/fish/completions/taskq.fish
    source <(taskq completion bash)         # for this shell only
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, options: Options, *, shell: str) -> None:
    """Print the completion script for SHELL.

    It completes commands, options, and names of tasks and runs, which it asks the server for. Bash needs to be 4.4 or newer.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click has all three
    script = kind(ctx.find_root().command, {}, "taskq", "_TASKQ_COMPLETE").source()
    if options.json:
        output.document({"shell": shell, "script": script})
    else:
        click.echo(script)
