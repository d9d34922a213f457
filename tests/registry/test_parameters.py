"""What a task accepts: its JSON Schema, the check against it, text of a command line, and back to Python."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, HttpUrl
from typing_extensions import TypedDict

from taskq.registry import codec
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import Task
from taskq.registry.code.parameters import build_arguments, parameters_of
from taskq.registry.code.validation import Validator
from taskq.registry.errors import InvalidInput
from taskq.registry.model.spec import Parameters


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


class Row(BaseModel):
    n: int


def plain(ctx: TaskContext, region: str = "eu", limit: int = 5, ratio: float = 0.5, tags: list[str] | None = None) -> None: ...


def rich(c: Color, d: Decimal, t: datetime, u: UUID, b: bytes, p: Path, rows: list[Row], wait: timedelta = timedelta(0)) -> None: ...


def of(body: Callable[..., Any]) -> Validator:
    return Validator(parameters_of(body))


def test_a_signature_becomes_a_closed_schema_without_the_context() -> None:
    found = parameters_of(plain)
    assert found.context == "ctx"
    assert not found.convert
    assert list(found.json_schema["properties"]) == ["region", "limit", "ratio", "tags"]
    assert found.json_schema["additionalProperties"] is False
    assert "required" not in found.json_schema
    assert Validator(parameters_of(lambda: None)).check({}) == {}


def test_a_method_is_described_without_self() -> None:
    class Import(Task[Any, Any]):
        def execute(self, rows: int) -> None: ...

    assert list(parameters_of(Import.execute, is_method=True).json_schema["properties"]) == ["rows"]
    assert build_arguments(Import().execute, {"rows": 1}) == {"rows": 1}


def test_the_context_is_found_where_it_may_be_none() -> None:
    def body(x: int, ctx: TaskContext | None = None) -> None: ...

    assert parameters_of(body).context == "ctx"


def test_any_name_can_be_a_parameter() -> None:
    def body(schema: int, copy: int, _x: int, model_dump: int, self: int) -> None: ...

    given = {"schema": 1, "copy": 2, "_x": 3, "model_dump": 4, "self": 5}
    assert of(body).check(given) == given
    assert build_arguments(body, given) == given


@pytest.mark.parametrize(
    ("hint", "convert"),
    [
        (int, False),
        (Any, False),
        (list[dict[str, int | None]], False),
        (Literal["a", 1], False),
        (Annotated[int, Field(gt=0)], False),
        (dict[int, str], True),
        (tuple[int, str], True),
        (datetime, True),
        (Color, True),
        (Row, True),
        (set[int], True),
    ],
)
def test_conversion_is_asked_for_where_json_is_not_enough(hint: Any, convert: bool) -> None:
    def body(x: Any) -> None: ...

    body.__annotations__["x"] = hint
    assert parameters_of(body).convert is convert


def refused_positional(x: int, /) -> None: ...
def refused_many(*x: int) -> None: ...
def refused_unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # that it can't be resolved is the point
def refused_object(fine: int, x: Task[Any, Any]) -> None: ...
def refused_callable(x: Callable[[], int]) -> None: ...


@pytest.mark.parametrize("body", [refused_positional, refused_many, refused_unknown, refused_object, refused_callable])
def test_a_signature_that_can_not_be_described_is_refused_by_parameter(body: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match="parameter x"):
        parameters_of(body)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"region": 5}, ["region", "5", "string"]),
        ({"limit": "5"}, ["limit", "'5'", "integer"]),
        ({"limit": True}, ["limit", "True", "integer"]),
        ({"limit": 1.0}, ["limit", "1.0", "integer"]),
        ({"limit": 2**63}, ["limit", "64 bits", "2^63-1"]),
        ({"limit": -(2**63) - 1}, ["limit", "out of range"]),
        ({"ratio": math.nan}, ["ratio", "nan", "finite"]),
        ({"ratio": math.inf}, ["ratio", "inf", "finite"]),
        ({"tags": ["a", 1]}, ["tags", "array of string or null"]),
        ({"tags": {"a"}}, ["tags", "set", "pass a list"]),
        ({"region": object()}, ["region", "object"]),
        ({"region": "\ud800"}, ["region", "surrogate"]),
        ({"nope": 1}, ["nope", "region, limit, ratio, tags"]),
        ({"region": "x" * 10_000, "limit": "y" * 10_000}, ["limit", "..."]),
        ({1: 2}, ["1", "text"]),
    ],
)
def test_what_is_not_allowed_is_refused_with_name_value_and_what_is(params: dict[Any, Any], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        of(plain).check(params)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert len(caught.value.message) < 500


def needs_rows(rows: int) -> None: ...


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(InvalidInput, match="parameter rows is missing: integer"):
        of(needs_rows).check({})


def test_depth_is_limited() -> None:
    deep: Any = 0
    for _ in range(101):
        deep = [deep]
    with pytest.raises(InvalidInput, match="at most 100 levels"):
        Validator(Parameters()).check({"x": deep})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="at most 100 levels"):
        Validator(Parameters()).check({"x": loop})
    assert Validator(Parameters()).check({"x": deep[0]})


def test_python_values_go_as_text_and_come_back_as_what_they_were() -> None:
    given = {
        "c": Color.GREEN,
        "d": Decimal("1.10"),
        "t": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "u": UUID(int=7),
        "b": b"\xff\x00",
        "p": Path("/a/b"),
        "rows": ({"n": 1}, Row(n=2)),
        "wait": timedelta(minutes=1),
    }
    stored = of(rich).check(given)
    assert json.dumps(stored | {"b": ""})
    assert stored["b"] == b"\xff\x00"
    assert stored["rows"] == [{"n": 1}, {"n": 2}]
    assert build_arguments(rich, stored) == given | {"rows": [Row(n=1), Row(n=2)]}


def test_a_naive_time_and_a_date_are_accepted_and_nonsense_is_not() -> None:
    def body(t: datetime, d: date = date(2026, 1, 1)) -> None: ...

    checked = of(body).check({"t": datetime(2026, 1, 2), "d": "2026-05-06"})  # noqa: DTZ001  # naive on purpose
    assert checked == {"t": "2026-01-02T00:00:00", "d": "2026-05-06"}
    with pytest.raises(InvalidInput, match="t: 'soon'"):
        of(body).check({"t": "soon"})


def test_a_value_keeps_its_type_where_the_task_declares_none() -> None:
    def body(x: Any, d: dict, xs: list, m: dict[str, Any], s: str = "") -> None: ...  # type: ignore[type-arg]  # bare ones are the point

    berlin = datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))
    given = {
        "x": Decimal("1.10"),
        "d": {"u": UUID(int=7), "b": b"\xff"},
        "xs": [date(2026, 1, 1), [timedelta(1)]],
        "m": {"a": {"t": berlin}},
    }
    assert of(body).check(given) == given
    assert of(body).check({**given, "s": UUID(int=7)})["s"] == str(UUID(int=7))


def test_a_declared_time_keeps_its_named_zone() -> None:
    def body(t: datetime, more: dict[str, list[datetime | None]] | None = None) -> None: ...

    berlin = datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))
    stored = of(body).check({"t": berlin, "more": {"a": [berlin, None]}})
    arrived = build_arguments(body, of(body).check(codec.loads(codec.dumps(stored))))
    assert [arrived["t"].tzinfo, arrived["more"]["a"][0].tzinfo] == [berlin.tzinfo] * 2


@dataclass
class Order:
    number: UUID
    total: Decimal
    at: datetime
    then: Order | None = None


class Movie(TypedDict):
    title: str
    released: date


class Site(BaseModel):
    url: HttpUrl
    words: set[str]
    raw: bytes = b""


class Size(enum.IntEnum):
    SMALL = 1


def shapes(
    order: Order,
    movie: Movie,
    site: Site,
    size: Size,
    pair: tuple[int, Decimal],
    when: time,
    kind: Literal["a", "b"],
    many: dict[UUID, Order] | None,
) -> None: ...


def test_dataclasses_models_and_typed_dicts_arrive_as_what_they_were() -> None:
    order = Order(UUID(int=1), Decimal("9.90"), datetime(2026, 1, 2, tzinfo=UTC), Order(UUID(int=2), Decimal(1), datetime(2026, 1, 1)))  # noqa: DTZ001  # naive on purpose
    given = {
        "order": order,
        "movie": {"title": "x", "released": date(1999, 3, 31)},
        "site": Site(url=HttpUrl("http://example.org/"), words={"a"}),
        "size": Size.SMALL,
        "pair": (1, Decimal("0.1")),
        "when": time(7, 30),
        "kind": "a",
        "many": {str(order.number): order},
    }
    stored = of(shapes).check(given)
    arrived = build_arguments(shapes, of(shapes).check(codec.loads(codec.dumps(stored))))
    assert arrived == {**given, "many": {order.number: order}}
    assert isinstance(arrived["size"], Size)
    assert codec.dumps(stored)[1] == codec.PLAIN  # what is declared goes in a form that earlier releases read


def test_these_types_are_checked_before_anything_is_written() -> None:
    ok = {"movie": {"title": "x", "released": "1999-03-31"}, "site": {"url": "http://example.org/", "words": []}, "size": 1}
    ok |= {"pair": [1, "0.1"], "when": "07:30", "kind": "b", "many": None}
    ok["order"] = {"number": str(UUID(int=1)), "total": "1.10", "at": "2026-01-02T00:00:00Z"}
    of(shapes).check(ok)
    wrong = {
        "order": {"number": "7", "total": "1", "at": "2026-01-02"},
        "movie": {"title": "x", "released": "soon"},
        "size": 2,
        "pair": [1, "NaN"],
        "when": "25:00",
        "kind": "c",
        "site": {"url": "http://example.org/"},
    }
    for name, value in wrong.items():
        with pytest.raises(InvalidInput, match=f"parameter {name}"):
            of(shapes).check({**ok, name: value})


@given(st.timedeltas() | st.none(), st.times(), st.decimals(allow_nan=False, allow_infinity=False), st.datetimes(), st.uuids())
def test_each_value_of_a_declared_type_arrives_as_it_was(wait: timedelta | None, at: time, d: Decimal, t: datetime, u: UUID) -> None:
    def body(wait: timedelta | None, at: time, d: Decimal, t: datetime, u: UUID) -> None: ...

    given = {"wait": wait, "at": at, "d": d, "t": t, "u": u}
    assert build_arguments(body, of(body).check(codec.loads(codec.dumps(of(body).check(given))))) == given


@pytest.mark.parametrize(("text", "length"), [("PT1.5S", 1.5), ("-P1D", -86_400), ("1:30:00", 5400), ("P1DT2H", 93_600)])
def test_a_duration_is_read_from_text(text: str, length: float) -> None:
    def body(wait: timedelta) -> None: ...

    assert build_arguments(body, of(body).check({"wait": text})) == {"wait": timedelta(seconds=length)}
    with pytest.raises(InvalidInput, match="duration"):
        of(body).check({"wait": "soon"})


def test_bytes_are_refused_where_text_is_declared() -> None:
    with pytest.raises(InvalidInput, match="parameter region: bytes are not allowed here"):
        of(plain).check({"region": b"eu"})


def test_what_pydantic_finds_wrong_is_named_before_the_call() -> None:
    def body(rows: list[Row]) -> None: ...

    with pytest.raises(InvalidInput, match=r"rows\.0\.n"):
        build_arguments(body, {"rows": [{"n": "x"}]})


def test_extra_parameters_are_checked_by_their_annotation() -> None:
    def body(**more: int) -> None: ...

    assert of(body).check({"a": 1}) == {"a": 1}
    with pytest.raises(InvalidInput, match="a: 'x'"):
        of(body).check({"a": "x"})
    assert build_arguments(body, {"a": 1}) == {"a": 1}


def typed(
    s: str,
    i: int,
    f: float,
    flag: bool,
    n: int | None,
    either: int | str,
    xs: list[int],
    m: dict[str, int],
    lit: Literal["a", 3],
    c: Color,
    d: Decimal,
    anything: Any,
) -> None: ...


def test_text_is_converted_to_the_declared_type() -> None:
    text = {
        "s": "1.10",
        "i": "-7",
        "f": "3",
        "flag": "true",
        "n": "null",
        "either": "x",
        "xs": "[1, 2]",
        "m": '{"a": 1}',
        "lit": "3",
        "c": "r",
        "d": "1.10",
        "anything": "5",
    }
    values = of(typed).from_text(list(text.items()))
    assert values == {
        "s": "1.10",
        "i": -7,
        "f": 3.0,
        "flag": True,
        "n": None,
        "either": "x",
        "xs": [1, 2],
        "m": {"a": 1},
        "lit": 3,
        "c": "r",
        "d": "1.10",
        "anything": "5",
    }
    assert of(typed).check(values) == values
    assert of(typed).from_text([("either", "5")]) == {"either": 5}
    assert of(typed).from_text([("s", "a=b")]) == {"s": "a=b"}


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("i", "1.5"), "i: '1.5' can't be read as integer"),
        (("flag", "maybe"), "boolean"),
        (("n", "x"), "integer or null"),
        (("xs", "{}"), "array of integer"),
        (("xs", "[1,"), "array"),
        (("lit", "b"), '"a" or 3'),
        (("c", "blue"), '"r" or "g"'),
        (("zz", "1"), "unknown parameter zz: the task takes s, i"),
    ],
)
def test_text_that_can_not_be_read_is_refused(pair: tuple[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        of(typed).from_text([pair])
    assert words in caught.value.message


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        of(typed).from_text([("i", "1"), ("i", "2")])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(params=st.dictionaries(st.text(), JSON, max_size=5))
def test_any_json_value_is_stored_as_it_is(params: dict[str, Any]) -> None:
    assert Validator(Parameters()).check(params) == params


@given(region=JSON, limit=JSON)
def test_the_check_agrees_with_json_schema_but_for_whole_floats(region: Any, limit: Any) -> None:
    found = parameters_of(plain)
    params = {"region": region, "limit": limit}
    expected = jsonschema_rs.is_valid(found.json_schema, params) and not isinstance(limit, float)
    try:
        Validator(found).check(params)
        accepted = True
    except InvalidInput:
        accepted = False
    assert accepted == expected
