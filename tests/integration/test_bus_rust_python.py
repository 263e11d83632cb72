"""The Rust services talk to libzmq in every pairing that the system uses."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import zmq

from signal_bridge import Service, ServiceError

LIMIT_MS = 30_000
LIMIT_S = 30.0


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, LIMIT_MS)
    socket.setsockopt(zmq.SNDTIMEO, LIMIT_MS)
    return socket


def _bound(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> tuple[zmq.Socket[bytes], str]:
    socket = _socket(context, kind)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    return socket, f"tcp://127.0.0.1:{port}"


def _start(name: str, **settings: Any) -> Service:
    return Service.start(name, json.dumps(settings), timeout_s=LIMIT_S)


def _hear(socket: zmq.Socket[bytes], kind: str) -> dict[str, Any]:
    """The next message of a kind; its topic and JSON are one frame."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        topic, _, payload = socket.recv().partition(b" ")
        message: dict[str, Any] = json.loads(payload)
        message["topic"] = topic.decode()
        if message["type"] == kind:
            return message
    raise AssertionError(f"no {kind} within {LIMIT_S} s")


def _eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if result := condition():
            return result
        threading.Event().wait(0.01)
    raise AssertionError(f"not within {LIMIT_S} s")


def _get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    text = body.decode()
    return status, json.loads(text) if text.startswith("{") else text


class FakeEngine:
    """A ROUTER that answers each command by what `answer` makes of it, on a thread of its own."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        answer: Callable[[dict[str, Any]], dict[str, Any] | None],
    ) -> None:
        self._socket, self.url = _bound(context, zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVTIMEO, 50)
        self._answer = answer
        self.commands: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                identity, payload = self._socket.recv_multipart()
            except zmq.Again:
                continue
            command = json.loads(payload)
            answer = self._answer(command)
            if command["type"] != "GetState":
                self.commands.append(command)
            if answer is not None:
                answer = {"type": "Ack", "id": command["id"], **answer}
                self._socket.send_multipart([identity, json.dumps(answer).encode()])
        self._socket.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)


EMPTY_STATE = {"seq": 1, "trading_state": "ACTIVE", "positions": [], "orders": [], "account": None}


def _signals(service: Service, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A publisher that the execution-engine has subscribed to."""
    socket = _socket(context, zmq.XPUB)
    socket.connect(f"tcp://127.0.0.1:{service.ports['signal']}")
    assert socket.recv() == b"\x01signal "
    return socket


def _signal(**fields: Any) -> bytes:
    signal = {
        "type": "Signal", "symbol": "IBM", "direction": "long", "strength": 0.8,
        "timestamp": 1_357_137_000_000_000_000, "strategy": "momentum", **fields,
    }  # fmt: skip
    return b"signal " + json.dumps(signal).encode()


def _execution_engine(commands_url: str, **settings: Any) -> Service:
    return _start(
        "execution-engine", signal_port=0, health_port=0, commands_url=commands_url,
        market_url="tcp://127.0.0.1:9", heartbeat_s=0.05, **settings,
    )  # fmt: skip


def test_a_signal_by_libzmq_becomes_a_command_and_hears_its_answer(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    def answer(command: dict[str, Any]) -> dict[str, Any]:
        if command["type"] == "GetState":
            return {"outcome": "accepted", "state": EMPTY_STATE}
        return {"outcome": "accepted", "message": "sent"}

    engine = FakeEngine(context, answer)
    service = _execution_engine(engine.url, notional_per_signal="10000")
    try:
        health = service.ports["execution_engine_health"]
        _eventually(lambda: _get(health, "/ready")[0] == 200)
        publisher = _signals(service, context)
        publisher.send(_signal(id="1"))
        publisher.send(_signal(id="1"))
        publisher.send(b"signal {broken")
        publisher.send(_signal(id="2", strength=0.1))
        publisher.send(_signal(id="3", direction="short", strength=0.5, symbol="BAC"))
        _eventually(lambda: len(engine.commands) == 2)
        first, second = engine.commands
        assert first["type"] == "SubmitOrder"
        assert first["source"] == "signal:momentum"
        assert (first["symbol"], first["side"]) == ("IBM", "buy")
        assert Decimal(first["notional"]) == Decimal(8000)
        assert (second["symbol"], second["side"]) == ("BAC", "sell")
        assert Decimal(second["notional"]) == Decimal(5000)

        def counted() -> bool:
            metrics = _get(health, "/health")[1]["metrics"]
            wanted = {
                "signals": "4", "repeated": "1", "malformed": "1", "nothing_to_do": "1",
                "commands": "2", "accepted": "2",
            }  # fmt: skip
            return bool(wanted.items() <= metrics.items())

        _eventually(counted)
    finally:
        service.stop(timeout_s=LIMIT_S)
        engine.stop()


def test_the_commands_are_what_the_engine_reads(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    from console.engine.commands import ClosePosition, SubmitOrder, decode_command

    held = {"symbol": "IBM", "qty": "-5", "current_price": "100", "market_value": "-500"}
    states = [dict(EMPTY_STATE, positions=[held]), EMPTY_STATE]

    def answer(command: dict[str, Any]) -> dict[str, Any]:
        if command["type"] == "GetState":
            return {"outcome": "accepted", "state": states.pop(0) if states else EMPTY_STATE}
        return {"outcome": "accepted"}

    engine = FakeEngine(context, answer)
    service = _execution_engine(engine.url)
    try:
        _eventually(lambda: _get(service.ports["execution_engine_health"], "/ready")[0] == 200)
        _signals(service, context).send(_signal(id="x" * 500))
        _eventually(lambda: len(engine.commands) == 2)
        close, submit = (
            decode_command(json.dumps(command).encode()) for command in engine.commands
        )
        assert isinstance(close, ClosePosition)
        assert isinstance(submit, SubmitOrder)
        assert close.symbol == submit.symbol == "IBM"
        assert submit.notional == Decimal(8000)
        assert len(submit.id) <= 128
    finally:
        service.stop(timeout_s=LIMIT_S)
        engine.stop()


def test_a_command_without_an_answer_is_in_doubt_and_not_repeated(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        if command["type"] == "GetState":
            return {"outcome": "accepted", "state": EMPTY_STATE}
        return None

    engine = FakeEngine(context, answer)
    service = _execution_engine(engine.url, command_timeout_s=0.2)
    try:
        health = service.ports["execution_engine_health"]
        _eventually(lambda: _get(health, "/ready")[0] == 200)
        _signals(service, context).send(_signal())
        _eventually(lambda: _get(health, "/health")[1]["metrics"]["in_doubt"] == "1")
        assert len(engine.commands) == 1
    finally:
        service.stop(timeout_s=LIMIT_S)
        engine.stop()


def _event(kind: str, seq: int, **fields: Any) -> bytes:
    return b"engine " + json.dumps({"type": kind, "seq": seq, "ts": 1, **fields}).encode()


ACCOUNT = {"equity": "100000", "last_equity": "100000"}
POSITION = {"symbol": "IBM", "qty": "100", "current_price": "195.5", "market_value": "19550"}


def _risk_manager(events_url: str, commands_url: str) -> Service:
    return _start(
        "risk-manager", risk_port=0, health_port=0, events_url=events_url,
        commands_url=commands_url, heartbeat_s=0.05, max_daily_loss_pct=5, max_drawdown_pct=10.0,
    )  # fmt: skip


def test_events_by_libzmq_become_risk_that_libzmq_hears(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    events, events_url = _bound(context, zmq.XPUB)
    service = _risk_manager(events_url, "tcp://127.0.0.1:9")
    try:
        assert events.recv() == b"\x01engine "
        state = dict(EMPTY_STATE, account=ACCOUNT, positions=[POSITION])
        events.send(_event("Snapshot", 1, state=state))
        risk = _socket(context, zmq.SUB)
        risk.connect(f"tcp://127.0.0.1:{service.ports['risk']}")
        risk.subscribe(b"risk ")
        heartbeat = _hear(risk, "Heartbeat")
        assert heartbeat["component"] == "risk-manager"
        update = _hear(risk, "RiskUpdate")
        assert update["topic"] == "risk"
        assert update["seq"] > heartbeat["seq"]
        assert Decimal(update["equity"]) == Decimal(100000)
        assert Decimal(update["gross_exposure"]) == Decimal(19550)
        assert update["trading_state"] == "ACTIVE"

        events.send(_event("Noticed", 2, severity="info", topic="x", text="y"))
        events.send(_event("AccountChanged", 3, account=dict(ACCOUNT, equity="94000")))
        events.send(_event("PositionsChanged", 4, positions=[]))

        def told() -> dict[str, Any] | None:
            update = _hear(risk, "RiskUpdate")
            flat = Decimal(update["gross_exposure"]) == 0
            return update if flat and update["trading_state"] == "REDUCING" else None

        update = _eventually(told)
        assert "6" in update["reason"]
        assert Decimal(update["drawdown_pct"]) == Decimal(6)
        health = service.ports["risk_manager_health"]
        _eventually(lambda: _get(health, "/ready")[0] == 200)
        assert _get(health, "/live") == (200, "alive")
    finally:
        service.stop(timeout_s=LIMIT_S)


def test_the_risk_manager_asks_again_when_an_event_is_missing(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    held = dict(EMPTY_STATE, seq=9, account=ACCOUNT, positions=[POSITION])
    engine = FakeEngine(context, lambda command: {"outcome": "accepted", "state": held})
    events, events_url = _bound(context, zmq.XPUB)
    service = _risk_manager(events_url, engine.url)
    try:
        events.recv()
        events.send(_event("Snapshot", 1, state=dict(EMPTY_STATE, account=ACCOUNT)))
        events.send(_event("Noticed", 9, severity="info", topic="x", text="y"))
        risk = _socket(context, zmq.SUB)
        risk.connect(f"tcp://127.0.0.1:{service.ports['risk']}")
        risk.subscribe(b"")

        def told() -> bool:
            return Decimal(_hear(risk, "RiskUpdate")["gross_exposure"]) == Decimal(19550)

        _eventually(told)
    finally:
        service.stop(timeout_s=LIMIT_S)
        engine.stop()


def test_market_data_is_heard_by_libzmq_and_degrades_without_its_broker(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    service = _start(
        "market-data", stream_url="ws://127.0.0.1:9/v2/iex", key_id="PKTEST", secret_key="hush",
        symbols=["IBM"], market_port=0, health_port=0, heartbeat_s=0.05,
    )  # fmt: skip
    try:
        market = _socket(context, zmq.SUB)
        market.connect(f"tcp://127.0.0.1:{service.ports['market']}")
        market.subscribe(b"market ")
        first = _hear(market, "Heartbeat")
        assert (first["topic"], first["component"]) == ("market", "market-data")
        assert _hear(market, "Heartbeat")["seq"] == first["seq"] + 1
        health = service.ports["market_data_health"]
        _, body = _eventually(lambda: (answer := _get(health, "/health"))[0] == 503 and answer)
        assert body["component"] == "market-data"
        assert "hush" not in json.dumps(body)
        assert _get(health, "/ready")[0] == 503
        assert bool(service.alive)
    finally:
        service.stop(timeout_s=LIMIT_S)
        service.stop(timeout_s=LIMIT_S)
    assert (service.alive, service.failure) == (False, None)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("market-data", {"symbols": ["IBM"]}, "stream_url"),
        ("risk-manager", {"max_drawdown_pct": -1}, "max_drawdown_pct"),
        ("execution-engine", {"colour": 1}, "colour"),
        ("time-machine", {}, "time-machine"),
    ],
)
def test_settings_that_cant_be_are_refused_by_name(
    name: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ServiceError, match=words) as refused:
        _start(name, **settings)
    assert refused.value.exit_code == 78


def test_a_taken_port_is_named(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    _, url = _bound(context, zmq.SUB)
    port = int(url.rpartition(":")[2])
    with pytest.raises(ServiceError, match=rf"ports\.signal.*{port}") as refused:
        _start("execution-engine", signal_port=port, health_port=0)
    assert refused.value.exit_code == 78
