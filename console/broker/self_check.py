"""`python -m console.broker.alpaca_paper_trading`: the client at work, on real answers.

With ALPACA_API_KEY and ALPACA_SECRET_KEY it asks that paper account and sends nothing; without, it
starts an exchange of its own on the recorded prices and trades there.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path

import console
from console.broker.alpaca_paper_trading import AlpacaPaperTrading
from console.broker.credentials import KEY_VARIABLE, SECRET_VARIABLE, URL_VARIABLE
from console.broker.endpoint import HostRefused
from console.broker.errors import BrokerError
from console.broker.models import OrderInfo, OrderType, TimeFrame
from console.broker.orders import OrderInvalid

_LIMIT_S = 20.0


def main() -> int:
    """0, or 1 and the reason in one line."""
    try:
        if any(os.environ.get(name) for name in (KEY_VARIABLE, SECRET_VARIABLE, URL_VARIABLE)):
            with AlpacaPaperTrading() as client:
                _look(client, "SPY")
        else:
            print(f"{KEY_VARIABLE} is not set: an exchange of our own, on the recorded prices")
            _with_own_exchange()
    except (BrokerError, HostRefused, OrderInvalid, TimeoutError, RuntimeError) as error:
        print(f"the broker's client does not work: {error}", file=sys.stderr)
        return 1
    return 0


def _with_own_exchange() -> None:
    from signal_bridge import Service

    settings = {
        "host": "127.0.0.1",
        "port": 0,
        "data_dir": str(Path(console.__file__).parent / "sample"),
        "state_dir": None,
        "partial_fills": False,
        "paused": True,
    }
    exchange = Service.start("paper-exchange", json.dumps(settings))
    try:
        url = f"http://127.0.0.1:{exchange.ports['exchange']}"

        def step(seconds: float) -> None:
            exchange.call(json.dumps({"step_s": seconds}))

        step(120)
        with AlpacaPaperTrading("PKDEMO", "demo", base_url=url, requests_per_minute=0) as client:
            _look(client, "IBM")
            _trade(client, step)
    finally:
        exchange.stop()


def _look(client: AlpacaPaperTrading, symbol: str) -> None:
    """What only reads, and an order that is checked and not sent."""
    metrics = client.get_portfolio_metrics()
    print(
        f"{client.base_url}: equity {metrics.total_equity}, cash {metrics.cash}, "
        f"buying power {metrics.buying_power} at {metrics.timestamp:%Y-%m-%d %H:%M:%S}Z"
    )
    quote = client.get_latest_quote(symbol)
    print(f"{symbol}: bid {quote.bid_price} × {quote.bid_size}, ask {quote.ask_price}")
    for timeframe, bars in client.get_bars_over_timeframes(
        symbol, (TimeFrame.MINUTE, TimeFrame.FIVE_MINUTES, TimeFrame.DAY), limit=3
    ).items():
        closes = ", ".join(str(bar.close) for bar in bars) or "none yet"
        print(f"{symbol} {timeframe}: closes {closes}")
    checked = client.place_order(
        symbol=symbol,
        qty=10,
        side="buy",
        order_type=OrderType.LIMIT,
        limit_price=max(round(float(quote.ask_price) * 0.9, 2), 1.0),
        validate_only=True,
    )
    print(f"checked, not sent: {_line(checked)}")
    risk = client.get_risk_metrics()
    print(f"risk: gross exposure {risk.gross_exposure}, leverage {risk.leverage:.2f}")


def _trade(client: AlpacaPaperTrading, step: Callable[[float], None]) -> None:
    """Buy, watch, cancel and close on an exchange that is ours."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    client.start_streaming(lambda update: told.put(str(update.get("event"))))
    order = client.place_order(symbol="IBM", qty=10, side="buy")
    filled = _until(lambda: client.get_order_status(order.id), "filled", step)
    print(f"sent: {_line(filled)} at {filled.filled_avg_price}")
    resting = client.place_order(
        symbol="IBM", qty=5, side="buy", order_type=OrderType.LIMIT, limit_price=1.0
    )
    client.cancel_order(resting.id)
    canceled = _until(lambda: client.get_order_status(resting.id), "canceled", step)
    print(f"sent and canceled: {_line(canceled)}")
    for position in client.get_positions():
        print(
            f"held: {position.qty} {position.symbol} {position.side} from "
            f"{position.avg_entry_price}, now {position.current_price}"
        )
    closing = client.close_position("IBM")
    _until(lambda: client.get_order_status(closing.id), "filled", step)
    if client.get_positions():
        raise RuntimeError("the position is still there after it was closed")
    events: list[str] = []
    while events.count("fill") < 2 or "canceled" not in events:
        try:
            events.append(told.get(timeout=_LIMIT_S))
        except queue.Empty:
            said = ", ".join(events) or "nothing"
            raise TimeoutError(f"trade updates told {said}, not two fills and a cancel") from None
    client.stop_streaming()
    print(f"flat again; trade updates: {', '.join(events)}")


def _until(ask: Callable[[], OrderInfo], status: str, step: Callable[[float], None]) -> OrderInfo:
    deadline = time.monotonic() + _LIMIT_S
    while (order := ask()).status != status:
        if time.monotonic() > deadline:
            raise TimeoutError(f"order {order.id} is {order.status}, not {status}")
        step(1)
    return order


def _line(order: OrderInfo) -> str:
    price = f" at {order.limit_price}" if order.limit_price is not None else ""
    return f"{order.side} {order.qty} {order.symbol} {order.order_type}{price}: {order.status}"
