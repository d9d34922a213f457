"""daily_report: the figures, the document, the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from taskq import InvalidInput
from taskq.testing import Fleet

EXAMPLES = Path(__file__).parents[2] / "examples"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def report(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("daily_report")


@pytest.fixture
def make(report: ModuleType, taskq_fleet: Fleet) -> Make:
    """Runs the task on a database, and returns what it returned."""
    return lambda database, output, **options: (
        taskq_fleet.run(report.daily_report, database=str(database), output=str(output), **options).result
    )


@pytest.fixture
def database(example: Callable[[str], ModuleType], tmp_path: Path) -> Path:
    """An empty table, as sync_orders makes it."""
    path = tmp_path / "shop.db"
    example("sync_orders").open_database(path).close()
    return path


def add(database: Path, *orders: tuple[str, str, int, str]) -> None:
    """Orders of (day, product, cents, status)."""
    with closing(sqlite3.connect(database)) as db, db:
        count = db.execute("SELECT count(*) FROM orders").fetchone()[0]
        for number, (day, product, cents, status) in enumerate(orders, count):
            row = (f"A-{number}", f"{day}T12:00:00Z", f"{day}T12:00:00Z", "Ada", "DE", product, 1, cents, status, "")
            db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def written(path: Path) -> ElementTree.Element:
    """The report as a tree: fails unless it is well-formed."""
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def figures(tree: ElementTree.Element) -> dict[str, tuple[str, str]]:
    return {
        str(box.findtext("span")): (str(box.findtext("b")), str(box.findtext("small")))
        for box in tree.iter("div")
        if box.get("class") == "figure"
    }


def table(tree: ElementTree.Element, kind: str) -> list[list[str]]:
    for found in tree.iter("table"):
        if found.get("class") == kind or found.findtext("tr/th") == kind:
            return [["".join(cell.itertext()) for cell in row.iter("td")] for row in found.iter("tr")][1:]
    raise AssertionError(f"no table {kind}")


def test_the_figures_are_right(make: Make, database: Path, tmp_path: Path) -> None:
    add(
        database,
        ("2026-11-01", "Mug", 1000, "paid"),  # the period before
        ("2026-11-04", "Mug", 1500, "paid"),
        ("2026-11-05", "Kettle", 4000, "shipped"),
        ("2026-11-05", "Mug", 1500, "refunded"),
        ("2026-11-06", "Mug", 500, "delivered"),
        ("2026-11-07", "Mug", 9999, "paid"),  # after it
    )
    done = make(database, tmp_path / "out/report.html", days=3, until="2026-11-06")
    tree = written(tmp_path / "out/report.html")

    assert done == {
        "file": str(tmp_path / "out/report.html"), "from": "2026-11-04", "until": "2026-11-06", "orders": 4, "revenue": "60.00",
    }  # fmt: skip
    assert figures(tree) == {
        "Revenue": ("€60", "▲ 500.0%"),
        "Orders": ("4", "▲ 300.0%"),
        "Average order": ("€20.00", "▲ 100.0%"),
        "Cancelled or refunded": ("25.0%", "nothing to compare with"),
    }
    assert table(tree, "days") == [
        ["Fri 2026-11-06", "1", "0", "€5.00", "€10.00"],
        ["Thu 2026-11-05", "2", "1", "€40.00", "€9.29"],
        ["Wed 2026-11-04", "1", "0", "€15.00", "€3.57"],
    ]
    assert table(tree, "Product") == [["Kettle", "1", "€40"], ["Mug", "3", "€20"]]


def test_the_chart_has_a_bar_for_each_day_in_proportion(report: ModuleType, make: Make, database: Path, tmp_path: Path) -> None:
    add(database, ("2026-11-04", "Mug", 4000, "paid"), ("2026-11-06", "Mug", 2000, "paid"))
    make(database, tmp_path / "r.html", days=4)
    tree = written(tmp_path / "r.html")
    titles = [group.findtext("title") for group in tree.iter("g")]
    assert titles == [
        "Tue 3 November: €0.00, 0 orders",
        "Wed 4 November: €40.00, 1 orders",
        "Thu 5 November: €0.00, 0 orders",
        "Fri 6 November: €20.00, 1 orders",
    ]
    base, high = report.HEIGHT - report.BOTTOM, report.HEIGHT - report.BOTTOM - report.TOP
    assert [outline.count("NaN") for outline in (path.get("d", "") for path in tree.iter("path"))] == [0] * 4
    (line,) = tree.iter("polyline")
    heights = [base - float(point.split(",")[1]) for point in str(line.get("points")).split()]
    assert heights == pytest.approx([high * value / 4000 for value in (0, 4000 / 7, 4000 / 7, 6000 / 7)], abs=0.06)


def test_text_from_the_table_is_escaped(make: Make, database: Path, tmp_path: Path) -> None:
    evil = "</table><script>alert('1')</script>&amp;\""
    add(database, ("2026-11-04", evil, 100, "paid"))
    make(database, tmp_path / "r.html")
    assert "<script" not in (tmp_path / "r.html").read_text()
    assert table(written(tmp_path / "r.html"), "Product")[0][0] == evil


def test_it_agrees_with_the_sample_export(
    example: Callable[[str], ModuleType], make: Make, taskq_fleet: Fleet, database: Path, tmp_path: Path
) -> None:
    taskq_fleet.run(example("sync_orders").sync_orders, csv_file=str(EXAMPLES / "data/orders.csv"), database=str(database))
    done = make(database, tmp_path / "r.html", days=90)
    with closing(sqlite3.connect(database)) as db:
        kept = "sum(quantity * unit_price_cents) FILTER (WHERE status NOT IN ('cancelled', 'refunded'))"
        orders, cents = db.execute(f"SELECT count(*), {kept} FROM orders").fetchone()
    days = table(written(tmp_path / "r.html"), "days")
    assert (done["orders"], done["revenue"]) == (orders, f"{cents / 100:.2f}")
    assert (len(days), sum(int(row[1]) for row in days)) == (90, orders)
    assert sum(round(float(row[3].removeprefix("€").replace(",", "")) * 100) for row in days) == cents


@pytest.mark.parametrize("days", [1, 2, 366])
def test_any_length_of_period_can_be_drawn(make: Make, database: Path, tmp_path: Path, days: int) -> None:
    add(database, ("2026-11-04", "Mug", 0, "paid"))
    make(database, tmp_path / "r.html", days=days)
    assert len(list(written(tmp_path / "r.html").iter("g"))) == days


def test_a_crash_while_writing_leaves_the_old_report(
    report: ModuleType, make: Make, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, ("2026-11-04", "Mug", 100, "paid"))
    target = tmp_path / "r.html"
    target.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make(database, target)
    assert target.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"r.html", "shop.db"}


@pytest.mark.parametrize("value", [0.1, 1, 3.9, 4, 5, 99, 100, 101, 12_345, 9_999_999])
def test_a_scale_ends_above_the_value_in_round_steps(report: ModuleType, value: float) -> None:
    top = report.nice_top(value)
    assert value <= top <= max(4, value * 2.5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"days": 0}, "days must be"),
        ({"days": 367}, "days must be"),
        ({"until": "soon"}, "Invalid isoformat"),
        ({}, "run sync_orders first"),
    ],
)
def test_what_cannot_be_reported_is_said(make: Make, database: Path, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make(database, database.with_suffix(".html"), **options)


def test_a_missing_database_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run sync_orders first"):
        make(tmp_path / "shop.db", tmp_path / "r.html")


def test_it_runs_at_six_in_the_morning_in_berlin_all_year(report: ModuleType, taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set("2026-10-24T00:00:00+02:00")  # the clocks go back on the 25th
    taskq_fleet.register(report)
    taskq_fleet.clock.advance("3d")
    assert [str(run.queued_at)[:16] for run in taskq_fleet.enqueued("daily_report")] == [
        "2026-10-24T04:00", "2026-10-25T05:00", "2026-10-26T05:00",
    ]  # fmt: skip


def test_a_parameter_that_is_no_number_of_days_is_refused_before_it_runs(report: ModuleType, taskq_fleet: Fleet) -> None:
    taskq_fleet.register(report)
    with pytest.raises(InvalidInput, match="days"):
        taskq_fleet.client.enqueue("daily_report", days="a week")
    assert taskq_fleet.enqueued() == []
