"""Make the examples' data: access logs of different ages, a CSV export of about 2,000 orders, an outbox of messages.

::

    python examples/make_data.py [FOLDER] [--today 2026-11-22] [--only orders]

FOLDER is ``var`` unless given. What is there already is left as it is; remove it to have it made again. The data is the
same each time, apart from the logs, whose ages count from today. ``examples/data/orders.csv`` is what it makes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LAST_DAY = date(2026, 11, 21)
DAYS = 90
PRODUCTS = (
    ("Espresso beans, 1 kg", 2450),
    ('Mug "Sunday" <300 ml>', 1290),
    ("Filter paper No. 4", 395),
    ("Salt & pepper set", 1875),
    ("Hand grinder", 6900),
    ("Kettle, 0.8 l", 8450),
    ("Tea towel “Küche”", 850),
)
CUSTOMERS = (
    "Ada Byron",
    "Jörg Müller",
    "Zoë O'Neill",
    "Smith, Jones & Sons",
    "Łukasz Wiśniewski",
    "Chloé Dubois",
    "Bob <bob@example.org>",
    "山田 花子",
)
COUNTRIES = ("DE", "DE", "DE", "FR", "FR", "NL", "PL", "AT", "GB", "JP")
PATHS = ("/", "/shop", "/shop/mug", "/cart", "/checkout", "/assets/app.css", "/assets/app.js", "/api/orders", "/favicon.ico", "/old-page")
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X)", "curl/8.14.1")
HEADER = ("order_id", "placed_at", "updated_at", "customer", "country", "product", "quantity", "unit_price", "status", "note")
# What exports hold in real life: rows that can't be taken.
BAD_ROWS = (
    "B-0001,2026-09-14T10:00:00Z,2026-09-14T10:00:00Z,Ada Byron,DE,Hand grinder,two,69.00,paid,",
    "B-0002,2026-10-02T11:30:00Z,2026-10-02T11:30:00Z,Ada Byron,DE,Hand grinder,1,,paid,",
    'B-0003,2026-10-20T12:00:00Z,2026-10-20T12:00:00Z,"Ada "Countess" Byron",DE,Hand grinder,1,69.00,paid,',
    "B-0004,yesterday,2026-11-01T12:00:00Z,Ada Byron,DE,Hand grinder,1,69.00,paid,",
)
OUTBOX = """
CREATE TABLE outbox (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, created_at TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT
)
"""


class Dice:
    """Choices that are the same with each release of Python: only ``random()`` is promised to be."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def chance(self, share: float) -> bool:
        return self._random() < share


def orders() -> str:
    """The CSV export: each order, again where its status changed, and a few rows that can't be read."""
    dice = Dice("orders")
    rows: list[tuple[str, ...]] = []
    for day in (LAST_DAY - timedelta(days=back) for back in range(DAYS - 1, -1, -1)):
        weekend = day.weekday() >= 5
        growth = 1 - 0.35 * (LAST_DAY - day).days / DAYS
        for _ in range(int((13 if weekend else 22) * growth) + dice.below(8)):
            rows.extend(order(dice, f"A-{len(rows):05d}", datetime.combine(day, time(6 + dice.below(17), dice.below(60)), UTC)))
    rows.sort(key=lambda row: row[2])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    step = len(rows) // (len(BAD_ROWS) + 1)
    for number, row in enumerate(rows):
        if number % step == 0 and 0 < number // step <= len(BAD_ROWS):
            text.write(BAD_ROWS[number // step - 1] + "\n")
        writer.writerow(row)
    return text.getvalue()


def order(dice: Dice, number: str, placed: datetime) -> list[tuple[str, ...]]:
    """The rows of one order: as it was placed and, for some, as it stood later."""
    product, price = dice.pick(PRODUCTS)
    pieces = 1 + (dice.below(4) if dice.chance(0.3) else 0)
    note = dice.pick(("", "", "", "", "leave it\nat the neighbour's", 'gift: "to you"'))
    what = (dice.pick(CUSTOMERS), dice.pick(COUNTRIES), product, str(pieces), f"{price // 100}.{price % 100:02d}")

    def row(at: datetime, status: str) -> tuple[str, ...]:
        return (number, placed.isoformat(), at.isoformat(), *what, status, note)

    later = placed + timedelta(hours=2 + dice.below(60))
    rows = [row(placed, "paid" if dice.chance(0.9) else "new")]
    if dice.chance(0.2) and later.date() <= LAST_DAY:
        rows.append(row(later, dice.pick(("shipped", "delivered", "delivered", "cancelled", "refunded"))))
    return rows


def messages() -> list[tuple[str, str, str]]:
    """The outbox: id, body, time of each message."""
    dice = Dice("messages")
    start = datetime.combine(LAST_DAY, time(8), UTC)
    rows = []
    for number in range(250):
        kind = dice.pick(("order.paid", "order.shipped", "stock.low"))
        body = {"type": kind, "order": f"A-{dice.below(2000):05d}", "text": dice.pick(CUSTOMERS)}
        rows.append((f"m-{number:04d}", json.dumps(body, ensure_ascii=False), (start + timedelta(seconds=90 * number)).isoformat()))
    return rows


def access_log(dice: Dice, day: date, lines: int) -> str:
    """One day's requests, in the combined log format."""
    text = []
    for number in range(lines):
        at = datetime.combine(day, time(), UTC) + timedelta(seconds=86_400 * number // lines)
        host, status = f"203.0.113.{dice.below(256)}", dice.pick((200, 200, 200, 200, 304, 404, 500))
        request = f'{at:%d/%b/%Y:%H:%M:%S +0000}] "GET {dice.pick(PATHS)} HTTP/1.1" {status} {dice.below(50_000)}'
        text.append(f'{host} - - [{request} "-" "{dice.pick(AGENTS)}"\n')
    return "".join(text)


def write_orders(folder: Path, today: date) -> None:
    (folder / "orders.csv").write_text(orders(), encoding="utf-8", newline="")


def write_outbox(folder: Path, today: date) -> None:
    with closing(sqlite3.connect(folder / "outbox.db")) as db, db:
        db.execute(OUTBOX)
        db.executemany("INSERT INTO outbox (id, body, created_at) VALUES (?, ?, ?)", messages())


def write_logs(folder: Path, today: date) -> None:
    """A live log, three numbered rotations, and one compressed for each day of the three weeks before."""
    logs = folder / "logs"
    logs.mkdir()
    for back in range(26):
        day, text = today - timedelta(days=back), access_log(Dice(f"log {back}"), today - timedelta(days=back), 1000 if back else 300)
        if back <= 3:
            path = logs / ("access.log" if back == 0 else f"access.log.{back}")
            path.write_text(text)
        else:
            path = logs / f"access.log-{day:%Y%m%d}.gz"
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
        if back:
            ended = datetime.combine(day + timedelta(days=1), time(), UTC).timestamp()
            os.utime(path, (ended, ended))


PARTS: dict[str, tuple[str, Callable[[Path, date], None]]] = {
    "orders": ("orders.csv", write_orders),
    "outbox": ("outbox.db", write_outbox),
    "logs": ("logs", write_logs),
}


def main(arguments: list[str] | None = None) -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description="Make the examples' data.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("var"), help="where to (default: var)")
    parser.add_argument("--today", type=date.fromisoformat, default=datetime.now(UTC).date(), help="the day that logs count back from")
    parser.add_argument("--only", choices=PARTS, help="make one part")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for part in [options.only] if options.only else PARTS:
        name, write = PARTS[part]
        if (options.folder / name).exists():
            print(f"{options.folder / name}: there already")
        else:
            write(options.folder, options.today)
            print(f"{options.folder / name}: made")


if __name__ == "__main__":
    main()
