"""sync_orders: rows, offset, crashes."""

from __future__ import annotations

import csv
import io
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from taskq.testing import Fleet, FleetRun

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADER = "order_id,placed_at,updated_at,customer,country,product,quantity,unit_price,status,note\n"


def line(number: int, *, status: str = "paid", updated: str = "2026-11-01T10:00:00Z", quantity: str = "1", note: str = "") -> str:
    return f"A-{number},2026-11-01T09:00:00Z,{updated},Ada Byron,DE,Mug,{quantity},12.90,{status},{note}\n"


class Shop:
    """An export and its database."""

    def __init__(self, module: ModuleType, fleet: Fleet, folder: Path) -> None:
        self.module, self.fleet = module, fleet
        self.csv, self.database = folder / "orders.csv", folder / "shop.db"

    def write(self, *lines: str) -> None:
        self.csv.write_text(HEADER + "".join(lines))

    def append(self, text: str) -> None:
        with self.csv.open("a") as file:
            file.write(text)

    def run(self, **options: Any) -> FleetRun[dict[str, Any]]:
        return self.fleet.run(self.module.sync_orders, csv_file=str(self.csv), database=str(self.database), **options)

    def sync(self, **options: Any) -> dict[str, Any]:
        return self.run(**options).result

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as db:
            return db.execute(query).fetchall()

    def orders(self) -> dict[str, str]:
        return dict(self.rows("SELECT order_id, status FROM orders"))  # type: ignore[arg-type]  # pairs


@pytest.fixture
def shop(example: Callable[[str], ModuleType], taskq_fleet: Fleet, tmp_path: Path) -> Shop:
    return Shop(example("sync_orders"), taskq_fleet, tmp_path)


def test_only_what_is_new_is_read(shop: Shop) -> None:
    shop.write(line(1), line(2))
    assert shop.sync() | {"position": 0} == {
        "read": 2, "changed": 2, "unchanged": 0, "bad": 0, "position": 0, "pending_bytes": 0, "restarted": None,
    }  # fmt: skip
    shop.append(line(3) + line(1, status="shipped", updated="2026-11-02T10:00:00Z"))
    again = shop.sync()
    assert (again["read"], again["changed"]) == (2, 2)
    assert shop.orders() == {"A-1": "shipped", "A-2": "paid", "A-3": "paid"}
    assert shop.sync()["read"] == 0


def test_an_older_row_changes_nothing(shop: Shop) -> None:
    shop.write(line(1, status="shipped", updated="2026-11-02T10:00:00+02:00"), line(1, status="paid", updated="2026-11-02T07:59:59Z"))
    done = shop.sync()
    assert (done["changed"], done["unchanged"], shop.orders()) == (1, 1, {"A-1": "shipped"})


def test_a_half_written_last_line_waits(shop: Shop) -> None:
    whole = line(2)
    shop.write(line(1))
    for begin, end in ((0, 3), (3, 40)):
        shop.append(whole[begin:end])
        done = shop.sync()
        assert (done["bad"], done["pending_bytes"], set(shop.orders())) == (0, end, {"A-1"})
    shop.append(whole[40:])
    assert shop.sync()["pending_bytes"] == 0
    assert set(shop.orders()) == {"A-1", "A-2"}


def test_a_half_written_header_waits(shop: Shop) -> None:
    shop.csv.write_text(HEADER[:30])
    assert shop.sync()["read"] == 0
    shop.write(line(1))
    assert shop.sync()["read"] == 1


def test_a_quoted_field_may_span_lines(shop: Shop) -> None:
    shop.write(line(1, note='"leave it\nat ""the"" door"'), line(2))
    assert shop.sync()["bad"] == 0
    assert shop.rows("SELECT note FROM orders ORDER BY order_id") == [('leave it\nat "the" door',), ("",)]


def test_a_quoted_field_that_is_half_written_waits(shop: Shop) -> None:
    shop.write(line(1), line(2, note='"leave it\n').removesuffix("\n"))
    assert shop.sync()["read"] == 1
    shop.append('at the door"\n')
    done = shop.sync()
    assert (done["read"], done["bad"], len(shop.orders())) == (1, 0, 2)


def test_a_stray_quote_spoils_its_own_line_only(shop: Shop) -> None:
    shop.write(line(1), line(2, note='"oops'), *(line(number) for number in range(3, 60)), line(60, note='"oops'), line(61))
    done = shop.sync()
    assert done["bad"] == 1  # the second stray quote is still open: more lines may close it
    shop.append("".join(line(number) for number in range(62, 130)))
    assert shop.sync()["bad"] == 1
    assert set(shop.orders()) == {f"A-{number}" for number in range(1, 130)} - {"A-2", "A-60"}


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (line(9, quantity="two"), "quantity 'two'"),
        (line(9, quantity="0"), "quantity '0'"),
        (line(9, status="lost"), "status 'lost'"),
        (line(9).replace("12.90", ""), "unit_price ''"),
        (line(9).replace("12.90", "12.905"), "unit_price '12.905'"),
        (line(9).replace("12.90", "NaN"), "unit_price 'NaN'"),
        (line(9).replace("2026-11-01T09:00:00Z", "yesterday"), "placed_at 'yesterday'"),
        (line(9).replace("A-9", " "), "order_id is empty"),
        (line(9).replace(",paid", ""), "9 fields instead of 10"),
    ],
)
def test_a_bad_row_is_recorded_and_the_rest_goes_on(shop: Shop, row: str, error: str) -> None:
    shop.write(line(1), row, "\n", line(2))
    done = shop.sync()
    assert (done["read"], done["bad"], set(shop.orders())) == (3, 1, {"A-1", "A-2"})
    ((position, text, reason),) = shop.rows("SELECT position, line, error FROM bad_rows")
    assert shop.csv.read_bytes()[position:].startswith(row.encode()) and text == row.rstrip("\n") and error in reason


def test_bytes_that_are_no_utf8_are_a_bad_row(shop: Shop) -> None:
    shop.csv.write_bytes(HEADER.encode() + line(1).encode().replace(b"Ada", b"\xff\xfe") + line(2).encode())
    assert shop.sync()["bad"] == 1
    assert set(shop.orders()) == {"A-2"}


@pytest.mark.parametrize("how", ["rename", "truncate", "overwrite"])
def test_a_replaced_file_is_read_from_its_start(shop: Shop, how: str) -> None:
    shop.write(*(line(number) for number in range(50)), line(99, quantity="bad"))
    shop.sync()
    new = HEADER + "".join(
        line(number, updated="2026-11-03T10:00:00Z", status="shipped") for number in range(20 if how == "truncate" else 90)
    )
    if how == "rename":
        other = shop.csv.with_suffix(".new")
        other.write_text(new)
        other.replace(shop.csv)
    else:
        shop.csv.write_text(new)

    done = shop.sync()

    assert done["restarted"] == ("the file is shorter than it was" if how == "truncate" else "the file was replaced")
    assert list(shop.orders().values()).count("shipped") == (20 if how == "truncate" else 90)
    assert shop.rows("SELECT * FROM bad_rows") == []


def test_columns_are_found_by_name(shop: Shop) -> None:
    names = HEADER.strip().split(",")
    values = line(1).strip().split(",")
    shop.csv.write_text("\ufeff" + ",".join(["extra", *reversed(names)]) + "\n" + ",".join(["?", *reversed(values)]) + "\n")
    assert shop.sync()["changed"] == 1
    shop.append(",".join(["?", *reversed(line(2).strip().split(","))]) + "\n")
    assert shop.sync()["changed"] == 1


def test_a_header_that_lacks_columns_fails_the_run(shop: Shop) -> None:
    shop.csv.write_text("order_id,status\nA-1,paid\n")
    with pytest.raises(ValueError, match="lacks the columns placed_at, updated_at"):
        shop.sync()


def test_a_missing_file_and_a_bad_batch_are_named(shop: Shop) -> None:
    with pytest.raises(FileNotFoundError, match=r"orders\.csv"):
        shop.sync()
    with pytest.raises(ValueError, match="batch"):
        shop.sync(batch=0)


def test_two_runs_at_once_do_not_move_the_offset_twice(shop: Shop) -> None:
    shop.write(*(line(number) for number in range(10)))
    shop.sync()
    shop.append("".join(line(number) for number in range(10, 30)))
    genuine, other = shop.module.read_records, Shop(shop.module, shop.fleet, shop.csv.parent)

    def while_another_runs(file: Any, offset: Any) -> Any:
        shop.module.read_records = genuine
        assert other.sync()["changed"] == 20
        return genuine(file, offset)

    shop.module.read_records = while_another_runs
    with pytest.raises(RuntimeError, match="another run is syncing"):
        shop.sync()
    assert len(shop.orders()) == 30


def test_progress_goes_to_the_log(shop: Shop) -> None:
    shop.write(*(line(number) for number in range(100)))
    run = shop.run(batch=40)
    assert [line["text"].split(",")[0] for line in run.logs()] == [
        "orders.csv: 39 rows",
        "orders.csv: 79 rows",
        "orders.csv: 100 rows",
    ]


def test_a_run_that_is_lost_when_it_is_done_takes_nothing_twice(shop: Shop) -> None:
    shop.write(line(1), line(2))
    shop.fleet.lose(shop.module.sync_orders, done=True)
    run = shop.run()
    assert (run.attempt, run.result["read"]) == (2, 0)
    assert len(shop.orders()) == 2


def test_it_follows_the_export_four_times_a_minute(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.csv.parent)
    shop.csv = shop.csv.parent / "var/orders.csv"
    shop.csv.parent.mkdir()
    shop.write(line(1))
    shop.fleet.clock.set("2026-11-22T12:00:00Z")
    shop.fleet.register(shop.module)
    shop.fleet.clock.advance("30s", drain=True)
    shop.append(line(2) + line(3))
    shop.fleet.clock.advance("30s", drain=True)
    assert [run.result["read"] for run in reversed(shop.fleet.client.runs("sync_orders"))] == [1, 0, 2, 0]


# A process that syncs and is killed while it writes its Nth row: inside of a transaction.
KILLED = """
import logging, os, runpy, signal, sys
from taskq import TaskContext
file, source, database, nth = sys.argv[1:]
module = runpy.run_path(file)
sync, genuine, rows = module["sync_orders"], module["take"], 0
def take(*args):
    global rows
    rows += 1
    genuine(*args)
    if rows == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
sync.function.__globals__["take"] = take
sync(TaskContext(run="r", task="t", version=1), source, database, 100)
"""


@pytest.mark.parametrize("nth", [1, 99, 250, 777, 2050])
def test_a_kill_loses_nothing_and_takes_nothing_twice(shop: Shop, nth: int) -> None:
    shop.csv.write_bytes((EXAMPLES / "data/orders.csv").read_bytes())
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(EXAMPLES / "sync_orders.py"), str(shop.csv), str(shop.database), str(nth)],
        check=False, capture_output=True,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()

    committed = shop.rows("SELECT position FROM sync_state")
    position = committed[0][0] if committed else 0
    ids = {row[0] for row in csv.reader(io.StringIO(shop.csv.read_bytes()[:position].decode()), strict=False)} - {"order_id"}
    assert {row[0] for row in shop.rows("SELECT order_id FROM orders")} == {name for name in ids if name.startswith("A-")}

    resumed = shop.sync()

    # A batch is 100 records, the first of them the header; only whole batches were committed before the Nth row.
    assert (resumed["restarted"], resumed["read"]) == (None, 2050 - max(0, nth // 100 * 100 - 1))
    assert shop.rows("SELECT count(*) FROM bad_rows") == [(4,)]
    expected = {}
    for row in csv.DictReader(io.StringIO(shop.csv.read_text(), newline="")):
        if row["order_id"].startswith("A-") and (row["order_id"] not in expected or row["updated_at"] > expected[row["order_id"]][0]):
            expected[row["order_id"]] = (row["updated_at"], row["status"])
    assert shop.orders() == {number: status for number, (_, status) in expected.items()}


def test_the_committed_export_is_what_the_generator_makes(example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    example("make_data").main([str(tmp_path), "--only", "orders"])
    assert (tmp_path / "orders.csv").read_bytes() == (EXAMPLES / "data/orders.csv").read_bytes()
    assert (tmp_path / "orders.csv").stat().st_size < 300_000
