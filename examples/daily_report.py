"""A daily report of the orders, as one HTML file with a chart.

Reads the table that ``sync_orders`` fills, and writes revenue a day with its 7-day average, the figures beside those of
the period before, the products and the countries. The file stands alone (no script, nothing to download; light and dark
as the reader's system) and is written atomically: who opens it sees the old report or the new one. It is written at 06:00
of Berlin's clock, summer and winter. Try it::

    taskq register examples/sync_orders.py examples/daily_report.py
    taskq run sync_orders --wait
    taskq run daily_report --wait                      # writes var/report.html
    taskq run daily_report days=14 until=2026-10-31 output=/srv/www/report.html --wait

Cancelled and refunded orders count as orders, not as revenue. Relative paths are relative to the worker's working folder.
The task is idempotent.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

from taskq import TaskContext, task

LOST = "('cancelled', 'refunded')"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 920, 300, 58, 8, 12, 30
AVERAGE = 7

STYLE = """
:root { color-scheme: light dark; --page: #f6f5f2; --card: #ffffff; --ink: #1d1d1b; --soft: #66645e; --rule: #e4e2dc;
  --bar: #2f6f8f; --line: #d9622b; --good: #22733f; --bad: #b3361f; }
@media (prefers-color-scheme: dark) { :root { --page: #151618; --card: #1e2023; --ink: #ececea; --soft: #a3a19b; --rule: #33363a;
  --bar: #5b9dbd; --line: #f0955f; --good: #6cc58b; --bad: #f08a76; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 15px; margin: 0 0 12px; }
p.range { color: var(--soft); margin: 4px 0 24px; }
section, .figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin-bottom: 14px; }
.figure b { display: block; font-size: 26px; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.figure span, .figure small { color: var(--soft); font-size: 13px; }
.figure small.good { color: var(--good); } .figure small.bad { color: var(--bad); }
section { margin-bottom: 14px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 14px; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 16px; }
.legend { color: var(--soft); font-size: 13px; display: flex; gap: 16px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; background: var(--bar); margin-right: 6px;
  vertical-align: -1px; }
.legend i.line { height: 3px; background: var(--line); vertical-align: 4px; width: 16px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); stroke-width: 1; } .bar { fill: var(--bar); } .day:hover .bar { opacity: 0.75; } .hit { fill: transparent; }
.average { fill: none; stroke: var(--line); stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; border-bottom: 1px solid var(--rule); padding: 0 0 6px; }
td { padding: 7px 0; border-bottom: 1px solid var(--rule); vertical-align: middle; } tr:last-child td { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-left: 14px; }
.pair td:first-child { width: 58%; }
.meter { height: 6px; border-radius: 3px; background: var(--rule); margin-top: 4px; }
.meter i { display: block; height: 6px; border-radius: 3px; background: var(--bar); }
summary { cursor: pointer; color: var(--soft); } details table { margin-top: 12px; }
footer { color: var(--soft); font-size: 13px; margin-top: 20px; }
"""
LEGEND = '<div class="legend"><span><i></i>Revenue</span><span><i class="line"></i>7-day average</span></div>'


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over some orders: how many, how many of them were lost (cancelled or refunded), revenue in cents."""

    orders: int
    lost: int
    cents: int

    @property
    def average(self) -> float:
        """Cents an order that was not lost."""
        return self.cents / (self.orders - self.lost) if self.orders > self.lost else 0.0

    @property
    def lost_share(self) -> float:
        """Share of the orders that were lost."""
        return self.lost / self.orders if self.orders else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All that the report shows. ``days`` are the period's, without gaps, with the average of the 7 days up to each, in cents."""

    first: date
    last: date
    total: Total
    before: Total
    days: list[tuple[date, Total, float]]
    products: list[tuple[str, Total]]
    countries: list[tuple[str, Total]]


@task(cron="0 6 * * *", timezone="Europe/Berlin", timeout="5m", idempotent=True, labels={"example": "report"})
def daily_report(
    ctx: TaskContext, database: str = "var/shop.db", output: str = "var/report.html", days: int = 30, until: str = ""
) -> dict[str, Any]:
    """Write the report of the ``days`` days up to ``until``.

    Args:
        ctx: says where the report was written.
        database: the SQLite file of ``sync_orders``.
        output: the HTML file.
        days: how many days the chart shows, from 1 to 366; they are compared with as many before.
        until: the last day (``2026-11-21``, in UTC); empty: the day of the newest order.

    Returns:
        The file, the period, and its orders and revenue.

    Raises:
        FileNotFoundError: there is no such database.
        ValueError: ``days`` or ``until`` is out of range, or there is no order.
    """
    path, target = Path(database), Path(output)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.absolute()}; run sync_orders first, or give database=/an/absolute/path")
    if not 1 <= days <= 366:
        raise ValueError(f"days must be from 1 to 366, not {days}")
    with closing(sqlite3.connect(path, timeout=30)) as db:
        report = read(db, days, date.fromisoformat(until) if until else newest(db))
    write_atomically(target, page(report, made=datetime.now(UTC)))
    ctx.log.info("wrote %s", target.absolute())
    return {
        "file": str(target.absolute()),
        "from": report.first.isoformat(),
        "until": report.last.isoformat(),
        "orders": report.total.orders,
        "revenue": f"{report.total.cents / 100:.2f}",
    }


def newest(db: sqlite3.Connection) -> date:
    """The day of the newest order.

    Raises:
        ValueError: there is none.
    """
    (text,) = db.execute("SELECT max(placed_at) FROM orders").fetchone()
    if not text:
        raise ValueError("the table orders is empty; run sync_orders first")
    return date.fromisoformat(text[:10])


def read(db: sqlite3.Connection, days: int, last: date) -> Report:
    """The report's figures, read as of one moment."""
    first = last - timedelta(days=days - 1)
    db.execute("BEGIN")
    rows = totals(db, "substr(placed_at, 1, 10)", first - timedelta(days=AVERAGE - 1), last)
    by_day = {date.fromisoformat(day): total for day, total in rows}
    sums = [by_day.get(first + timedelta(days=step), Total(0, 0, 0)) for step in range(1 - AVERAGE, days)]
    averages = [sum(total.cents for total in sums[step : step + AVERAGE]) / AVERAGE for step in range(days)]
    report = Report(
        first=first,
        last=last,
        total=whole(db, first, last),
        before=whole(db, first - timedelta(days=days), first - timedelta(days=1)),
        days=[(first + timedelta(days=step), sums[step + AVERAGE - 1], averages[step]) for step in range(days)],
        products=totals(db, "product", first, last),
        countries=totals(db, "country", first, last),
    )
    db.rollback()
    return report


def totals(db: sqlite3.Connection, what: str, first: date, last: date) -> list[tuple[str, Total]]:
    """Sums by ``what`` (an SQL expression of this module) over the days from ``first`` to ``last``, most revenue first."""
    rows = db.execute(
        f"SELECT {what}, count(*), sum(status IN {LOST}), "  # noqa: S608  # both are texts of this module
        f"sum(CASE WHEN status IN {LOST} THEN 0 ELSE quantity * unit_price_cents END) "
        "FROM orders WHERE placed_at >= ? AND placed_at < ? GROUP BY 1 ORDER BY 4 DESC, 1",
        (first.isoformat(), (last + timedelta(days=1)).isoformat()),
    )
    return [(name, Total(*numbers)) for name, *numbers in rows]


def whole(db: sqlite3.Connection, first: date, last: date) -> Total:
    """The sum over all orders of the days from ``first`` to ``last``."""
    return next((total for _, total in totals(db, "''", first, last)), Total(0, 0, 0))


def write_atomically(target: Path, text: str) -> None:
    """Put ``text`` in the place of ``target`` in one step; a crash leaves the old file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# -- the page: text that comes from the table passes through `escape` --------------------------------------------------


def page(report: Report, made: datetime) -> str:
    """The whole HTML document, well-formed as XML too."""
    now, before = report.total, report.before
    period = f"{report.first:%-d %B %Y} to {report.last:%-d %B %Y}"
    figures = (
        figure("Revenue", money(now.cents), change(now.cents, before.cents)),
        figure("Orders", f"{now.orders:,}", change(now.orders, before.orders)),
        figure("Average order", money(now.average, cents=True), change(now.average, before.average)),
        figure("Cancelled or refunded", f"{now.lost_share:.1%}", change(now.lost_share, before.lost_share, less_is_good=True)),
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Orders, {period}</title>
<style>{STYLE}</style>
</head>
<body><main>
<h1>Orders</h1>
<p class="range">{period}, compared with the {len(report.days)} days before</p>
<div class="figures">{"".join(figures)}</div>
<section>
<div class="head"><h2>Revenue a day</h2>{LEGEND}</div>
{chart(report.days)}
</section>
<div class="pair">
<section><h2>Products</h2>{ranking(report.products, "Product")}</section>
<section><h2>Countries</h2>{ranking(report.countries, "Country")}</section>
</div>
<section><details><summary>Day by day</summary>{day_table(report.days)}</details></section>
<footer>Made {made:%Y-%m-%d %H:%M} UTC. Days are in UTC. Cancelled and refunded orders count as orders, not as revenue.</footer>
</main></body>
</html>
"""


def money(cents_: float, *, cents: bool = False) -> str:
    """An amount in euros for people."""
    return f"€{cents_ / 100:,.2f}" if cents else f"€{cents_ / 100:,.0f}"


def figure(name: str, value: str, note: tuple[str, str]) -> str:
    """One figure with what changed."""
    return f'<div class="figure"><span>{escape(name)}</span><b>{escape(value)}</b><small class="{note[0]}">{escape(note[1])}</small></div>'


def change(now: float, before: float, *, less_is_good: bool = False) -> tuple[str, str]:
    """Class and text of a change against the period before."""
    if not before:
        return "same", "nothing to compare with"
    share = now / before - 1
    if abs(share) < 0.0005:
        return "same", "unchanged"
    return "good" if (share > 0) != less_is_good else "bad", f"{'▲' if share > 0 else '▼'} {abs(share):.1%}"


def chart(days: Sequence[tuple[date, Total, float]]) -> str:
    """Bars a day and the line of the average, with a scale, as SVG."""
    top = nice_top(max(100, *(max(total.cents, average) for _, total, average in days)))
    step = (WIDTH - LEFT - RIGHT) / len(days)
    base, high = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    width = max(1.0, min(step * 0.72, 44))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Revenue a day">']
    for quarter in range(5):
        y = base - high * quarter / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{money(top * quarter / 4)}</text>')
    points = []
    for number, (day, total, average) in enumerate(days):
        middle = LEFT + step * (number + 0.5)
        points.append(f"{middle:.1f},{base - high * average / top:.1f}")
        text = f"{day:%a %-d %B}: {money(total.cents, cents=True)}, {total.orders} orders"
        hit = f'<rect class="hit" x="{middle - step / 2:.1f}" y="{TOP}" width="{step:.1f}" height="{high}"/>'
        shape = bar(middle - width / 2, base, width, high * total.cents / top)
        parts.append(f'<g class="day"><title>{text}</title>{hit}<path class="bar" d="{shape}"/></g>')
    every = max(1, round(len(days) / 10))
    for number in range(len(days) - 1, -1, -every):
        label = f"{days[number][0]:%-d %b}"
        parts.append(f'<text x="{LEFT + step * (number + 0.5):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>')
    parts.append(f'<polyline class="average" points="{" ".join(points)}"/></svg>')
    return "\n".join(parts)


def bar(x: float, base: float, width: float, height: float) -> str:
    """The outline of a bar that stands on ``base``, its upper corners rounded."""
    radius = min(3.0, width / 2, height)
    outline = f"M{x:.1f},{base}v{-(height - radius):.1f}q0,{-radius:.1f} {radius:.1f},{-radius:.1f}h{width - 2 * radius:.1f}"
    return f"{outline}q{radius:.1f},0 {radius:.1f},{radius:.1f}v{height - radius:.1f}z"


def nice_top(value: float) -> float:
    """The end of a scale for ``value``: four equal steps, each a round number."""
    step, power = value / 4, 1.0
    while power * 10 <= step:
        power *= 10
    return 4 * power * next(factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if factor * power >= step)


def ranking(rows: Iterable[tuple[str, Total]], title: str) -> str:
    """A table of names with revenue, most first, with a meter of their share of the first."""
    shown = list(rows)[:10]
    most = max((total.cents for _, total in shown), default=0) or 1
    lines = [
        f'<tr><td>{escape(name)}<div class="meter"><i style="width:{100 * total.cents / most:.1f}%"></i></div></td>'
        f'<td class="n">{total.orders:,}</td><td class="n">{money(total.cents)}</td></tr>'
        for name, total in shown
    ]
    return f'<table><tr><th>{title}</th><th class="n">Orders</th><th class="n">Revenue</th></tr>{"".join(lines)}</table>'


def day_table(days: Sequence[tuple[date, Total, float]]) -> str:
    """The chart's figures as a table, newest first."""
    head = '<tr><th>Day</th><th class="n">Orders</th><th class="n">Lost</th><th class="n">Revenue</th><th class="n">7-day average</th></tr>'
    lines = [
        f'<tr><td>{day:%a %Y-%m-%d}</td><td class="n">{total.orders}</td><td class="n">{total.lost}</td>'
        f'<td class="n">{money(total.cents, cents=True)}</td><td class="n">{money(average, cents=True)}</td></tr>'
        for day, total, average in reversed(days)
    ]
    return f'<table class="days">{head}{"".join(lines)}</table>'
