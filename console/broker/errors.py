"""What can go wrong at the broker, as one tree.

    BrokerError
    ├── BrokerRefused        the broker said no (4xx): nothing happened
    │   ├── DuplicateOrderId     422: this client_order_id was used before; look it up and compare
    │   ├── BrokerNotFound       404: no such order, position or asset
    │   └── BrokerAuthError      401, or 403 without a code: keys wrong; fatal, never retried
    ├── BrokerRateLimited    too many requests: nothing happened, `retry_after_s` says when to go on
    ├── BrokerUnavailable    no answer, and nothing was changed at the broker: the connection was
    never │   │                    made, or the request only read
    │   └── CircuitOpen          reads rest after repeated failures; nothing was sent
    └── OutcomeUnknown       a request that changes something may have arrived: time-out, 5xx, cut
    or
                             unreadable answer; look it up before anything else

Each carries the HTTP status and the broker's code where there were any, a message for people and
what to do next. None of them holds a header, a key or a request object.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Base of all failures at the broker. `status` is None where no HTTP answer came."""

    default_remedy = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        remedy: str | None = None,
        body: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.remedy = self.default_remedy if remedy is None else remedy
        self.body = body
        """The answer's first 2,000 characters, for the journal; empty where none came."""

    def __str__(self) -> str:
        where = "".join(
            (
                f" (HTTP {self.status}" if self.status is not None else "",
                f", code {self.code}" if self.code is not None and self.status is not None else "",
                ")" if self.status is not None else "",
            )
        )
        return f"{self.message}{where}" + (f"; {self.remedy}" if self.remedy else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, status={self.status}, code={self.code})"


class BrokerRefused(BrokerError):
    """The broker said no. Nothing happened."""


class DuplicateOrderId(BrokerRefused):
    """The client_order_id is already taken: fetch that order and compare, it may be this one."""

    default_remedy = "look the order up by its client_order_id and compare"


class BrokerNotFound(BrokerRefused):
    """The broker knows no such order, position or asset."""


class BrokerAuthError(BrokerRefused):
    """The keys were not accepted. Fatal: asking again with the same keys only locks the door."""

    default_remedy = (
        "check ALPACA_API_KEY and ALPACA_SECRET_KEY: both of one pair, of the paper account, "
        "not regenerated since"
    )


class BrokerRateLimited(BrokerError):
    """Too many requests, says the broker (429) or our own budget (`status` None).

    Nothing happened.
    """

    default_remedy = "the same request may be sent again after the reset"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        status: int | None = None,
        code: int | None = None,
        body: str = "",
    ) -> None:
        super().__init__(message, status=status, code=code, body=body)
        self.retry_after_s = retry_after_s


class BrokerUnavailable(BrokerError):
    """No answer, and nothing changed: the broker was not reached, or was only asked to read."""

    default_remedy = (
        "check the network and broker.base_url; reads go on by themselves once it answers"
    )


class CircuitOpen(BrokerUnavailable):
    """Reads rest for a while after repeated failures, so that orders and cancels have the line."""


class OutcomeUnknown(BrokerError):
    """The request may have been carried out. Only a look-up by client_order_id can tell."""

    default_remedy = (
        "look the order up by its client_order_id before sending anything for this symbol"
    )
