"""The bodies of run events; the script that writes one adds the ``id``."""

from __future__ import annotations

import json
from typing import Any, Literal

from taskq.registry import clock

RunEventType = Literal["queued", "started", "succeeded", "failed", "retrying", "cancelled", "lost"]


def run_event(kind: RunEventType, *, namespace: str, task: str, run: str, **data: Any) -> str:
    """A CloudEvents 1.0 document in JSON, without ``id``.

    Args:
        kind: last part of the type ``taskq.run.<kind>``.
        namespace: for ``source``. ``task``: the ``subject``.
        run: and ``data``: what the event's ``data`` holds (``version``, ``attempt``, ``status``, ``reason``, ``error``,
            ``cause``, ``revision`` as they apply); None is left out.
    """
    body = {"run": run} | {name: value for name, value in data.items() if value is not None}
    document = {
        "specversion": "1.0",
        "source": f"taskq/{namespace}",
        "type": f"taskq.run.{kind}",
        "subject": task,
        "time": clock.iso(clock.now()),
        "datacontenttype": "application/json",
        "data": body,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
