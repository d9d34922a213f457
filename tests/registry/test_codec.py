"""Stored values: what goes in comes out, what can't be read again is refused, and which releases can read it."""

from __future__ import annotations

import enum
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, HttpUrl

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown, InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("UTC")])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.datetimes(),
    st.datetimes(timezones=OFFSETS | ZONES),
    st.dates(),
    st.times(),
    st.times(timezones=OFFSETS),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9), st.tuples(st.integers(0, 9), st.integers(0, 9)), st.uuids()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def again(value: Any) -> Any:
    return codec.loads(codec.dumps(value))


def told(value: Any) -> Any:
    """A value with all that equality of Python passes over: types, zones, the digits of a decimal."""
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    if isinstance(value, list):
        return [told(item) for item in value]
    if isinstance(value, datetime | time):
        return value.isoformat(), getattr(value.tzinfo, "key", None)
    return type(value), repr(value)


@given(VALUES)
def test_each_value_comes_back_as_it_was(value: Any) -> None:
    assert told(again(value)) == told(value)


def test_a_time_keeps_its_zone_also_in_the_hour_that_a_change_repeats() -> None:
    for fold in (0, 1):
        there = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        back = again(there)
        assert back.tzinfo is BERLIN
        assert back.utcoffset() == there.utcoffset()
    assert again(time(7, tzinfo=BERLIN)) == time(7, tzinfo=BERLIN)


def test_a_time_of_a_zone_that_is_unknown_here_keeps_its_offset() -> None:
    blob = bytes((codec.MAGIC, codec.EXTENDED)) + msgpack.packb(msgpack.ExtType(1, b"2026-07-01T12:00:00+05:30[Atlantis/Capital]"))
    assert codec.loads(blob) == datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))


class Color(enum.Enum):
    RED = "r"


class Price(enum.Enum):
    LOW = Decimal("1.50")


@dataclass
class Point:
    x: int
    at: datetime
    before: Point | None = None


class Pair(NamedTuple):
    a: int
    b: int


class Row(BaseModel):
    amount: Decimal
    tags: list[str] = []


class Page(BaseModel):
    url: HttpUrl
    words: set[str]


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, (2,)), [1, [2]]),
        (Color.RED, "r"),
        (Price.LOW, Decimal("1.50")),
        (Point(1, NOON, Point(0, NOON)), {"x": 1, "at": NOON, "before": {"x": 0, "at": NOON, "before": None}}),
        (Pair(1, 2), [1, 2]),
        ([Row(amount=Decimal("0.10"))], [{"amount": Decimal("0.10"), "tags": []}]),
        (Page(url=HttpUrl("http://example.org/"), words={"a"}), {"url": "http://example.org/", "words": ["a"]}),
        (PurePosixPath("a/b"), "a/b"),
        (bytearray(b"x"), b"x"),
        ({(1, 2): (3, [4])}, {(1, 2): [3, [4]]}),
    ],
)
def test_other_types_come_back_as_the_plain_value_that_they_are_made_of(value: Any, read: Any) -> None:
    assert again(value) == read


def test_digits_and_signs_of_a_decimal_stay() -> None:
    for text in ("1.500", "-0", "1E+5", "NaN", "Infinity"):
        assert str(again(Decimal(text))) == text
    assert math.isnan(again(math.nan))


@dataclass(frozen=True)
class Key:
    x: int


class Angry:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __reduce__ = __repr__  # type: ignore[assignment]  # it raises whatever asks for it


@pytest.mark.parametrize("value", [{Key(1): 1}, {1}, frozenset(), object(), Point, Angry(), [Angry()], 2**64, {"a": "\ud800"}, lambda: 0])
def test_what_could_not_be_read_again_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="not serialisable"):
        codec.dumps(value)


def test_what_refers_to_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    point = Point(1, NOON)
    point.before = point
    for value in (loop, {"a": loop}, point):
        with pytest.raises(InvalidInput, match="not serialisable"):
            codec.dumps(value)


def test_f31_only_a_value_that_an_earlier_release_can_not_read_has_the_new_format() -> None:
    plain = {"a": [1, "x", None, b"y", 2.5], "b": {"c": True}}
    assert codec.dumps(plain)[1] == codec.dumps(Row(amount=Decimal(1)).tags)[1] == codec.PLAIN
    assert codec.dumps(plain)[2:] == msgpack.packb(plain)
    assert codec.dumps([uuid4()])[1] == codec.EXTENDED


def test_f31_times_that_an_earlier_release_has_written_are_read() -> None:
    assert codec.loads(b"\xc1\x01" + msgpack.packb([NOON], datetime=True)) == [NOON]


@pytest.mark.parametrize(
    "blob",
    [
        b"\xc1\x03\x80",
        b"\xc1\x01" + msgpack.packb(msgpack.ExtType(6, b"0" * 16)),
        b"\xc1\x02" + msgpack.packb(msgpack.ExtType(99, b"")),
        *(
            b"\xc1\x02" + msgpack.packb([msgpack.ExtType(code, junk)])
            for code in range(1, 7)
            for junk in (b"", b"\xff", b"junk", b"\x93\x01\x02\xc0")
        ),
        b"\xc1\x01" + msgpack.packb({(1,): 2}).replace(b"\x91\x01", b"\x80"),
        b"\xc1\x01" + b"\x91" * 5000 + b"\xc0",
        b"\xc1\x01" + msgpack.packb(msgpack.Timestamp(2**62)),
        b"\xc1\x02" + msgpack.packb([msgpack.Timestamp(-(2**62))]),
    ],
)
def test_f31_what_is_unknown_or_damaged_is_refused_not_guessed_at(blob: bytes) -> None:
    with pytest.raises(FormatUnknown):
        codec.loads(blob)


def test_what_is_far_too_large_is_known_without_packing_it() -> None:
    assert codec.exceeds("x" * 101, 100)
    assert codec.exceeds({"a": [1, {"b": b"x" * 101}]}, 100)
    assert codec.exceeds([0] * 101, 100)
    assert not codec.exceeds(["x" * 90], 100)
    assert not codec.exceeds(UUID(int=0), 1)


def test_the_codec_itself_imports_none_of_what_only_some_values_need() -> None:
    code = (
        "import sys; from taskq.registry import codec; codec.loads(codec.dumps([1, 'a'])); "
        "assert not {'decimal', 'uuid', 'zoneinfo', 'pydantic', 'redis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(again(date(2026, 1, 1)), date)
