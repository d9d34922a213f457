"""`BenchError`: a measurement that can't be believed."""

from __future__ import annotations


class BenchError(Exception):
    """A check failed, or nothing moved any more; the message says what, for people."""
