"""Rust for Python: features, the feed receiver, the risk gate and the embedded services."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from os import PathLike
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Floats = NDArray[np.float64]

# ── features ───────────────────────────────────────────────────────────────────────────────────

STANDARD_FEATURES: tuple[str, ...]
"""Names of the full set, in the order in which the numbers come."""

@final
class Bar:
    """One bar of a symbol; `timestamp` is its start, in ns since the epoch."""

    def __new__(
        cls,
        symbol: str,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
        timestamp: int,
    ) -> Bar: ...
    @property
    def symbol(self) -> str: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def timestamp(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@disjoint_base
class FeatureComputer:
    """Computes a chosen set of features, bar by bar or for whole series.

    `names` are names of `STANDARD_FEATURES`, or the same with other windows (`sma_50`, `rsi_7`,
    `macd_5_35_5`); without them it is the full set. An unknown name or an impossible window is a
    ValueError. Numbers are NaN until enough bars were seen. A bar whose high, low, close or volume
    isn't finite is a ValueError and changes nothing. No feature looks at the open.

    Calls from several threads follow one another while they hold the GIL; `compute_batch` leaves it
    and touches no streaming state.
    """

    def __new__(cls, names: Sequence[str] | None = None) -> Self: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols seen so far, sorted."""

    def bars_seen(self, symbol: str) -> int:
        """How many bars of the symbol were taken in."""

    def compute_streaming(self, bar: Bar) -> dict[str, float]:
        """Takes in the symbol's next bar and gives every number by its name."""

    def update_into(self, bar: Bar, out: _Floats) -> None:
        """As `compute_streaming`, written into `out`: float64, contiguous, one number a name."""

    def update_many(self, bars: Sequence[Bar], out: _Floats) -> None:
        """Takes in many bars, of any symbols, in their order; `out` is (bars, features)."""

    def compute_batch(
        self,
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
        out: _Floats | None = None,
    ) -> _Floats:
        """A series from its first bar, (features, bars), without the GIL and without a copy.

        The columns are contiguous float64 of one length; `out`, if given, has the result's shape
        and is returned. The numbers are those that streaming gives, to the bit.
        """

    def compute_many(
        self,
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
        out: _Floats | None = None,
        *,
        layout: Literal["symbol_bar", "bar_symbol"] = "symbol_bar",
        threads: int = 1,
    ) -> _Floats:
        """As `compute_batch` for many symbols, (symbols, features, bars), shared out to `threads`.

        The columns are contiguous float64 of one shape: (symbols, bars), or (bars, symbols) with
        `layout="bar_symbol"`.
        """

    def snapshot(self) -> bytes:
        """The state of all symbols, for `restore` of a computer with the same names."""

    def restore(self, snapshot: bytes) -> None:
        """Takes up a snapshot in place of the present state; ValueError if it doesn't fit."""

    def reset(self, symbol: str | None = None) -> None:
        """Forgets what was seen of one symbol, or of all."""

# ── microstructure ─────────────────────────────────────────────────────────────────────────────

QUOTE_FEATURES: tuple[str, ...]
"""Numbers of a quote, which a feed shows as columns beside the features of bars.

- `spread` (dollars): ask − bid; `spread_bp`: that in basis points of the middle.
- `mid` (dollars): (bid + ask)/2.
- `microprice` (dollars): (bid·ask_size + ask·bid_size)/(bid_size + ask_size) (Stoikov 2018).
- `imbalance` (−1 to 1): (bid_size − ask_size)/(bid_size + ask_size).
- `ofi` (shares): order flow imbalance against the quote before (Cont, Kukanov, Stoikov 2014).
"""

TRADE_FEATURES: tuple[str, ...]
"""Numbers after a trade; `mid` is the middle that stood when it traded.

- `trade_sign`: 1 bought, −1 sold by the aggressor: price against mid, at the mid against the last
  different price, 0 before any (Lee and Ready 1991).
- `effective_spread` (dollars), `effective_spread_bp`: 2·sign·(price − mid).
- `realised_spread` (dollars), `realised_spread_bp`: 2·sign·(price − mid after `delay_s`), of the
  newest trade old enough (Huang and Stoll 1996).
- `kyle_lambda` (dollars a share): cov(Δmid, sign·size)/var(sign·size) (Kyle 1985).
- `amihud` (1/dollars): mean of |log return|/(price·size) (Amihud 2002).
- `roll_spread` (dollars): 2·√−cov(Δp, Δp before), 0 where the covariance is positive (Roll 1984).
- `vpin` (0 to 1): mean |bought − sold|/`bucket_volume` over the last `buckets` buckets of equal
  volume (Easley, López de Prado, O'Hara 2012); bought and sold by `trade_sign`.
- `trade_intensity` (trades a second): Σ exp(−age/`decay_s`)/`decay_s` over all trades.
- `realised_variance`: Σ r² of log returns from trade to trade (Andersen, Bollerslev 1998).
- `bipower_variation`: π/2·Σ|r||r before| (Barndorff-Nielsen, Shephard 2004).
"""

@final
class Microstructure:
    """Quotes and trades of one symbol, in the order of time, to the numbers above.

    `window` is how many trades (or pairs of them) the windowed measures reach back. Numbers are NaN
    until there is enough to make them. Settings that can't be and numbers that aren't finite are a
    ValueError. Timestamps are ns since the epoch.
    """

    def __new__(
        cls,
        *,
        window: int = 50,
        bucket_volume: float = 10_000.0,
        buckets: int = 50,
        delay_s: float = 5.0,
        decay_s: float = 60.0,
    ) -> Microstructure: ...
    def update_quote(
        self, bid: float, bid_size: float, ask: float, ask_size: float, timestamp: int
    ) -> dict[str, float]:
        """Takes in a quote that stands from `timestamp` on; gives `QUOTE_FEATURES`."""

    def update_trade(self, price: float, size: float, timestamp: int) -> dict[str, float]:
        """Takes in a trade; gives `TRADE_FEATURES`."""

    def values(self) -> dict[str, float]:
        """The newest numbers of both."""

    def reset(self) -> None:
        """Forgets all events."""

    def compute_batch(
        self,
        quote_timestamps: NDArray[np.int64],
        bid: _Floats,
        bid_size: _Floats,
        ask: _Floats,
        ask_size: _Floats,
        trade_timestamps: NDArray[np.int64],
        price: _Floats,
        size: _Floats,
    ) -> tuple[_Floats, _Floats]:
        """(QUOTE_FEATURES, quotes) and (TRADE_FEATURES, trades) of whole series, without the GIL.

        Merged by time, a quote before a trade of the same moment; the numbers are those that
        streaming gives, to the bit. Streaming state isn't touched.
        """

# ── the feed ───────────────────────────────────────────────────────────────────────────────────

def check_feed_features(names: Sequence[str]) -> None:
    """Raises the ValueError that a `FeedReceiver` with these `features` would raise."""

@final
class FeedReceiver:
    """Receives the market bus on a thread of its own, without the GIL, and keeps what it says.

    `endpoint` is the publisher's address; it need not be there yet. `features` are names that
    `FeatureComputer` takes and names of `QUOTE_FEATURES`: the columns of a frame. `history` is how
    many bars are kept a symbol, `high_water_mark` how many messages wait at most. With
    `stale_after_s` seconds without a message the state is `stale`. For CURVE give `secret_key` and
    the publisher's public `server_key`, both Z85. Settings that can't be are a ValueError.

    It reconnects by itself, drops and counts what is malformed, and counts missing numbers. A bar
    that begins with its symbol's last one corrects the history alone; an older one is dropped.
    """

    def __new__(
        cls,
        endpoint: str,
        symbols: Sequence[str],
        *,
        features: Sequence[str],
        history: int,
        high_water_mark: int,
        stale_after_s: float,
        topic: str = "market",
        secret_key: str | None = None,
        server_key: str | None = None,
    ) -> FeedReceiver: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None:
        """Starts the thread, once. RuntimeError if it can't be."""

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the thread and joins it; RuntimeError if that takes longer."""

    def frame(self, now: float) -> FeedFrame:
        """Everything known at `now = time.monotonic()`; some microseconds, whatever the traffic."""

    def bars(
        self, symbol: str
    ) -> tuple[NDArray[np.int64], _Floats, _Floats, _Floats, _Floats, _Floats]:
        """Timestamps (ns), open, high, low, close and volume of the bars kept, oldest first.

        The bar that trades are still making comes last. KeyError for a symbol not followed.
        """

    def seed(
        self,
        symbol: str,
        timestamps: NDArray[np.int64],
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
    ) -> None:
        """Warms a symbol up from recorded bars, oldest first, in place of what was gathered.

        Live bars later than the last of them are kept. ValueError for bars out of order or not
        finite, KeyError for a symbol not followed.
        """

    def stats(self) -> dict[str, int]:
        """Counts since the start: received, bars, quotes, trades, heartbeats, ignored, late,
        malformed, gaps, restarts, reconnects, bytes."""

@final
class FeedFrame:
    """What a feed knew at one moment. Arrays are read-only, one value a symbol, NaN if unknown."""

    @property
    def number(self) -> int:
        """Grows when something changed."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def versions(self) -> NDArray[np.uint64]:
        """By symbol, grows with its every change."""

    @property
    def last(self) -> _Floats:
        """The newest trade's price, or the newest bar's close if that ended later."""

    @property
    def bid(self) -> _Floats: ...
    @property
    def ask(self) -> _Floats: ...
    @property
    def bid_size(self) -> _Floats: ...
    @property
    def ask_size(self) -> _Floats: ...
    @property
    def day_open(self) -> _Floats:
        """Of the regular session of the newest date seen, as the three that follow."""

    @property
    def day_high(self) -> _Floats: ...
    @property
    def day_low(self) -> _Floats: ...
    @property
    def day_volume(self) -> _Floats: ...
    @property
    def previous_close(self) -> _Floats:
        """The last regular price of the date before, of those seen or seeded."""

    @property
    def quote_at(self) -> _Floats:
        """When the quote came, in seconds of `time.monotonic`."""

    @property
    def last_at(self) -> _Floats:
        """When `last` came, in seconds of `time.monotonic`; NaN while it is from a seed."""

    @property
    def market_at(self) -> _Floats:
        """Market time of the newest message, in seconds since the epoch."""

    @property
    def features(self) -> _Floats:
        """(symbols, feature_names)"""

    @property
    def sparks(self) -> _Floats:
        """(symbols, 32): the last closes, the newest last, NaN before."""

    @property
    def received(self) -> int: ...
    @property
    def gaps(self) -> int:
        """Messages that the publisher numbered and that never came."""

    @property
    def malformed(self) -> int: ...
    @property
    def rate(self) -> float:
        """Messages a second over the last second."""

    @property
    def message_at(self) -> float:
        """When the last message came, in seconds of `time.monotonic`; NaN if none ever did."""

    @property
    def state(self) -> Literal["connecting", "connected", "stale", "lost"]: ...
    def changed_since(self, other: FeedFrame | None) -> NDArray[np.bool_]:
        """Which symbols changed since an earlier frame of the same receiver; all for None."""

# ── the pre-trade gate ─────────────────────────────────────────────────────────────────────────

_Refusal = tuple[str, str, str, str, str]
_Side = Literal["buy", "sell"]
_OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
_Tif = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]

@final
class RiskGate:
    """Judges every order before it is sent, on what it is told of account, positions and orders.

    `limits` is the `[risk]` section as JSON (numbers or text), with `quote_stale_s` beside it; an
    unknown key or an impossible value is a ValueError that names it. Times are monotonic seconds,
    money is dollars. Open orders count as if they were filled; one in doubt also blocks its symbol.
    """

    def __new__(cls, limits: str) -> RiskGate: ...
    def set_limits(self, limits: str) -> None: ...
    def set_trading_state(
        self, state: Literal["ACTIVE", "REDUCING", "HALTED"], reason: str
    ) -> None: ...
    def set_session(self, is_open: bool) -> None:
        """Whether the regular session is open; until this is told, the market counts as closed."""

    def set_account(
        self,
        equity: Decimal,
        last_equity: Decimal,
        cash: Decimal,
        buying_power: Decimal,
        multiplier: Decimal,
    ) -> None:
        """The broker's figures; its buying power is taken to count in all orders and fills."""

    def set_position(self, symbol: str, qty: Decimal, price: Decimal) -> None:
        """The holding, signed; 0 removes it."""

    def set_quote(self, symbol: str, bid: float, ask: float, last: float, at: float) -> None:
        """Sides that are 0 or NaN are missing."""

    def set_order(
        self,
        client_order_id: str,
        symbol: str,
        side: _Side,
        open_qty: Decimal,
        price: Decimal | None,
        in_doubt: bool,
        order_type: _OrderType = "limit",
    ) -> None:
        """An order that is open or may be; told again, it replaces what was known."""

    def remove_order(self, client_order_id: str) -> None: ...
    def count_fill(
        self, client_order_id: str, symbol: str, side: _Side, qty: Decimal, price: Decimal
    ) -> None:
        """A fill that the account's figures may not know of yet.

        Told before the order and the position are: buying power stays reserved until the next
        figures, unless those at hand include the order.
        """
    @property
    def gross_exposure(self) -> Decimal:
        """Dollars at risk in all, open orders and those in doubt counted as filled."""

    def check(
        self,
        symbol: str,
        side: _Side,
        qty: Decimal,
        order_type: _OrderType,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        *,
        now: float,
        tif: _Tif = "day",
        extended_hours: bool = False,
        reduce_only: bool = False,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
        source: str = "",
        record: bool = True,
    ) -> RiskVerdict:
        """Judge one order. With `record` it counts for duplicates and the rate, if let through."""

@final
class RiskVerdict:
    """What the gate says of one order; amounts are None where they can't be reckoned."""

    @property
    def allowed(self) -> bool: ...
    @property
    def refusals(self) -> list[_Refusal]:
        """(check, limit, value, message, remedy) of every check that refused."""

    @property
    def warnings(self) -> list[_Refusal]: ...
    @property
    def checks_run(self) -> int: ...
    @property
    def price(self) -> Decimal | None: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def notional(self) -> Decimal | None: ...
    @property
    def equity_pct(self) -> Decimal | None: ...
    @property
    def buying_power_after(self) -> Decimal | None: ...
    @property
    def spread_cost(self) -> Decimal | None: ...
    @property
    def loss_at_stop(self) -> Decimal | None: ...
    @property
    def max_qty(self) -> Decimal | None: ...

# ── the services ───────────────────────────────────────────────────────────────────────────────

class ServiceError(RuntimeError):
    """A service that can't start, answer or stop: value, rule and remedy in one line."""

    exit_code: int
    """78 for settings and ports, else 70."""

@final
class Service:
    """A Rust service on its own thread. Keep the object: collected, it stops the service."""

    @staticmethod
    def start(name: str, settings: str, *, timeout_s: float = 10.0) -> Service:
        """Start `market-data`, `execution-engine`, `risk-manager` or `paper-exchange`.

        `settings` is JSON. Returns when the ports are bound; raises `ServiceError`.
        """

    @property
    def name(self) -> str: ...
    @property
    def ports(self) -> dict[str, int]: ...
    @property
    def alive(self) -> bool: ...
    @property
    def failure(self) -> str | None:
        """What it died of; None while it lives or after it was stopped."""

    def call(self, command: str, *, timeout_s: float = 5.0) -> str:
        """Send a command, JSON in and out; raises `ServiceError`."""

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Ask it to stop and wait until it has; raises `ServiceError` otherwise. Idempotent."""

def run_service(name: str, settings: str) -> None:
    """Run a service in this thread until it ends; a signal handler that raises drains it first."""

def start_log(level: str) -> None:
    """Keep the services' log lines from now on: debug, info, warning or error; or change that."""

def take_log(*, timeout_s: float) -> tuple[list[tuple[str, str, str, list[tuple[str, str]]]], int]:
    """The lines kept, as (level, source, message, [(name, value)]), and how many were dropped.

    Waits for the first one for `timeout_s` at most. Levels are those of `logging`.
    """

# ── strategies and backtests ───────────────────────────────────────────────────────────────────

NATIVE_STRATEGIES: list[str]
"""Names of the strategies that are written in Rust."""

def check_features(names: Sequence[str]) -> int:
    """Bars until all of these have a value; a ValueError for one that isn't known."""

@final
class SessionBar:
    """A finished minute bar, and where in its session it lies.

    `minute` counts whole minutes from the open to the bar's start (0 is the first, before the open
    it is negative), `minutes_left` from its end to the close. Both are −1 on a day without a
    session.
    """

    def __new__(
        cls,
        symbol: str,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
        timestamp: int,
    ) -> SessionBar: ...
    @property
    def symbol(self) -> str: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def timestamp(self) -> int:
        """When it began, ns since the epoch."""

    @property
    def end(self) -> int:
        """When it was over."""

    @property
    def minute(self) -> int: ...
    @property
    def minutes_left(self) -> int: ...
    @property
    def is_regular(self) -> bool:
        """Whether it lies between the session's open and its close."""

@final
class Quote:
    """A new best bid and offer; sizes in shares, `timestamp` in ns since the epoch."""

    def __new__(
        cls,
        symbol: str,
        bid: float,
        ask: float,
        bid_size: float,
        ask_size: float,
        timestamp: int,
    ) -> Quote: ...
    @property
    def symbol(self) -> str: ...
    @property
    def bid(self) -> float: ...
    @property
    def ask(self) -> float: ...
    @property
    def bid_size(self) -> float: ...
    @property
    def ask_size(self) -> float: ...
    @property
    def timestamp(self) -> int: ...

@final
class Fill:
    """An execution of one's own; `side` is buy or sell."""

    def __new__(cls, symbol: str, side: str, qty: float, price: float, timestamp: int) -> Fill: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def qty(self) -> float: ...
    @property
    def price(self) -> float: ...
    @property
    def timestamp(self) -> int: ...

@final
class Portfolio:
    """Cash, holdings and what they are worth, in dollars, as a strategy may know them.

    A KeyError names a symbol that isn't followed.
    """

    def __new__(cls, symbols: Sequence[str], cash: float = 0.0) -> Portfolio: ...
    @property
    def cash(self) -> float: ...
    @property
    def equity(self) -> float: ...
    @property
    def gross(self) -> float:
        """What is held, longs and shorts added up."""

    @property
    def symbols(self) -> list[str]: ...
    @property
    def positions(self) -> dict[str, float]:
        """Signed quantity by symbol, of what is held now."""

    def qty(self, symbol: str) -> float:
        """Shares held, negative when short, 0 when flat."""

    def avg_price(self, symbol: str) -> float:
        """Average price of what is held, NaN when flat."""

    def price(self, symbol: str) -> float:
        """The last print, NaN before the first."""

    def mark(self, symbol: str, price: float) -> None:
        """A new last price; `set_account` adds up. For those who run a strategy."""

    def hold(self, symbol: str, qty: float, avg_price: float) -> None:
        """What is held now; `set_account` adds up."""

    def set_account(self, cash: float, equity: float) -> None: ...

@final
class Recording:
    """A folder of recorded prices (docs/data.md), read once. A ValueError names what is wrong."""

    def __new__(cls, folder: str | PathLike[str]) -> Recording: ...
    @property
    def symbols(self) -> list[str]:
        """Those with minute bars, sorted."""

    @property
    def sessions(self) -> list[str]:
        """Days with a regular session, in order."""

    @property
    def bars(self) -> int:
        """Minute bars in all."""

@final
class Tape:
    """The recorded sessions as quotes, trades and minute bars in the order of time, once.

    Quiet quotes are stated again each `speed` seconds of the session. Days are written 2013-10-07.
    """

    def __new__(
        cls,
        recording: Recording,
        symbols: Sequence[str],
        start: str | None = None,
        end: str | None = None,
        speed: float = 1.0,
    ) -> Tape: ...
    @property
    def next_at(self) -> int | None:
        """When the next one comes, ns; None at the end."""

    def take(self, until: int, limit: int) -> list[tuple[Any, ...]]:
        """What comes up to `until`, about `limit` at most; the rest comes with the next call.

        ("quote", symbol, at, bid, bid_size, ask, ask_size), ("trade", symbol, at, price, size) or
        ("bar", symbol, start, open, high, low, close, volume, trade_count, vwap).
        """

@final
class BacktestRows:
    """Orders and fills of a run, amounts as Decimal; made anew with each call."""

    def orders(self) -> list[tuple[Any, ...]]:
        """(at, client_order_id, symbol, side, qty, bid, ask)"""

    def fills(self) -> list[tuple[Any, ...]]:
        """(at, place of its order, symbol, side, qty, price, position)"""

def run_backtest(
    recording: Recording,
    settings: str,
    features: Sequence[str],
    on_bar: Callable[[SessionBar, Any, Portfolio], object],
    row: Callable[[tuple[float, ...]], Any],
    on_quote: Callable[[Quote, Portfolio], object] | None = None,
    on_fill: Callable[[Fill, Portfolio], object] | None = None,
) -> dict[str, Any]:
    """Play the recording to a strategy; see `console.strategies.backtest`.

    Raises what the strategy raises, with a note of what it was told; a ValueError for settings.
    """

def run_native_backtest(
    recording: Recording, settings: str, name: str, parameters: str
) -> dict[str, Any]:
    """The same with a strategy of `NATIVE_STRATEGIES`; `parameters` is JSON. Without the GIL."""
