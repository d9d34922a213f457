"""What is printed: JSON for programs, safe text and tables for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from taskq.cli import tables
from taskq.cli.output import printable, to_json
from taskq.cli.words import ago, brief, local, took
from taskq.registry.clock import source


def test_text_of_others_cannot_speak_to_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\r\x9b\u202eb\n\tc") == "a\\x1b[31mred\\x07\\r\\x9b\\u202eb\n\tc"


def test_what_json_lacks_becomes_text_or_null() -> None:
    odd = {"nan": float("nan"), "bytes": b"\x00\xff", "at": datetime(2026, 1, 2, tzinfo=UTC), 3: (1, [float("inf")]), "set": {1}}
    assert json.loads(to_json(odd)) == {"nan": None, "bytes": "AP8=", "at": "2026-01-02T00:00:00+00:00", "3": [1, [None]], "set": [1]}
    exact = {"d": Decimal("1.10"), "u": UUID(int=7), "t": time(7, 30), "p": (timedelta(1, 2, 500_000), -timedelta(hours=1), timedelta(0))}
    assert json.loads(to_json(exact)) == {"d": "1.10", "u": str(UUID(int=7)), "t": "07:30:00", "p": ["P1DT2.5S", "-P0DT3600S", "P0DT0S"]}
    assert [TypeAdapter(timedelta).validate_python(text) for text in json.loads(to_json(exact))["p"]] == list(exact["p"])  # type: ignore[call-overload]  # a tuple
    assert json.loads(to_json({"lone": "\ud800"})) == {"lone": "\ud800"}


def test_a_value_that_is_nested_as_deep_as_a_result_may_be_is_written() -> None:
    deep: object = [float("nan"), {(1, 2): Decimal(1)}]
    for _ in range(500):
        deep = [deep]
    for indent in (None, 2):
        assert "".join(to_json(deep, indent=indent).split()) == "[" * 501 + 'null,{"[1,2]":"1"}' + "]" * 501


def test_a_width_that_is_none_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("wide", "0", "-1", "3", ""):
        monkeypatch.setenv("COLUMNS", columns)
        assert tables.console().width == 100


def test_a_table_fits_100_columns_and_keeps_ids_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    run = "0123456789abcdef01234567"
    tables.table("RUN! TASK V> ERROR", [(run, "task" * 20, 12, "error " * 40), (run, "b", None, "")], empty="none")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line.startswith(run) for line in lines[1:])
    assert len(lines) == 3
    assert lines[2].split() == [run, "b", "-", "-"]


def test_a_table_without_rows_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table("A", [], empty="no tasks; register one")
    assert capsys.readouterr().out == "no tasks; register one\n"


def test_markup_in_cells_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table("A~", [("[bold]x[/bold] :smile: \x1b[0m",)], empty="")
    assert "[bold]x[/bold] :smile: \\x1b[0m" in capsys.readouterr().out


def test_times_are_told_as_people_do(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    monkeypatch.setattr(source, "wall", moment.timestamp)
    assert ago("2026-11-22T11:59:18.000+00:00") == "42 s ago"
    assert ago("2026-11-22T12:05:00.000+00:00") == "in 5 m"
    assert ago("2026-11-22T12:59:59.900+00:00") == "in 1 h"
    assert ago(None) == "-"
    assert [brief(seconds) for seconds in (0.4, 61, 7300, 200_000)] == ["0 s", "1 m", "2 h", "2 d"]
    assert local(None) is None
    assert local("2026-11-22T12:00:00.000+00:00") == moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    start = "2026-11-22T12:00:00.000+00:00"
    ends = ("12:00:00.035", "12:00:01.250", "12:03:20.000")
    assert [took(start, f"2026-11-22T{end}+00:00") for end in ends] == ["35 ms", "1.2 s", "3 m 20 s"]
    assert took(start, None) == "-"
