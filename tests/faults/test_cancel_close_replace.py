"""Canceling, closing and replacing while orders end, or are refused, on their own."""

from __future__ import annotations

from console.engine.commands import Outcome


async def test_an_order_that_ends_while_its_replacement_waits_for_a_quote_reserves_nothing(
    bench, other, monkeypatch
):
    old = await bench.resting()
    ensure_quote = bench.engine._feed.ensure_quote

    async def meanwhile(symbol: str) -> None:
        await ensure_quote(symbol)
        await other.ask(lambda s: s.cancel_order(old.id))
        await bench.until_state(old.client_order_id, "CANCELED")

    monkeypatch.setattr(bench.engine._feed, "ensure_quote", meanwhile)
    ack = await bench.ask(f"replace {old.client_order_id} 5")
    assert ack.outcome is Outcome.REFUSED, ack
    assert "CANCELED" in ack.message
    assert not bench.engine._gatekeeper._open
    assert len(bench.engine.view().orders) == 1
