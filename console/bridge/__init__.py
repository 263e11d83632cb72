"""Rust features and the ZeroMQ bus, as Python sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.bridge.ends import BusHealth as BusHealth
    from console.bridge.messages import BarUpdate as BarUpdate
    from console.bridge.messages import Heartbeat as Heartbeat
    from console.bridge.messages import MalformedError as MalformedError
    from console.bridge.messages import MessageType as MessageType
    from console.bridge.messages import Position as Position
    from console.bridge.messages import QuoteUpdate as QuoteUpdate
    from console.bridge.messages import RiskUpdate as RiskUpdate
    from console.bridge.messages import Signal as Signal
    from console.bridge.messages import TradeUpdate as TradeUpdate
    from console.bridge.rust_bridge import MarketBar as MarketBar
    from console.bridge.rust_bridge import RustFeatureComputer as RustFeatureComputer
    from console.bridge.sockets import BusClosedError as BusClosedError
    from console.bridge.sockets import BusError as BusError
    from console.bridge.sockets import BusState as BusState
    from console.bridge.sockets import BusTimeoutError as BusTimeoutError
    from console.bridge.zmq_bridge import ZMQPublisher as ZMQPublisher
    from console.bridge.zmq_bridge import ZMQSubscriber as ZMQSubscriber

_HOMES = {
    name: home
    for home, names in {
        "messages": "BarUpdate Heartbeat MalformedError MessageType Position QuoteUpdate "
        "RiskUpdate Signal TradeUpdate",
        "rust_bridge": "MarketBar RustFeatureComputer",
        "sockets": "BusClosedError BusError BusState BusTimeoutError",
        "ends": "BusHealth",
        "zmq_bridge": "ZMQPublisher ZMQSubscriber",
    }.items()
    for name in names.split()
}
__all__ = tuple(sorted(_HOMES))


def __getattr__(name: str) -> object:
    """Load a name's module on first use: messages need neither ZeroMQ nor the native module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
