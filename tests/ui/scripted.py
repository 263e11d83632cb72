"""A link that plays an engine: recorded prices, a small account, and answers to every command.

It follows the engine's rules as far as a face can see them: an order passes a check, is
acknowledged, works or fills, and every change comes as a numbered event.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from console.engine import commands as c
from console.engine import events as e
from console.engine import state as s
from console.engine.curve import EquityPoint

START = datetime(2013, 10, 8, 14, 59, tzinfo=UTC)
NOW = 1000.0
"""The frozen monotonic clock of the tests."""
FEATURES = ("rsi_14", "realized_vol_20")
SYMBOLS = ("SPY", "IBM", "BAC", "AIG")
MAX_QTY = Decimal(899)


def recorded() -> dict[str, list[tuple[int, float, float, float, float, float]]]:
    """Symbol → bars (time ns, open, high, low, close, volume) of a morning in 2013."""
    bars: dict[str, list[tuple[int, float, float, float, float, float]]] = {x: [] for x in SYMBOLS}
    with (Path(__file__).parent / "recorded_bars.csv").open() as file:
        for row in csv.DictReader(file):
            at = int(datetime.fromisoformat(row["timestamp"]).timestamp()) * 10**9
            prices = [float(row[x]) for x in ("open", "high", "low", "close", "volume")]
            bars[row["symbol"]].append((at, *prices))  # type: ignore[arg-type]
    return bars


@dataclass(frozen=True)
class Frame:
    """Has the attributes of `signal_bridge.FeedFrame`."""

    number: int
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    last: Any
    bid: Any
    ask: Any
    bid_size: Any
    ask_size: Any
    day_open: Any
    day_high: Any
    day_low: Any
    day_volume: Any
    previous_close: Any
    quote_at: Any
    last_at: Any
    market_at: Any
    features: Any
    sparks: Any
    received: int = 41_200
    gaps: int = 0
    malformed: int = 0
    rate: float = 412.0
    message_at: float = NOW
    state: str = "connected"

    def changed_since(self, other: Frame | None) -> Any:
        return np.ones(len(self.symbols), bool) if other is None else self.last != other.last


def frame(number: int = 1, *, ages: dict[str, float] | None = None, now: float = NOW) -> Frame:
    """The recorded morning as of its last bar; `ages` makes quotes of some symbols older."""
    bars = recorded()
    n = len(SYMBOLS)
    last = np.array([bars[x][-1][4] for x in SYMBOLS]) + 0.01 * (number - 1)
    half = np.array([0.01, 0.015, 0.01, 0.01])
    sparks = np.full((n, 32), np.nan)
    for i, symbol in enumerate(SYMBOLS):
        closes = [bar[4] for bar in bars[symbol][-32:]]
        sparks[i, 32 - len(closes) :] = closes
    at = np.array([now - (ages or {}).get(x, 0.4) for x in SYMBOLS])
    features = np.array([[38.9, 2.2e-4], [61.2, 4.1e-4], [52.0, 6.8e-4], [47.7, 5.0e-4]])
    return Frame(
        number=number,
        symbols=SYMBOLS,
        feature_names=FEATURES,
        last=last,
        bid=np.round(last - half, 2),
        ask=np.round(last + half, 2),
        bid_size=np.full(n, 300.0),
        ask_size=np.full(n, 500.0),
        day_open=np.array([bars[x][0][1] for x in SYMBOLS]),
        day_high=last + 1,
        day_low=last - 1,
        day_volume=np.array([sum(b[5] for b in bars[x]) for x in SYMBOLS]),
        previous_close=np.array([bars[x][0][1] for x in SYMBOLS])
        * np.array([1.001, 0.997, 1.0, 1.004]),
        quote_at=at,
        last_at=at,
        market_at=np.full(n, START.timestamp()),
        features=features,
        sparks=sparks,
    )


def order(number: int, **changes: Any) -> s.OrderView:
    """A working limit order, changed as asked."""
    base = s.OrderView(
        client_order_id=f"tc-{number:04d}",
        id=f"b-{number}",
        symbol="IBM",
        side=s.Side.BUY,
        order_type=s.OrderType.LIMIT,
        time_in_force=s.TimeInForce.DAY,
        qty=Decimal(50),
        limit_price=Decimal("181.10"),
        state=s.OrderState.WORKING,
        created_at=START - timedelta(minutes=30 - number),
        updated_at=START,
    )
    return msgspec.structs.replace(base, **changes)


def position(symbol: str, qty: int, average: str, price: str) -> s.PositionView:
    q, a, p = Decimal(qty), Decimal(average), Decimal(price)
    return s.PositionView(
        symbol=symbol,
        qty=q,
        side="long" if q > 0 else "short",
        avg_entry_price=a,
        current_price=p,
        market_value=q * p,
        cost_basis=q * a,
        unrealized_pl=q * (p - a),
        unrealized_pl_pct=(p / a - 1) * 100 * (1 if q > 0 else -1),
        day_pl=q * (p - a),
    )


def account(equity: str = "100412.18") -> s.AccountView:
    return s.AccountView(
        equity=Decimal(equity),
        last_equity=Decimal("100000.00"),
        cash=Decimal("63518.90"),
        buying_power=Decimal("163931.08"),
        long_market_value=Decimal("36893.28"),
        short_market_value=Decimal(0),
        day_pl=Decimal(equity) - 100000,
        day_pl_pct=(Decimal(equity) / 1000 - 100),
        multiplier=Decimal(2),
    )


def connection(name: str, **changes: Any) -> s.ConnectionView:
    base = s.ConnectionView(
        name=name,
        state=s.ConnectionState.CONNECTED,
        since=NOW - 300,
        last_seen=NOW - 0.2,
        latency_ms={"broker": 3.4}.get(name),
    )
    return msgspec.structs.replace(base, **changes)


def fill(
    symbol: str, side: s.Side, qty: int, price: str, minutes_ago: int, of: str = "tc-0"
) -> s.FillView:
    at = Decimal(price)
    return s.FillView(
        client_order_id=of, execution_id=f"x-{minutes_ago}", symbol=symbol, side=side,
        qty=Decimal(qty), price=at, at=START - timedelta(minutes=minutes_ago),
        bid=at - Decimal("0.02"), ask=at,
    )  # fmt: skip


def view(**changes: Any) -> s.EngineView:
    """A busy morning: two positions, orders in several states, everything connected."""
    full = {
        "seq": 10,
        "mode": "DEMO",
        "ready": True,
        "trading_state": s.TradingState.ACTIVE,
        "account": account(),
        "positions": (position("IBM", 100, "178.19", "182.31"), position("SPY", 112, "165.50", "165.48")),
        "orders": (
            order(1, order_type=s.OrderType.MARKET, limit_price=None, state=s.OrderState.FILLED,
                  qty=Decimal(100), filled_qty=Decimal(100), filled_avg_price=Decimal("178.19")),
            order(2, symbol="BAC", side=s.Side.SELL, state=s.OrderState.REJECTED, limit_price=Decimal("13.80"),
                  reason="insufficient qty available for order (requested: 50, available: 0)"),
            order(3, state=s.OrderState.CANCELED, symbol="SPY", limit_price=Decimal("164.90")),
            order(11, state=s.OrderState.PARTIAL, filled_qty=Decimal(20), limit_price=Decimal("181.55"),
                  time_in_force=s.TimeInForce.GTC, order_class=s.OrderClass.BRACKET),
            order(12, source="signal:momentum"),
        ),
        "session": s.SessionView(
            market_time=START, as_of=NOW, speed=10.0, is_open=True,
            next_open=START + timedelta(hours=22, minutes=31), next_close=START + timedelta(hours=5, minutes=1),
        ),
        "connections": (connection("feed"), connection("broker"), connection("updates"), connection("risk")),
        "services": (
            s.ServiceView(name="market-data", status="healthy", message="4 symbols", port=8081,
                          metrics={"messages_total": "41200", "gaps": "0", "uptime_seconds": "312"}),
            s.ServiceView(name="execution-engine", status="healthy", message="no signals yet", port=8082),
            s.ServiceView(name="risk-manager", status="degraded", message="no account seen for 8 s", port=8083),
            s.ServiceView(name="paper-exchange", status="healthy", message="playing 2013-10-08", port=8090),
        ),
        "fills": (fill("IBM", s.Side.BUY, 100, "178.19", 29, "tc-0001"), fill("SPY", s.Side.BUY, 112, "165.50", 21)),
        "risk": s.RiskView(
            equity=Decimal("100412.18"), peak_equity=Decimal("100655.40"), drawdown_pct=Decimal("0.24"),
            gross_exposure=Decimal("36764.76"), net_exposure=Decimal("36764.76"), var_95=Decimal("611.20"),
        ),
        "equity": tuple(
            EquityPoint(START - timedelta(minutes=89 - minute), Decimal(f"{100_000 + 5 * minute - 40 * (minute % 17):.2f}"))
            for minute in range(89)
        ),
    }  # fmt: skip
    return s.EngineView(**{**full, **changes})


def empty_view(**changes: Any) -> s.EngineView:
    """A fresh account."""
    empty = {"positions": (), "orders": (), "fills": (), "account": account("100000.00")}
    return view(**{**empty, **changes})


@dataclass
class ScriptedLink:
    """A `Link`. What was asked is in `requests`; `refuse` and `outcome` change its mind."""

    start: s.EngineView | None = field(default_factory=view)
    first_frame: Frame | None = field(default_factory=frame)
    refuse: tuple[s.Refusal, ...] = ()
    outcome: c.Outcome = c.Outcome.ACCEPTED
    fills: bool = True
    requests: list[c.AnyCommand] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.seq = self.start.seq if self.start is not None else 0
        self._on_event: Callable[[Any], None] | None = None
        self._bars = recorded()
        self._count = 100
        self._answered: dict[str, c.Ack] = {}
        """As the engine's: the same id again gets the same answer."""

    # -- the Link protocol -------------------------------------------------------------------

    async def request(self, command: c.AnyCommand, *, timeout_s: float | None = None) -> c.Ack:
        self.requests.append(command)
        if command.id in self._answered:
            return self._answered[command.id]
        ack = self._answered[command.id] = self._answer(command)
        return ack

    def _answer(self, command: c.AnyCommand) -> c.Ack:
        match command:
            case c.SubmitOrder(preview=True):
                return c.Ack(id=command.id, outcome=c.Outcome.ACCEPTED, risk=self.report(command))
            case c.SubmitOrder():
                return self._submit(command)
            case c.CancelOrder():
                known = self._order(command.client_order_id)
                if known is not None:
                    self.emit(
                        e.OrderChanged(
                            order=msgspec.structs.replace(known, state=s.OrderState.CANCELED)
                        )
                    )
            case c.GetState():
                return c.Ack(id=command.id, outcome=c.Outcome.ACCEPTED, state=self.start)
            case c.GetOrder():
                return self._story(command)
            case c.Flatten():
                self.emit(
                    e.TradingStateChanged(
                        trading_state=s.TradingState.HALTED, reason="kill switch", source="keyboard"
                    )
                )
                self.emit(e.PositionsChanged(positions=()))
        if self.refuse:
            return c.Ack(id=command.id, outcome=c.Outcome.REFUSED, refusals=self.refuse)
        return c.Ack(id=command.id, outcome=self.outcome, message="done")

    def listen(self, on_event: Callable[[Any], None]) -> Callable[[], None]:
        self._on_event = on_event
        if self.start is not None:
            on_event(e.Snapshot(state=self.start))
        if self.first_frame is not None:
            on_event(e.MarketFrame(self.first_frame))  # type: ignore[arg-type]

        def unlisten() -> None:
            self._on_event = None

        return unlisten

    async def close(self) -> None:
        self.closed = True

    def bars(self, symbol: str) -> tuple[Any, ...] | None:
        rows = self._bars.get(symbol)
        return None if not rows else tuple(np.array(column) for column in zip(*rows, strict=True))

    # -- the engine's part -------------------------------------------------------------------

    def emit(self, event: Any) -> None:
        """Send an event, numbered as the next one."""
        if not isinstance(event, e.MarketFrame):
            self.seq += 1
            event = msgspec.structs.replace(event, seq=self.seq)
        if self._on_event is not None:
            self._on_event(event)

    def _order(self, client_order_id: str) -> s.OrderView | None:
        orders = self.start.orders if self.start is not None else ()
        return next((o for o in orders if o.client_order_id == client_order_id), None)

    def report(self, command: c.SubmitOrder) -> s.RiskReport:
        row = SYMBOLS.index(command.symbol) if command.symbol in SYMBOLS else None
        if row is None:
            refusal = s.Refusal(check="symbol", limit="tradable", value=command.symbol,
                                message=f"{command.symbol} is not tradable", remedy="choose another symbol")  # fmt: skip
            return s.RiskReport(allowed=False, refusals=(refusal,), checks_run=14)
        assert self.first_frame is not None
        price = command.limit_price or Decimal(str(round(float(self.first_frame.ask[row]), 2)))
        qty = command.qty or Decimal(10)
        if qty > MAX_QTY:
            refusal = s.Refusal(check="max_order_qty", limit=str(MAX_QTY), value=str(qty),
                                message=f"{qty} shares are more than an order may have",
                                remedy=f"order up to {MAX_QTY}, or raise [risk] max_order_qty")  # fmt: skip
            return s.RiskReport(allowed=False, refusals=(refusal,), checks_run=14, max_qty=MAX_QTY)
        return s.RiskReport(
            allowed=True,
            checks_run=14,
            price=price,
            qty=qty,
            notional=qty * price,
            equity_pct=qty * price / Decimal("100412.18") * 100,
            buying_power_after=Decimal("163931.08") - qty * price,
            spread_cost=qty * Decimal("0.015"),
            loss_at_stop=qty * price / 100 if command.stop_loss is not None else None,
            max_qty=MAX_QTY,
        )

    def _submit(self, command: c.SubmitOrder) -> c.Ack:
        report = self.report(command)
        refusals = self.refuse or report.refusals
        if refusals:
            return c.Ack(id=command.id, outcome=c.Outcome.REFUSED, refusals=refusals, risk=report)
        if self.outcome is not c.Outcome.ACCEPTED:
            return c.Ack(id=command.id, outcome=self.outcome, message="no answer from the broker")
        self._count += 1
        new = order(
            self._count,
            symbol=command.symbol,
            side=command.side,
            order_type=command.order_type,
            qty=command.qty,
            limit_price=command.limit_price,
            created_at=START,
            state=s.OrderState.ACK,
        )
        self.emit(e.OrderChanged(order=new))
        if self.fills and command.order_type is s.OrderType.MARKET:
            assert report.price is not None
            assert command.qty is not None
            filled = msgspec.structs.replace(
                new,
                state=s.OrderState.FILLED,
                filled_qty=command.qty,
                filled_avg_price=report.price,
            )
            self.emit(e.OrderFilled(client_order_id=new.client_order_id, execution_id=f"x{self._count}",
                                    symbol=new.symbol, side=new.side, qty=command.qty, price=report.price,
                                    at=START, bid=report.price - Decimal("0.03"), ask=report.price))  # fmt: skip
            self.emit(e.OrderChanged(order=filled))
        return c.Ack(id=command.id, outcome=c.Outcome.ACCEPTED, order=new, risk=report)

    def _story(self, command: c.GetOrder) -> c.Ack:
        known = self._order(command.order_id) or order(1)
        steps = (
            ("checked", "20 checks pass; 9,077.50 is 9.0 % of equity"),
            ("order", "sending: buy 50 IBM limit 181.55 gtc"),
            ("update", "pending new"),
            ("order", "the broker: pending_new"),
            ("update", "new"),
            ("order", "the broker: new"),
            ("update", "partial fill: 20 at 181.55"),
            ("order", "the broker: partial_fill"),
            ("fill", "buy 20 IBM at 181.55"),
        )
        story = tuple(
            s.StoryLine(
                seq=i,
                at=START + timedelta(milliseconds=40 * i),
                kind=kind,
                text=words,
                market_time=START,
            )
            for i, (kind, words) in enumerate(steps, start=1)
        )
        return c.Ack(id=command.id, outcome=c.Outcome.ACCEPTED, order=known, story=story)
