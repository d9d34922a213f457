"""`ask_worker`: has a worker inspect a file, in a throw-away executor of its own."""

from __future__ import annotations

import json
import secrets
from typing import Final

from taskq.registry import clock, codec
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import InspectionFailed
from taskq.registry.inspection.found import FoundTask, found_tasks
from taskq.registry.keys import Keys

# A request that nobody took is of no use for longer; a slice of waiting stays below the client's timeout for a reply.
_TTL: Final = 60
_SLICE: Final = 1


def ask_worker(keys: Keys, source: bytes, file: str, timeout: float) -> Op[list[FoundTask]]:
    """The tasks that a file declares, by the import of one of the live workers.

    Args:
        keys: of the namespace. ``source``: the file's bytes. ``file``: its name.
        timeout: how long to wait for the answer, in seconds.

    Raises:
        InspectionFailed: the import failed there, or no worker answered in time.
        DistributionMissing: the worker lacks the distribution as well.
        InvalidInput, Unsupported: a declaration is not allowed.
    """
    request = secrets.token_hex(8)
    blob = codec.dumps({"id": request, "source": source, "file": file})
    yield Pipeline(
        [
            Command("RPUSH", keys.inspections, blob),
            Command("EXPIRE", keys.inspections, _TTL),
            Command("PUBLISH", keys.control, json.dumps({"type": "inspect"})),
        ],
        atomic=True,
    )
    deadline = clock.monotonic() + timeout
    while clock.monotonic() < deadline:
        reply = yield Command("BLPOP", keys.inspection(request), _SLICE)
        if reply is not None:
            return found_tasks(codec.loads(reply[1]), file)
    yield Command("LREM", keys.inspections, 0, blob)
    raise InspectionFailed(f"{file}: no worker inspected it within {timeout:g} s", hint="see `taskq workers`")
