"""Everything that was measured, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.peers import load
from benchmarks.report.figures import medians
from benchmarks.report.marks import marks
from benchmarks.runner import Done, Plan

FORMAT = 2


def document(done: Sequence[Done], plan: Plan, facts: dict[str, Any], versions: dict[str, str], command: str) -> dict[str, Any]:
    """Each measurement, the medians, and the marks."""
    found = medians(done)
    return {
        "format": FORMAT,
        "command": command,
        "taken_at": datetime.fromtimestamp(done[0].at, tz=UTC).isoformat(timespec="seconds"),
        "machine": facts,
        "versions": versions | {"server": done[0].server},
        "plan": {
            "peers": {peer: _peer(peer) for peer in plan.peers},
            "measures": list(plan.measures),
            "aof": list(plan.aof),
            "repeat": plan.repeat,
            "quick": plan.quick,
        },
        "medians": [
            {"aof": aof, "measure": measure, "peer": peer, "figures": {name: round(value, 4) for name, value in figures.items()}}
            for aof, by_key in found.items()
            for (measure, peer), figures in by_key.items()
        ],
        "marks": [{"aof": aof} | mark._asdict() for aof, by_key in found.items() for mark in marks(by_key)],
        "measurements": [one.document() for one in done],
    }


def _peer(name: str) -> dict[str, Any]:
    kind = load(name)
    return {"title": kind.title, "stores": kind.stores, "workers": {setup: way.text for setup, way in kind.setups.items()}}
