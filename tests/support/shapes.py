"""A task of Python's types. Tests have a worker run this very file, and a client build the same types."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from taskq.registry import task


class Color(enum.Enum):
    RED = "r"


@dataclass
class Point:
    x: Decimal
    at: datetime
    before: Point | None = None


class Row(BaseModel):
    number: UUID
    color: Color


Seen = tuple[Point, Row, Color, str, bytes, tuple[int, Decimal], Any]


@task
def shapes(point: Point, row: Row, color: Color, kind: Literal["a", "b"], raw: bytes, pair: tuple[int, Decimal], free: Any) -> Seen:
    assert isinstance(point, Point) and isinstance(point.before.at, datetime) and isinstance(row, Row), (point, row)
    assert isinstance(color, Color) and isinstance(raw, bytes) and isinstance(pair[1], Decimal), (color, raw, pair)
    return point, row, color, kind, raw, pair, free
