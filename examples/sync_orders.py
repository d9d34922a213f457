"""Sync a CSV export into SQLite, as the export grows.

A shop appends its orders to a CSV file; an order appears again when its status changes. Each run takes what is new since
the last one:

- rows are upserted by ``order_id``; a row older than what the table has (``updated_at``) changes nothing;
- how far the file was read (byte position, and which file it was) is written in the same transaction as the rows, so
  that a crash at any point loses nothing and takes nothing twice;
- a last line that is still being written waits for the next run;
- a file that was replaced or truncated is read from its start: upserts make that harmless;
- a row that can't be read is recorded in the table ``bad_rows`` with its position and reason, and does not stop the rest.

It runs each 15 seconds, and not while its last scheduled run still goes on (``overlap="skip"``). Try it::

    python examples/make_data.py                       # writes var/orders.csv, among others
    taskq register examples/sync_orders.py
    taskq run sync_orders --wait
    taskq run sync_orders csv_file=/srv/export.csv database=/srv/shop.db --wait
    sqlite3 var/shop.db 'select status, count(*) from orders group by 1'

Relative paths are relative to the worker's working folder. The task is idempotent.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from taskq import TaskContext, task

COLUMNS = ("order_id", "placed_at", "updated_at", "customer", "country", "product", "quantity", "unit_price", "status", "note")
STATUSES = frozenset({"new", "paid", "shipped", "delivered", "cancelled", "refunded"})
MAX_LINES = 50  # a quoted field may span lines; one that spans more is a stray quote
EDGE = 4096  # how much of either end of what was read tells one file from another

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, placed_at TEXT NOT NULL, updated_at TEXT NOT NULL, customer TEXT NOT NULL, country TEXT NOT NULL,
    product TEXT NOT NULL, quantity INTEGER NOT NULL, unit_price_cents INTEGER NOT NULL, status TEXT NOT NULL, note TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_by_day ON orders (placed_at);
CREATE TABLE IF NOT EXISTS sync_state (
    source TEXT PRIMARY KEY, position INTEGER NOT NULL, inode INTEGER NOT NULL, edges TEXT NOT NULL, header TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bad_rows (
    source TEXT NOT NULL, position INTEGER NOT NULL, line TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (source, position, line)
);
"""
UPSERT = """
INSERT INTO orders VALUES (:order_id, :placed_at, :updated_at, :customer, :country, :product, :quantity, :unit_price_cents, :status, :note)
ON CONFLICT (order_id) DO UPDATE SET placed_at = excluded.placed_at, updated_at = excluded.updated_at, customer = excluded.customer,
    country = excluded.country, product = excluded.product, quantity = excluded.quantity, unit_price_cents = excluded.unit_price_cents,
    status = excluded.status, note = excluded.note
WHERE excluded.updated_at > orders.updated_at
"""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a file was read. ``edges`` is a digest of both ends of what was read, ``header`` its columns in order."""

    position: int = 0
    inode: int = 0
    edges: str = ""
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the file: the bytes, where it begins and ends, and the fields or what is wrong with them."""

    start: int
    end: int
    raw: bytes
    fields: dict[str, str] | None
    error: str = ""


@dataclass(slots=True)
class Counts:
    """What a run did."""

    read: int = 0
    changed: int = 0
    unchanged: int = 0
    bad: int = 0


@task(every="15s", overlap="skip", timeout="30m", idempotent=True, labels={"example": "data"})
def sync_orders(ctx: TaskContext, csv_file: str = "var/orders.csv", database: str = "var/shop.db", batch: int = 500) -> dict[str, Any]:
    """Take what is new in ``csv_file`` into the table ``orders`` of ``database``.

    Args:
        ctx: progress goes to the run's log.
        csv_file: the export; its first line names the columns.
        database: an SQLite file, made if it is missing.
        batch: how many rows one transaction takes.

    Returns:
        How many rows were read, changed something, changed nothing or were bad; the position reached, and the bytes of a
        last line that is not finished yet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its header lacks columns, or ``batch`` is below 1.
    """
    source = Path(csv_file).absolute()
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}; give csv_file=/an/absolute/path, or make sample data: examples/make_data.py")
    counts = Counts()
    with closing(open_database(Path(database))) as db, source.open("rb") as file:
        offset, restarted = resume(db, file, str(source))
        if restarted:
            ctx.log.warning("%s: %s; reading it from the start", source.name, restarted)
        size = os.fstat(file.fileno()).st_size
        records = read_records(file, offset)
        while chunk := list(islice(records, batch)):
            offset = store(db, str(source), offset, advance(file, offset, chunk), chunk, counts)
            ctx.log.info("%s: %d rows, %.0f %% of the file", source.name, counts.read, 100 * offset.position / max(size, 1))
    if counts.bad:
        ctx.log.warning("%d bad rows were recorded in the table bad_rows", counts.bad)
    return asdict(counts) | {"position": offset.position, "pending_bytes": max(0, size - offset.position), "restarted": restarted or None}


def open_database(path: Path) -> sqlite3.Connection:
    """The database with its tables; transactions are opened by hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    return db


def resume(db: sqlite3.Connection, file: BinaryIO, source: str) -> tuple[Offset, str]:
    """Where to read on, and why from the start where the file is not the one that was read before."""
    known = stored_offset(db, source)
    state = os.fstat(file.fileno())
    fresh = Offset(inode=state.st_ino)
    if known is None or known.position == 0:
        return fresh, ""
    if state.st_size < known.position:
        return fresh, "the file is shorter than it was"
    if state.st_ino != known.inode or edges_of(file, known.position) != known.edges:
        return fresh, "the file was replaced"
    return known, ""


def stored_offset(db: sqlite3.Connection, source: str) -> Offset | None:
    """The offset of the last committed transaction, or None before the first."""
    row = db.execute("SELECT position, inode, edges, header FROM sync_state WHERE source = ?", (source,)).fetchone()
    return Offset(row[0], row[1], row[2], tuple(json.loads(row[3]))) if row else None


def edges_of(file: BinaryIO, position: int) -> str:
    """A digest of the first and the last bytes before ``position``."""
    file.seek(0)
    head = file.read(min(EDGE, position))
    file.seek(max(0, position - EDGE))
    return hashlib.sha256(head + file.read(min(EDGE, position))).hexdigest()


def read_records(file: BinaryIO, offset: Offset) -> Iterator[Record]:
    """Records from ``offset`` on, each only once its last line is finished; the header is a record without fields."""
    header, position = offset.header, offset.position
    while lines := peek_lines(file, position):
        record = parse(position, lines, header)
        if record is None:
            return
        if not header:
            header = columns_of(record.raw)
        yield record
        position = record.end


def peek_lines(file: BinaryIO, position: int) -> list[bytes]:
    """The finished lines that make up the next record: more than one where a quoted field spans lines.

    Quotes inside of a quoted field are doubled, so a record is complete where their number is even.
    """
    file.seek(position)
    lines: list[bytes] = []
    quotes = 0
    while len(lines) < MAX_LINES and (line := file.readline()).endswith(b"\n"):
        lines.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            break
    return lines


def parse(position: int, lines: list[bytes], header: tuple[str, ...]) -> Record | None:
    """The record of ``lines``, or None where a quoted field is not finished yet.

    Where lines that were joined don't make a record, a stray quote joined them: the first is bad, the others stand for
    themselves.
    """
    raw = b"".join(lines)
    if raw.count(b'"') % 2 and len(lines) < MAX_LINES:
        return None
    if not header:
        return Record(position, position + len(raw), raw, None)
    try:
        (values,) = csv.reader([raw.decode("utf-8")], strict=True)
        error = "" if len(values) == len(header) else f"{len(values)} fields instead of {len(header)}"
    except (csv.Error, UnicodeDecodeError, ValueError) as problem:
        values, error = [], str(problem)
    if not error:
        return Record(position, position + len(raw), raw, dict(zip(header, values, strict=True)))
    first = lines[0]
    return Record(position, position + len(first), first, None, error)


def columns_of(raw: bytes) -> tuple[str, ...]:
    """The names in the header line.

    Raises:
        ValueError: columns are missing.
    """
    header = tuple(name.strip().lower() for name in next(csv.reader([raw.decode("utf-8-sig")])))
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(f"the export lacks the columns {', '.join(missing)}; its header is {', '.join(header)}")
    return header


def advance(file: BinaryIO, offset: Offset, chunk: list[Record]) -> Offset:
    """The offset after ``chunk``."""
    header = offset.header or columns_of(chunk[0].raw)
    position = chunk[-1].end
    return replace(offset, position=position, edges=edges_of(file, position), header=header)


def store(db: sqlite3.Connection, source: str, before: Offset, after: Offset, chunk: list[Record], counts: Counts) -> Offset:
    """Write rows, bad rows and the new offset in one transaction, and count them once it has committed.

    Raises:
        RuntimeError: another run has moved the offset meanwhile; nothing was written.
    """
    done = Counts()
    db.execute("BEGIN IMMEDIATE")
    try:
        now = stored_offset(db, source)
        if before.position and (now is None or now.position != before.position):
            raise RuntimeError(f"another run is syncing {source}: it moved the offset")
        rows = chunk if before.header else chunk[1:]
        if not before.header:  # bad rows of a file that is gone
            db.execute("DELETE FROM bad_rows WHERE source = ?", (source,))
        for record in rows:
            take(db, source, record, done)
        state = (source, after.position, after.inode, after.edges, json.dumps(after.header))
        db.execute("INSERT OR REPLACE INTO sync_state VALUES (?, ?, ?, ?, ?)", state)
        db.execute("COMMIT")
    except BaseException:  # a timeout or a cancel stops a task by an exception, too
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    for name, value in asdict(done).items():
        setattr(counts, name, getattr(counts, name) + value)
    return after


def take(db: sqlite3.Connection, source: str, record: Record, done: Counts) -> None:
    """Upsert one record, or note it as bad; an empty line is neither."""
    if not record.raw.strip():
        return
    done.read += 1
    try:
        if record.fields is None:
            raise ValueError(record.error)
        row = order_of(record.fields)
    except ValueError as problem:
        line = record.raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        db.execute("INSERT OR REPLACE INTO bad_rows VALUES (?, ?, ?, ?)", (source, record.start, line, str(problem)))
        done.bad += 1
        return
    if db.execute(UPSERT, row).rowcount:
        done.changed += 1
    else:
        done.unchanged += 1


def order_of(fields: dict[str, str]) -> dict[str, Any]:
    """The row of the table for the fields of a record.

    Raises:
        ValueError: a field is not what it must be; names field and value.
    """
    order: dict[str, Any] = {name: fields[name].strip() for name in COLUMNS if name not in ("quantity", "unit_price")}
    for name in ("order_id", "customer", "product"):
        if not order[name]:
            raise ValueError(f"{name} is empty")
    for name in ("placed_at", "updated_at"):
        order[name] = moment(name, order[name])
    if order["status"] not in STATUSES:
        raise ValueError(f"status {order['status']!r} is none of {', '.join(sorted(STATUSES))}")
    order["quantity"] = quantity(fields["quantity"])
    order["unit_price_cents"] = cents(fields["unit_price"])
    return order


def moment(name: str, text: str) -> str:
    """A time in one form (UTC, seconds; UTC is assumed where it names no zone), so that text compares as time does."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no time") from None
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def quantity(text: str) -> int:
    """A count of pieces, at least 1."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise ValueError(f"quantity {text!r} is no number from 1 to 1,000,000")
    return int(text)


def cents(text: str) -> int:
    """A price in cents."""
    try:
        value = Decimal(text) * 100
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value != value.to_integral_value() or not 0 <= value < 10**12:
        raise ValueError(f"unit_price {text!r} is no price with two decimals")
    return int(value)
