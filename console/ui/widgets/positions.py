"""The positions pane: what is held, at what price, and what it has made."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import ClassVar

from console.ui import format as text
from console.ui.store import Fact
from console.ui.widgets.grid import Column, Grid
from console.ui.widgets.painted import Span, sign_ink


class Positions(Grid):
    SHOWS: ClassVar[Fact] = (
        Fact.POSITIONS | Fact.ACCOUNT | Fact.LINK | Fact.CONNECTIONS | Fact.CLOCK | Fact.CHOICE
    )
    TITLE: ClassVar[str] = "POSITIONS"
    CONNECTIONS: ClassVar[tuple[str, ...]] = ("broker", "updates")

    def columns(self) -> Sequence[Column]:
        return (
            Column("symbol", "", 7, left=True),
            Column("qty", "QTY", 6),
            Column("avg", "AVG", 9, priority=1),
            Column("last", "LAST", 9, priority=3),
            Column("pl", "P&L", 9),
            Column("pl_pct", "P&L %", 7, priority=4),
            Column("day", "DAY", 8, priority=6),
            Column("value", "VALUE", 11, priority=5),
            Column("equity", "%EQ", 6, priority=2),
        )

    def keys(self) -> list[str]:
        return sorted(self.store.positions)

    def empty_text(self) -> str:
        return "no positions: b buys"

    def sort_value(self, key: str, column: str) -> float | str:
        position = self.store.positions.get(key)
        if position is None:
            return nan
        match column:
            case "symbol":
                return key
            case "qty":
                return float(position.qty)
            case "avg":
                return float(position.avg_entry_price)
            case "last":
                return float(position.current_price)
            case "pl":
                return float(position.unrealized_pl)
            case "pl_pct":
                return float(position.unrealized_pl_pct)
            case "day":
                return float(position.day_pl)
        return abs(float(position.market_value))

    def row(self, key: str, columns: Sequence[Column]) -> Sequence[Span]:
        position = self.store.positions[key]
        pl = position.unrealized_pl
        colour = sign_ink(pl)
        equity = self.store.account.equity if self.store.account is not None else None
        share = abs(position.market_value) / equity * 100 if equity else None
        cells: dict[str, Span] = {
            "symbol": (key, "bold"),
            "qty": (text.quantity(position.qty), ""),
            "avg": (text.price(position.avg_entry_price), "muted"),
            "last": (text.price(position.current_price), ""),
            "pl": (text.arrow(pl) + text.signed_whole(pl), colour),
            "pl_pct": (text.percent(position.unrealized_pl_pct), colour),
            "day": (text.signed_whole(position.day_pl), sign_ink(position.day_pl)),
            "value": (text.money(position.market_value), ""),
            "equity": (text.share(share), "muted"),
        }  # fmt: skip
        return [cells[column.key] for column in columns]
