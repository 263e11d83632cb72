"""The shape of config.toml: one model a section, every rule on a value beside it.

What a setting means is said in config.toml itself; the models say what it may be.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from console.broker.endpoint import (
    PAPER_URL,
    is_loopback,
    require_data_url,
    require_stream_url,
    require_trading_url,
)

if TYPE_CHECKING:
    from console.broker.endpoint import Endpoint

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,2})?")


class Mode(StrEnum):
    """Whom the console trades with."""

    DEMO = "DEMO"
    """The embedded exchange, started with the console."""
    PAPER = "PAPER"
    """Alpaca's paper account."""
    EXCHANGE = "EXCHANGE"
    """An Alpaca-compatible exchange that already runs on this machine."""


def _exact(value: Any) -> Any:
    """A TOML number as the decimal that was written; a float's shortest text is that."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _symbol(value: Any) -> Any:
    if isinstance(value, str) and not _SYMBOL.fullmatch(value):
        raise ValueError("a symbol is one to ten capital letters and digits, such as IBM or BRK.B")
    return value


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Symbol = Annotated[str, BeforeValidator(_symbol)]
Symbols = Annotated[tuple[Symbol, ...], BeforeValidator(_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(_tuple)]
Dollars = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=Decimal("1e12"))]
Percent = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=Decimal(10_000))]
Shares = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=Decimal("1e9"))]


class Section(BaseModel):
    """Strict and frozen: no coercion, no unknown keys, no change after loading."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Broker(Section):
    base_url: str = ""
    data_url: str = ""
    stream_url: str = ""
    feed: Literal["iex", "sip"] = "iex"
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    read_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    requests_per_minute: Annotated[int, Field(ge=10, le=10_000)] = 200
    updates_stale_s: Seconds = 30.0

    @field_validator("base_url")
    @classmethod
    def _paper_or_loopback(cls, url: str) -> str:
        return require_trading_url(url) if url else url

    @field_validator("data_url")
    @classmethod
    def _data_or_loopback(cls, url: str) -> str:
        return require_data_url(url) if url else url

    @field_validator("stream_url")
    @classmethod
    def _stream_or_loopback(cls, url: str) -> str:
        return require_stream_url(url) if url else url


class Demo(Section):
    key_id: Annotated[str, Field(pattern=r"^PK[A-Z0-9]{1,30}$")] = "PKDEMO"
    secret_key: SecretStr = SecretStr("demo")
    speed: Annotated[float, Field(ge=1, le=1000)] = 10.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    data: str = ""
    partial_fills: bool = True
    slippage_bp: Annotated[float, Field(ge=0, le=1000)] = 0.0
    latency_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    close_pause_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    control: bool = False
    rate_limit: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    data_connections: Annotated[int, Field(ge=0, le=1000)] = 0
    data_symbols: Annotated[int, Field(ge=0, le=100_000)] = 0


class Ports(Section):
    health: Port = 8080
    market_data_health: Port = 8081
    execution_engine_health: Port = 8082
    risk_manager_health: Port = 8083
    market: Port = 5555
    signal: Port = 5556
    commands: Port = 5557
    events: Port = 5558
    risk: Port = 5559
    exchange: Port = 8090

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        taken: dict[int, str] = {}
        for name in type(self).model_fields:
            port: int = getattr(self, name)
            if port and port in taken:
                raise ValueError(
                    f"{taken[port]} and {name} are both {port}; each needs a port of its own"
                )
            taken[port] = name
        return self


class BusSecurity(Section):
    enabled: bool = False
    keys_dir: str = ""


class Bus(Section):
    bind: str = "127.0.0.1"
    high_water_mark: Annotated[int, Field(ge=1, le=1_048_576)] = 32_768
    heartbeat_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    stale_after_s: Seconds = 5.0
    security: BusSecurity = BusSecurity()

    @field_validator("bind")
    @classmethod
    def _an_address(cls, bind: str) -> str:
        try:
            ipaddress.ip_address(bind)
        except ValueError:
            raise ValueError("an IP address of this machine is wanted, such as 127.0.0.1") from None
        return bind

    @model_validator(mode="after")
    def _open_only_with_keys(self) -> Self:
        if not is_loopback(self.bind) and not self.security.enabled:
            raise ValueError(
                f"bind = {self.bind!r} is reachable from outside; "
                "that needs bus.security.enabled = true"
            )
        if self.stale_after_s <= self.heartbeat_s:
            raise ValueError(
                f"stale_after_s = {self.stale_after_s:g} must be longer than "
                f"heartbeat_s = {self.heartbeat_s:g}, or connections are stale between two beats"
            )
        return self


SERVICE_NAMES = ("paper-exchange", "market-data", "execution-engine", "risk-manager")


class Services(Section):
    embed: Names = SERVICE_NAMES

    @field_validator("embed")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in SERVICE_NAMES]:
            raise ValueError(f"{unknown[0]!r} is no service; known are {', '.join(SERVICE_NAMES)}")
        return names


class Feed(Section):
    symbols: Symbols = ("SPY", "IBM", "BAC", "AIG")
    features: Names = ("rsi_14", "realized_vol_20")
    history: Annotated[int, Field(ge=60, le=20_000)] = 390
    frames_per_second: Annotated[int, Field(ge=1, le=30)] = 30
    quote_stale_s: Seconds = 15.0

    @field_validator("symbols")
    @classmethod
    def _some_and_once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not symbols:
            raise ValueError("at least one symbol is needed")
        if len(set(symbols)) != len(symbols):
            raise ValueError("a symbol is listed twice")
        return symbols

    @field_validator("features")
    @classmethod
    def _computed(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        # Asked of those who compute them: windows of one's own are theirs to judge.
        from signal_bridge import check_feed_features

        check_feed_features(features)
        return features


class SymbolLimits(Section):
    max_order_qty: Shares | None = None
    max_order_notional: Dollars | None = None
    max_position_notional: Dollars | None = None


class Risk(Section):
    max_order_qty: Shares = Decimal(10_000)
    max_order_notional: Dollars = Decimal(50_000)
    max_position_notional: Dollars = Decimal(100_000)
    max_gross_exposure_pct: Percent = Decimal(200)
    max_open_orders: Annotated[int, Field(ge=1, le=100_000)] = 100
    max_orders_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    duplicate_window_s: Annotated[float, Field(ge=0, le=3600)] = 2.0
    price_collar_pct: Percent = Decimal(5)
    max_daily_loss_pct: Percent = Decimal(5)
    max_drawdown_pct: Percent = Decimal(10)
    allow_short: bool = True
    allowed_symbols: Symbols = ()
    blocked_symbols: Symbols = ()
    symbols: dict[Symbol, SymbolLimits] = {}


class Execution(Section):
    notional_per_signal: Dollars = Decimal(10_000)
    min_strength: Annotated[float, Field(ge=0, le=1)] = 0.2
    command_timeout_s: Seconds = 10.0


class Engine(Section):
    reconcile_every_s: Annotated[float, Field(ge=1, le=86_400)] = 120.0
    command_timeout_s: Seconds = 15.0
    drain_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    on_exit: Literal["leave", "cancel_orders", "flatten"] = "leave"
    trail_every_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    partial_entry_s: Annotated[float, Field(ge=0, le=3_600)] = 3.0


class Ui(Section):
    theme: Annotated[str, Field(min_length=1)] = "dark"
    confirm: Literal["all", "dangerous", "none"] = "all"
    lot: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    plain: bool = False
    keys: dict[str, str] = {}


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Telemetry(Section):
    enabled: bool = False
    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    queue: Annotated[int, Field(ge=16, le=1_000_000)] = 4096

    @field_validator("endpoint")
    @classmethod
    def _private(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("the URL of a collector is wanted: http on this machine, or https")
        if parts.username or parts.password:
            raise ValueError(
                "keys don't belong into a URL; give them by OTEL_EXPORTER_OTLP_HEADERS "
                "in the environment"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"{parts.hostname} is another machine: that needs https")
        return url

    @property
    def is_local(self) -> bool:
        """Whether the collector is on this machine."""
        return is_loopback(urlsplit(self.endpoint).hostname or "")


class Settings(Section):
    """Everything that a start needs, resolved; named as the sections of config.toml are."""

    profile: str = "dev"
    broker: Broker = Broker()
    demo: Demo = Demo()
    ports: Ports = Ports()
    bus: Bus = Bus()
    services: Services = Services()
    feed: Feed = Feed()
    risk: Risk = Risk()
    execution: Execution = Execution()
    engine: Engine = Engine()
    ui: Ui = Ui()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()

    mode: Mode = Mode.DEMO
    state_dir: Path = Path()
    config_dir: Path = Path()
    """Where the user's config.toml is or would be; their own themes lie in its `themes/`."""
    key_id: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    sources: tuple[Path, ...] = ()
    """The files read, the later over the earlier; `ConfigWatcher` watches these."""
    origins: dict[str, str] = {}
    """Where each setting that isn't the packaged default came from."""
    warnings: tuple[str, ...] = ()
    """What a person should know though it keeps nothing from starting."""

    @property
    def keys_dir(self) -> Path:
        """Where the keys of a secured bus lie, whether it is secured or not."""
        folder = self.bus.security.keys_dir
        return Path(folder).expanduser().absolute() if folder else self.state_dir / "keys"

    def endpoint(self, exchange_port: int | None = None) -> Endpoint:
        """The broker to trade with: in DEMO the embedded exchange, listening on `exchange_port`."""
        from console.broker.endpoint import Endpoint

        if self.mode is Mode.DEMO:
            trading = f"http://127.0.0.1:{exchange_port or self.ports.exchange}"
            data = stream = ""
            per_minute = self.demo.rate_limit
        else:
            trading = self.broker.base_url or PAPER_URL
            data, stream = self.broker.data_url, self.broker.stream_url
            per_minute = self.broker.requests_per_minute
        return Endpoint(
            key_id=self.key_id.get_secret_value(),
            secret_key=self.secret_key,
            trading_url=trading,
            data_url=data,
            stream_url=stream,
            feed=self.broker.feed,
            connect_timeout_s=self.broker.connect_timeout_s,
            read_timeout_s=self.broker.read_timeout_s,
            requests_per_minute=per_minute,
        )

    def sections(self) -> dict[str, Any]:
        """The settings as config.toml would hold them, numbers as numbers, secrets hidden."""
        return {
            name: _plain(value) if isinstance(value := getattr(self, name), Section) else value
            for name in SECTION_NAMES
        }


SECTION_NAMES = (
    "profile", "broker", "demo", "ports", "bus", "services", "feed", "risk", "execution", "engine",
    "ui", "log", "telemetry",
)  # fmt: skip
"""The keys that a config.toml may have at its top, beside `profiles`."""


def _plain(value: Any) -> Any:
    match value:
        case Section():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case SecretStr():
            return str(value)
        case _:
            return value
