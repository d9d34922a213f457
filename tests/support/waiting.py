"""Waits on conditions, never on time alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """The first truthy value of ``predicate``, asked again and again until ``timeout`` seconds have passed.

    Raises:
        AssertionError: it never was truthy; names ``what`` was waited for and the last value.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}; last value {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
