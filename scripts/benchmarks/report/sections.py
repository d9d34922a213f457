"""Markdown goes into a file of its own, or into a section of one that is there: docs/performance.md is refreshed so."""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import BenchError


def put(target: Path, section: str | None, text: str) -> None:
    """Write it.

    Args:
        target: the file. ``section``: between its lines ``<!-- section: NAME -->`` and ``<!-- end: NAME -->``; None for all of it.

    Raises:
        BenchError: the file does not have the section; nothing is written then.
    """
    if section is None:
        target.write_text(text, encoding="utf-8")
        return
    before, after = _around(target, section)
    target.write_text(f"{before}\n{text.strip()}\n\n{after}", encoding="utf-8")


def check(target: Path, section: str | None) -> None:
    """Raise `BenchError` where `put` would, before minutes are spent."""
    if section is not None:
        _around(target, section)


def _around(target: Path, section: str) -> tuple[str, str]:
    """What stands before and after it, its two lines included."""
    begin, end = f"<!-- section: {section} -->\n", f"<!-- end: {section} -->\n"
    before, found, rest = (target.read_text(encoding="utf-8") if target.exists() else "").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise BenchError(f"{target} has no lines {begin.strip()} and {end.strip()}")
    return before + begin, end + after
