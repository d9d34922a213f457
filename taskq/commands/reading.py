"""``list``, ``show``, ``history``, ``source``, ``diff`` and ``audit``: read the registry."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.syntax import Syntax

from taskq.cli import output
from taskq.cli.arguments import TASK, VERSION
from taskq.cli.options import Options, command
from taskq.cli.session import session
from taskq.cli.tables import MANY, console, facts, table
from taskq.cli.words import ago, local, short

_DIFF_COLORS = {"+": "green", "-": "red", "@": "cyan"}
_DURATIONS = ("timeout", "grace", "result_ttl", "failure_ttl")
_OUTSIDE = ("parameters", "doc", "every", "cron", "at", "timezone", "misfire", "overlap")  # of a spec: shown on their own


@command(
    "list",
    examples="""
    taskq list
    taskq list --all
    taskq list --json | jq -r '.[].task'
    """,
)
@click.option("--all", "everything", is_flag=True, help=f"All tasks; people see the first {MANY} otherwise.")
def list_command(options: Options, *, everything: bool) -> None:
    """List the tasks."""
    with session(options) as opened:
        found = opened.registry.list()
    if options.json:
        output.document(found)
        return
    shown = found if everything else found[:MANY]
    rows = [
        (row["task"], row["state"], row["stable"], row["latest"], row["queue"], _schedules(row), row["origin"], row["revision"])
        for row in shown
    ]
    heads = "TASK! STATE STABLE> LATEST> QUEUE SCHEDULE ORIGIN REVISION>"
    table(heads, rows, empty="no tasks; `taskq register FILE` registers those of a file")
    if len(shown) < len(found):
        output.note(f"{len(shown)} of {len(found)}; --all shows all.")


@command(
    "show",
    examples="""
    taskq show sync_inventory
    taskq show sync_inventory --json
    """,
)
@click.argument("task", type=TASK)
def show_command(options: Options, *, task: str) -> None:
    """Show TASK: its route, spec and parameters."""
    with session(options) as opened:
        found = opened.registry.show(task)
    if options.json:
        output.document(found)
        return
    spec = found.get("spec") or {}
    facts(
        [
            ("task", found["task"]),
            ("state", found["state"]),
            ("stable", found["stable"]),
            ("staged", found.get("staged")),
            ("latest", found["latest"]),
            ("revision", found["revision"]),
            ("origin", found["origin"]),
            *_schedule_facts(found, spec),
            *((name, _setting(name, value)) for name, value in spec.items() if name not in _OUTSIDE),
            ("about", spec.get("doc") or None),
        ]
    )
    click.echo()
    _print_parameters(found.get("parameters") or {})


def _schedules(found: dict[str, Any]) -> str:
    return ", ".join(item["schedule"] for item in found["schedules"])


def _schedule_facts(found: dict[str, Any], spec: dict[str, Any]) -> list[tuple[str, object]]:
    if not found["schedules"]:
        return []
    return [("schedule", _schedules(found)), ("misfire", spec.get("misfire")), ("overlap", spec.get("overlap"))]


def _setting(name: str, value: Any) -> str | None:
    if name in _DURATIONS:
        return f"{value:g} s"
    if value in (None, {}, [], ()):
        return None
    return value if isinstance(value, str) else output.to_json(value)


def _print_parameters(schema: dict[str, Any]) -> None:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else output.to_json(field.get("default"))
        rows.append((name, _type_of(field), default, field.get("description")))
    table("PARAMETER! TYPE DEFAULT ABOUT~", rows, empty="no parameters")


def _type_of(field: dict[str, Any]) -> str:
    arms = field.get("anyOf") or field.get("oneOf")
    if arms:
        return " | ".join(dict.fromkeys(_type_of(arm) for arm in arms))
    if "enum" in field:
        return " | ".join(output.to_json(item) for item in field["enum"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    kind = str(field.get("type", "any"))
    if kind == "array" and isinstance(field.get("items"), dict):
        return f"array of {_type_of(field['items'])}"
    return f"{kind} ({field['format']})" if "format" in field else kind


@command("history", examples="taskq history sync_inventory")
@click.argument("task", type=TASK)
def history_command(options: Options, *, task: str) -> None:
    """List the versions of TASK, newest first."""
    with session(options) as opened:
        found = opened.registry.history(task)
    if options.json:
        output.document(found)
        return
    rows = [(row["version"], row["state"], short(row["digest"]), row["author"], ago(row["created_at"]), row["message"]) for row in found]
    table("VERSION> STATE DIGEST! AUTHOR CREATED MESSAGE~", rows, empty="no versions")


@command(
    "source",
    examples="""
    taskq source sync_inventory
    taskq source sync_inventory 3 > old.py
    """,
)
@click.argument("task", type=TASK)
@click.argument("version", type=VERSION, required=False)
def source_command(options: Options, *, task: str, version: int | None) -> None:
    """Print the code of TASK, of its stable version or of VERSION."""
    with session(options) as opened:
        if version is None:
            shown = opened.registry.show(task)
            version = shown["stable"] or shown["latest"]
        code = opened.registry.source(task, version)
    if options.json:
        output.document({"task": task, "version": version, "source": code})
    elif sys.stdout.isatty():
        console().print(Syntax(output.printable(code), "python", background_color="default", word_wrap=True))
    else:
        click.echo(code, nl=False)


@command("diff", examples="taskq diff sync_inventory 3 4")
@click.argument("task", type=TASK)
@click.argument("a", type=VERSION)
@click.argument("b", type=VERSION)
def diff_command(options: Options, *, task: str, a: int, b: int) -> None:
    """Compare the versions A and B of TASK: their code, then their spec."""
    with session(options) as opened:
        text = opened.registry.diff(task, a, b)
    if options.json:
        output.document({"task": task, "a": a, "b": b, "diff": text})
        return
    for line in text.splitlines():
        click.secho(output.printable(line), fg=_DIFF_COLORS.get(line[:1]))
    if not text:
        output.note(f"Versions {a} and {b} of {task} do not differ.")


@command(
    "audit",
    examples="""
    taskq audit
    taskq audit sync_inventory
    taskq audit --limit 1000 --json
    """,
)
@click.argument("task", type=TASK, required=False)
@click.option("--limit", type=click.IntRange(min=1), default=MANY, show_default=True, metavar="N", help="How many at most.")
def audit_command(options: Options, *, task: str | None, limit: int) -> None:
    """List who changed what, when and why, newest first; of one TASK if given."""
    with session(options) as opened:
        found = opened.registry.audit(task, limit)
    if options.json:
        output.document(found)
        return
    rows = [(row["revision"], local(row["at"]), row["who"], row["action"], _tasks(row), row["why"]) for row in found]
    table("REVISION> WHEN WHO CHANGE TASKS~ WHY~", rows, empty="nothing was changed yet")


def _tasks(row: dict[str, Any]) -> str:
    named = [f"{item['task']} {item['version']}" if item.get("version") else item["task"] for item in row["tasks"]]
    return ", ".join(named[:_FEW]) + (f" and {len(named) - _FEW} more" if len(named) > _FEW else "")


_FEW = 5
