"""Alpaca paper trading through alpaca-py: orders, account, data and streams.

Two layers, and nothing of alpaca-py shows through either:

- `AlpacaPaperTrading` is the client for a person or a script: named arguments in, `Decimal`
  dataclasses out, every order validated before it leaves.
- `BrokerSession` (`console.broker.session`) is what the engine works with: one blocking call for
  each request of the broker's API, answered by the parsed JSON itself. Whole numbers arrive as
  `int`, all others as `Decimal` or as the text that the broker sent; nothing passes through a
  float. Any thread may call it: each gets its own connection.

      session = BrokerSession(settings.endpoint)         # no network yet, alpaca-py not yet
      imported account = session.account()                        # the first call imports alpaca-py
      (~1 s) order = session.submit_order({"client_order_id": …, "symbol": "IBM", "qty": "10", …})

  submit_order replace_order cancel_order cancel_all_orders close_position close_all_positions
  order order_by_client_id orders · account positions position activities portfolio_history
  clock calendar asset assets · latest_quotes latest_trades latest_bars snapshots bars · close

- `TradeUpdates` and `MarketUpdates` (`console.broker.streams`) are the websockets: `await run()` in
  the owner's event loop, raw messages to a callback, state changes to another.

Every failure is a `BrokerError` (`console.broker.errors` draws the tree). The two that matter most:
`BrokerRefused` means that the broker said no, and nothing happened; `OutcomeUnknown` that the
request may have reached it, and only a look-up can tell. Nothing but reads is ever sent twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.broker.alpaca_paper_trading import AlpacaPaperTrading as AlpacaPaperTrading
    from console.broker.endpoint import Endpoint as Endpoint
    from console.broker.errors import (
        BrokerAuthError as BrokerAuthError,
    )
    from console.broker.errors import (
        BrokerError as BrokerError,
    )
    from console.broker.errors import (
        BrokerNotFound as BrokerNotFound,
    )
    from console.broker.errors import (
        BrokerRateLimited as BrokerRateLimited,
    )
    from console.broker.errors import (
        BrokerRefused as BrokerRefused,
    )
    from console.broker.errors import (
        BrokerUnavailable as BrokerUnavailable,
    )
    from console.broker.errors import (
        DuplicateOrderId as DuplicateOrderId,
    )
    from console.broker.errors import (
        OutcomeUnknown as OutcomeUnknown,
    )
    from console.broker.models import (
        BarInfo as BarInfo,
    )
    from console.broker.models import (
        OrderInfo as OrderInfo,
    )
    from console.broker.models import (
        OrderType as OrderType,
    )
    from console.broker.models import (
        PortfolioMetrics as PortfolioMetrics,
    )
    from console.broker.models import (
        PositionInfo as PositionInfo,
    )
    from console.broker.models import (
        QuoteInfo as QuoteInfo,
    )
    from console.broker.models import (
        RiskMetrics as RiskMetrics,
    )
    from console.broker.models import (
        TimeFrame as TimeFrame,
    )
    from console.broker.session import BrokerSession as BrokerSession
    from console.broker.streams import (
        MarketUpdates as MarketUpdates,
    )
    from console.broker.streams import (
        StreamState as StreamState,
    )
    from console.broker.streams import (
        TradeUpdates as TradeUpdates,
    )

_HOMES = {
    "AlpacaPaperTrading": "alpaca_paper_trading",
    "Endpoint": "endpoint",
    "BrokerSession": "session",
    "TradeUpdates": "streams",
    "MarketUpdates": "streams",
    "StreamState": "streams",
} | {
    name: home
    for home, names in {
        "models": "BarInfo OrderInfo OrderType PortfolioMetrics PositionInfo QuoteInfo RiskMetrics "
        "TimeFrame",
        "errors": "BrokerAuthError BrokerError BrokerNotFound BrokerRateLimited BrokerRefused "
        "BrokerUnavailable DuplicateOrderId OutcomeUnknown",
    }.items()
    for name in names.split()
}
__all__ = tuple(sorted(_HOMES))


def __getattr__(name: str) -> object:
    """Load a name's module on first use: the websockets need not wait for the REST client's."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
