"""The risk screen: exposure against its caps, drawdown, trading state, what each symbol weighs."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from textual.app import ComposeResult

from console.engine.state import OrderState, OrderView, Side, TradingState
from console.ui import format as text
from console.ui.screens.base import ConsoleScreen
from console.ui.store import Fact, Phase
from console.ui.widgets.page import Page
from console.ui.widgets.painted import TITLE, Span

_STATES = {
    TradingState.ACTIVE: ("up", "every order is taken that passes the checks"),
    TradingState.REDUCING: ("warning", "only orders that make positions smaller"),
    TradingState.HALTED: ("alarm", "no orders; cancels pass; A resumes"),
}


class Risk(Page):
    SHOWS: ClassVar[Fact] = (
        Fact.ACCOUNT | Fact.POSITIONS | Fact.ORDERS | Fact.TRADING | Fact.LINK | Fact.CLOCK
    )

    def lines(self, width: int) -> list[list[Span]]:
        store = self.store
        title: list[Span] = [(" RISK", TITLE)]
        if store.account is None:
            words = "connecting…" if store.phase is Phase.CONNECTING else "no account yet"
            if store.phase is Phase.FAILED:
                words = f"no engine: {store.failure}"
            return [title, [(f" {words}", "muted")]]
        ink, meaning = _STATES[store.trading_state]
        lines: list[list[Span]] = [
            title,
            [
                (" Trading state  ", "muted"),
                (f" {store.trading_state.value} ", ink),
                (f"  {store.trading_reason or meaning}", ""),
            ],
            [
                (" Kill switch    ", "muted"),
                ("k", "accent bold"),
                (" halts, cancels all, closes all", ""),
            ],
            [],
            [(" LIMITS", TITLE), (f"{'value':>27}{'cap':>14}", "muted")],
        ]
        for label, value, cap, unit in self._limits():
            lines.append(self._bar(label, value, cap, unit, width))
        lines += self._reckoned()
        lines += [[], [(" EXPOSURE BY SYMBOL", TITLE), (f"{'net':>15}{'of equity':>14}", "muted")]]
        equity = float(store.account.equity) or 1.0
        positions = sorted(
            store.positions.values(), key=lambda p: abs(p.market_value), reverse=True
        )
        cap = self._number("max_position_notional")
        for position in positions:
            value = float(position.market_value)
            part = abs(value) / cap if cap else abs(value) / equity
            lines.append(
                [
                    (f" {position.symbol:<14}", "bold"), (f"{text.money(value):>20}", ""),
                    (f"{text.share(abs(value) / equity * 100):>13}  ", "muted"),
                    (text.gauge(part, max(4, width - 54)), _ink(part)),
                ]
            )  # fmt: skip
        if not positions:
            lines.append([(" flat: nothing is held", "muted")])
        return lines

    def _reckoned(self) -> list[list[Span]]:
        """What the risk-manager says, by its own reckoning."""
        risk = self.store.risk
        lines: list[list[Span]] = [[], [(" RISK MANAGER", TITLE)]]
        if risk is None:
            return [*lines, [(" has not reckoned yet", "muted")]]
        trouble = self.store.trouble("risk")
        if trouble is not None:
            silent = text.duration(self.store.now() - trouble.since)
            lines[-1].append((f"  {trouble.state.value} {silent}: these are old", "warning"))
        for label, value, note in (
            ("Loss of a bad day", text.money(risk.var_95), "19 days of 20 lose less (VaR 95)"),
            ("Gross exposure", text.money(risk.gross_exposure), ""),
            ("Net exposure", text.money(risk.net_exposure), ""),
            ("Peak equity", text.money(risk.peak_equity),
             f"drawdown {text.share(risk.drawdown_pct)}"),
        ):  # fmt: skip
            lines.append([(f" {label:<18}", "muted"), (f"{value:>16}", "bold"),
                          (f"   {note}", "muted")])  # fmt: skip
        return lines

    def _number(self, key: str) -> float:
        try:
            return float(self.app.limits.get(key, 0) or 0)
        except (TypeError, ValueError):
            return 0.0

    def _limits(self) -> list[tuple[str, float, float, str]]:
        store = self.store
        account = store.account
        assert account is not None
        gross, _ = store.exposure()
        equity, before = float(account.equity), float(account.last_equity)
        waiting = store.open_orders()
        coming = self._coming()
        loss = max(0.0, (before - equity) / before * 100) if before else 0.0
        exposed = (float(gross) + sum(coming.values())) / equity * 100 if equity else 0.0
        peak = max(store.equity_peak, equity, float(store.risk.peak_equity) if store.risk else 0.0)
        drawdown = (peak - equity) / peak * 100 if peak else 0.0
        held = {p.symbol: abs(float(p.market_value)) for p in store.positions.values()}
        largest = max(
            (held.get(x, 0.0) + coming.get(x, 0.0) for x in {*held, *coming}), default=0.0
        )
        return [
            ("Gross, with orders", exposed, self._number("max_gross_exposure_pct"), "%"),
            ("Largest, with them", largest, self._number("max_position_notional"), "$"),
            ("Open orders", len(waiting), self._number("max_open_orders"), ""),
            ("Loss today", loss, self._number("max_daily_loss_pct"), "%"),
            ("Drawdown", drawdown, self._number("max_drawdown_pct"), "%"),
        ]  # fmt: skip

    def _coming(self) -> dict[str, float]:
        """By symbol, what the open orders add that make it larger."""
        store = self.store
        coming: dict[str, float] = {}
        for order in store.open_orders():
            position = store.positions.get(order.symbol)
            held = position.qty if position is not None else Decimal(0)
            if order.state is OrderState.HELD or held * (1 if order.side is Side.BUY else -1) < 0:
                continue
            coming[order.symbol] = coming.get(order.symbol, 0.0) + _worth(order)
        return coming

    def _bar(self, label: str, value: float, cap: float, unit: str, width: int) -> list[Span]:
        def show(number: float) -> str:
            return {"%": text.share(number), "$": text.whole_money(number)}.get(unit, f"{number:g}")

        part = value / cap if cap else 0.0
        spans: list[Span] = [
            (f" {label:<18}", "muted"), (f"{show(value):>16}", "bold"),
            (f"{show(cap) if cap else text.NOTHING:>14}  ", "muted"),
        ]  # fmt: skip
        if cap:
            bar = max(4, width - 57)
            spans += [
                (text.gauge(part, bar), _ink(part)),
                (f"{part * 100:4.0f}%", _ink(part) if part >= 0.7 else "muted"),
            ]
        return spans


def _worth(order: OrderView) -> float:
    """What is not filled yet, at its price; a market order is about to be a position."""
    price = order.limit_price or order.stop_price
    if order.qty is None or price is None:
        return float(order.notional or 0)
    return float((order.qty - order.filled_qty) * price)


def _ink(part: float) -> str:
    return "error" if part >= 1 else "warning" if part >= 0.7 else "volume"


class RiskScreen(ConsoleScreen):
    def body(self) -> ComposeResult:
        self.page = Risk()
        yield self.page

    def on_mount(self) -> None:
        self.page.focus()
