"""The other end of `benchmarks.peers.conversation`: answers a line of JSON for each line of JSON.

A request is ``{"call": METHOD, "args": […]}``, its answer ``{"value": …}`` or ``{"error": TEXT}``; the first line says that it is ready.
The methods are those of `Producer`. What the library writes on stdout goes to stderr, so that it can't get between the lines.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any

from benchmarks.clients.producer import Producer

CALLS = ("calls", "many", "sample", "values")


def main(argv: Sequence[str]) -> None:
    """Make the producer of the module ``NAME``, and serve it until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    name, url = argv
    producer: Producer = importlib.import_module(name if "." in name else f"benchmarks.clients.{name}").CLIENT(url)
    _say(answers, {"value": "ready"})
    try:
        serve(producer, sys.stdin, answers)
    finally:
        producer.close()


def serve(producer: Producer, requests: IO[str], answers: IO[str]) -> None:
    """Answer each request of a stream, until it ends."""
    for line in requests:
        _say(answers, answer(producer, line))


def answer(producer: Producer, line: str) -> dict[str, Any]:
    """Do what a request asks for."""
    try:
        request = json.loads(line)
        if request["call"] not in CALLS:
            return {"error": f"there is no call {request['call']!r}; there are {', '.join(CALLS)}"}
        return {"value": getattr(producer, request["call"])(*request["args"])}
    except Exception:  # noqa: BLE001  # any fault of a library is the measurement's, and told there
        return {"error": traceback.format_exc()}


def _say(answers: IO[str], document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()
