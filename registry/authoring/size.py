"""Sizes as people write them: ``"256M"``, ``"1.5G"``, ``"512K"``, ``"1GiB"``, ``1048576``."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:I?B)?|B)?", re.IGNORECASE)
_DIGITS = 40
_NO_SIZE = "is not a size: write bytes, or text like '512K', '256M', '1G'"

Size = int | str


def octets(value: object) -> int:
    """A size in bytes.

    Args:
        value: a number of bytes, or text of a number with a unit: K, M, G or T, each 1024 times the one before it (``KB`` and ``KiB``
            mean the same, as they do for docker and the kernel's control groups).

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value!r} {_NO_SIZE}")
        return value
    matched = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if matched is None or len(matched[1]) > _DIGITS:
        raise ValueError(f"{value!r:.100} {_NO_SIZE}")
    return int(float(matched[1]) * _UNITS[(matched[2] or "").upper()])


def written(size: int) -> str:
    """A size as text: the largest unit that it is a whole number of, such as ``256M``."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size} bytes"
