"""The session as files: the fills as CSV, the whole as Markdown. What is on the screen, no more."""

from __future__ import annotations

import csv
import io
from math import isfinite
from pathlib import Path

from console.engine.state import FillView
from console.ui import format as text
from console.ui.store import Store

FIELDS = (
    "time", "side", "qty", "symbol", "price", "bid", "ask", "slippage_bp", "client_order_id",
    "execution_id",
)  # fmt: skip


def slippage_bp(fill: FillView) -> float:
    """What the fill cost against the quote's middle, in basis points; NaN where unknown."""
    if fill.bid is None or fill.ask is None:
        return float("nan")
    middle = (fill.bid + fill.ask) / 2
    if middle <= 0:
        return float("nan")
    paid = fill.price - middle if fill.side == "buy" else middle - fill.price
    return float(paid / middle) * 1e4


def as_csv(store: Store) -> str:
    """The fills, oldest first: times in UTC, numbers as they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for fill in store.fills:
        cost = slippage_bp(fill)
        writer.writerow(
            (
                fill.at.isoformat(), fill.side.value, f"{fill.qty:f}", fill.symbol,
                f"{fill.price:f}", "" if fill.bid is None else f"{fill.bid:f}",
                "" if fill.ask is None else f"{fill.ask:f}",
                f"{cost:.2f}" if isfinite(cost) else "", fill.client_order_id, fill.execution_id,
            )
        )  # fmt: skip
    return out.getvalue()


def as_markdown(store: Store) -> str:
    """A report of the day: account, positions, fills."""
    lines = [f"# Session of {text.day(store.market_time())}", "", f"{store.mode} account", ""]
    account = store.account
    if account is not None:
        lines += [
            f"- equity {text.money(account.equity)}, day {text.signed_money(account.day_pl)} "
            f"({text.percent(account.day_pl_pct)})",
            f"- cash {text.money(account.cash)}, buying power {text.money(account.buying_power)}",
            "",
        ]
    lines += ["## Positions", ""]
    if store.positions:
        lines += ["| symbol | qty | average | last | P&L |", "|---|---:|---:|---:|---:|"]
        for p in store.positions.values():
            cells = (
                p.symbol, text.quantity(p.qty), text.price(p.avg_entry_price),
                text.price(p.current_price), text.signed_money(p.unrealized_pl),
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    else:
        lines.append("flat")
    lines += ["", "## Fills", ""]
    if store.fills:
        head = ("time", "side", "qty", "symbol", "price", "bid", "ask", "slippage bp")
        lines += ["| " + " | ".join(head) + " |", "|---|---|---:|---|---:|---:|---:|---:|"]
        for fill in store.fills:
            row = (
                text.clock(fill.at), fill.side.value, text.quantity(fill.qty), fill.symbol,
                text.price(fill.price), text.price(fill.bid), text.price(fill.ask),
                text.signed(slippage_bp(fill)),
            )  # fmt: skip
            lines.append("| " + " | ".join(row) + " |")
    else:
        lines.append("none")
    return "\n".join(lines) + "\n"


def write(store: Store, folder: Path) -> tuple[Path, Path]:
    """Write both files, named by the market's date. Raises OSError where that can't be."""
    moment = store.market_time()
    name = "session" if moment is None else f"session-{text.eastern(moment):%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.csv", folder / f"{name}.md"
    for path, content in zip(paths, (as_csv(store), as_markdown(store)), strict=True):
        path.write_text(content, encoding="utf-8")
    return paths
