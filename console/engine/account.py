"""The broker's account: read, told to the gate and to everybody, and held to its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from console.broker.errors import BrokerError
from console.engine.books import Books
from console.engine.curve import EquityCurve, EquityPoint
from console.engine.events import AccountChanged, Event
from console.engine.execution import BrokerThread, Priority
from console.engine.orders import decimal_of
from console.engine.risk import Gatekeeper
from console.engine.state import AccountView
from console.exits import CONFIG, ExitError

if TYPE_CHECKING:
    from console.broker.session import BrokerSession


class WrongAccount(ExitError):
    """The journal in this state directory is another account's. Exit code 78."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFIG)


class AccountWatch:
    """See the module. Of the engine's loop alone."""

    def __init__(
        self,
        session: BrokerSession,
        books: Books,
        reads: BrokerThread,
        gatekeeper: Gatekeeper,
        emit: Callable[[Event], None],
        *,
        mode: str,
        state_dir: Path,
    ) -> None:
        self._session = session
        self._books = books
        self._reads = reads
        self._gatekeeper = gatekeeper
        self._emit = emit
        self._mode = mode
        self._state_dir = state_dir
        self._identity: str | None = None
        self._recalled = False
        self.curve = EquityCurve()

    async def read(self) -> None:
        """Ask the broker.

        Raises:
            BrokerError: it doesn't answer, or an amount is missing.
            WrongAccount: the journal belongs to another account.
        """
        asked_at = self._gatekeeper.account_asked()
        payload = await self._reads.run(self._session.account, Priority.READ)
        identity = str(payload.get("id") or payload.get("account_number") or "")
        if identity and self._identity is None:
            self._belongs_to(identity)
        account = account_view(payload)
        self._gatekeeper.account_changed(account, asked_at)
        self.curve.add(self._books.now(), account.equity)
        if not self._recalled:
            self._recalled = True
            await self._recall()
        if account != self._books.account:
            self._books.account = account
            self._emit(AccountChanged(account=account))

    async def _recall(self) -> None:
        """What the account was worth today before this engine began, as far as the broker tells."""

        def ask() -> Mapping[str, Any]:
            return self._session.portfolio_history(
                period="1D", timeframe="1Min", extended_hours=True
            )

        try:
            self.curve.recall(_points(await self._reads.run(ask, Priority.READ)))
        except (BrokerError, TypeError, ValueError, ArithmeticError) as error:
            logger.warning("the equity curve begins now, its past can't be read: {}", error)

    def _belongs_to(self, identity: str) -> None:
        row = self._books.journal.latest("account")
        if row is not None and identity not in row.body.decode():
            raise WrongAccount(
                f"{self._state_dir} holds the journal of another {self._mode} account; "
                "give this account its own --state-dir"
            )
        if row is None:
            self._books.set_standing("account", "account", {"id": identity}, is_open=True)
        self._identity = identity


def _points(history: Mapping[str, Any]) -> Iterator[EquityPoint]:
    """The broker's history; what it doesn't know yet is null or zero."""
    times, amounts = history.get("timestamp") or (), history.get("equity") or ()
    for seconds, amount in zip(times, amounts, strict=False):
        equity = decimal_of(amount)
        if equity:
            yield EquityPoint(datetime.fromtimestamp(int(seconds), UTC), equity)


def account_view(payload: Mapping[str, Any]) -> AccountView:
    """The broker's account. Raises `BrokerError` where an amount is missing."""
    amounts: dict[str, Decimal] = {}
    for name in ("equity", "last_equity", "cash", "buying_power"):
        value = decimal_of(payload.get(name))
        if value is None:
            raise BrokerError(f"the account has no {name}", remedy="see what the broker answers")
        amounts[name] = value
    day = amounts["equity"] - amounts["last_equity"]
    return AccountView(
        **amounts,
        long_market_value=decimal_of(payload.get("long_market_value")) or Decimal(0),
        short_market_value=decimal_of(payload.get("short_market_value")) or Decimal(0),
        day_pl=day,
        day_pl_pct=day / amounts["last_equity"] * 100 if amounts["last_equity"] else Decimal(0),
        multiplier=decimal_of(payload.get("multiplier")) or Decimal(1),
        account_status=str(payload.get("status") or "ACTIVE"),
    )
