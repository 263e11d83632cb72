"""A result for people and for spreadsheets: text, Markdown, CSV, and the journal itself."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from console.strategies.backtest import Result

_LABELS = (
    ("total_return_pct", "total return", "%"),
    ("cagr_pct", "a year (CAGR)", "%"),
    ("volatility_pct", "volatility a year", "%"),
    ("sharpe", "Sharpe", ""),
    ("sortino", "Sortino", ""),
    ("max_drawdown_pct", "deepest drawdown", "%"),
    ("max_drawdown_days", "its length", "days"),
    ("turnover", "turnover", "× equity"),
    ("exposure_pct", "mean exposure", "% of equity"),
    ("in_market_pct", "time in the market", "%"),
    ("trades", "round trips", ""),
    ("win_rate_pct", "winners", "%"),
    ("profit_factor", "profit factor", ""),
    ("average_trade", "a round trip", "$"),
    ("slippage_bp", "slippage against mid", "bp"),
    ("touch_slippage_bp", "slippage against touch", "bp"),
)
_FEW_SESSIONS = 20


def rows(result: Result) -> list[tuple[str, str]]:
    """Every figure as a label and its value with its unit; `–` where it would mean nothing."""
    metrics = result.metrics.as_dict()
    told = []
    for name, label, unit in _LABELS:
        value = metrics[name]
        if value is None:
            text = "–"
        elif isinstance(value, int):
            text = f"{value:,}"
        else:
            text = f"{value:,.2f}{' ' + unit if unit else ''}"
        told.append((label, text))
    return told


def remarks(result: Result) -> list[str]:
    """What a reader of the figures has to know."""
    told = []
    if result.metrics.sessions < _FEW_SESSIONS:
        told.append(
            f"{result.metrics.sessions} sessions: a year's figures out of so few are guesses."
        )
    if not result.metrics.max_drawdown_recovered:
        told.append("The deepest drawdown was not made good by the end.")
    if result.halted:
        told.append("A drawdown reached risk.max_drawdown_pct: every later order was refused.")
    if result.refusals:
        by_check = Counter(refusal.check for refusal in result.refusals)
        counts = ", ".join(f"{count} {check}" for check, count in by_check.most_common())
        told.append(f"{len(result.refusals):,} orders were refused: {counts}.")
    if result.positions:
        held = ", ".join(f"{qty.normalize():f} {symbol}" for symbol, qty, _ in result.positions)
        told.append(f"Still held at the end: {held}.")
    return told


def as_markdown(result: Result) -> str:
    """The whole as a page."""
    conditions = result.conditions
    head = "# " + headline(result)
    settings = (
        ("symbols", ", ".join(result.symbols)),
        ("parameters", ", ".join(f"{k}={v}" for k, v in result.parameters.items()) or "none"),
        ("cash", f"${conditions.cash:,.2f}"),
        ("a signal of strength 1", f"${conditions.notional_per_signal:,.2f}"),
        ("seed", str(conditions.seed)),
        ("partial fills", "one in ten" if conditions.partial_fills else "none"),
        ("slippage", f"{conditions.slippage_bp:g} bp"),
        ("from a bar's end to the book", f"{max(1, conditions.latency_ms)} ms"),
        ("risk limits", "none" if conditions.limits is None else "[risk]"),
        ("bars", f"{result.bars:,}, {result.shown:,} of them shown to the strategy"),
        ("orders, fills", f"{len(result.orders):,}, {len(result.fills):,}"),
        ("journal", f"`{result.hash}`"),
    )
    table = ["| | |", "|---|---|"]
    table += [f"| {label} | {value} |" for label, value in rows(result)]
    under = ["| under these conditions | |", "|---|---|"]
    under += [f"| {name} | {value} |" for name, value in settings]
    notes = [f"- {remark}" for remark in remarks(result)]
    parts = [head, "\n".join(table), "\n".join(notes), "\n".join(under)]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(result: Result) -> str:
    """`ema_cross, 2013-10-07 to 2013-10-09`."""
    if not result.closes:
        return result.strategy
    first, last = (_day(at) for at in (result.closes[0][0], result.closes[-1][0]))
    return (
        f"{result.strategy}, {first} to {last}" if first != last else f"{result.strategy}, {first}"
    )


def document(result: Result) -> dict[str, Any]:
    """What programs read: figures as numbers, money as text."""
    conditions = result.conditions
    return {
        "strategy": result.strategy,
        "parameters": dict(result.parameters),
        "symbols": list(result.symbols),
        "from": _day(result.closes[0][0]) if result.closes else None,
        "to": _day(result.closes[-1][0]) if result.closes else None,
        "cash": f"{conditions.cash:f}",
        "seed": conditions.seed,
        "partial_fills": conditions.partial_fills,
        "slippage_bp": conditions.slippage_bp,
        "latency_ms": max(1, conditions.latency_ms),
        "notional_per_signal": f"{conditions.notional_per_signal:f}",
        "bars": result.bars,
        "shown": result.shown,
        "signals": result.signals,
        "orders": len(result.orders),
        "fills": len(result.fills),
        "refusals": dict(Counter(refusal.check for refusal in result.refusals)),
        "halted": result.halted,
        "equity": f"{result.closes[-1][1]:f}" if result.closes else f"{conditions.cash:f}",
        "positions": {symbol: f"{qty.normalize():f}" for symbol, qty, _ in result.positions},
        "metrics": result.metrics.as_dict(),
        "hash": result.hash,
    }


def write(result: Result, folder: Path) -> list[Path]:
    """Everything into `folder`, which is made. Answers the files. Raises OSError.

    report.md, result.json, journal.log; equity, orders, fills, trades and refusals as CSV.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write_text(folder / "report.md", as_markdown(result)),
        _write_text(
            folder / "result.json", json.dumps(document(result), indent=2, allow_nan=False) + "\n"
        ),
        _write_text(folder / "journal.log", result.journal),
    ]
    curve = zip(result.at.tolist(), result.equity.tolist(), result.gross.tolist(), strict=True)
    files.append(
        _write_csv(
            folder / "equity.csv",
            ("time", "equity", "gross"),
            ((_time(at), f"{equity:.2f}", f"{gross:.2f}") for at, equity, gross in curve),
        )
    )
    files.append(
        _write_csv(
            folder / "orders.csv",
            ("time", "client_order_id", "symbol", "side", "qty", "bid", "ask"),
            (
                (_time(o.at), o.client_order_id, o.symbol, o.side, _plain(o.qty), o.bid, o.ask)
                for o in result.orders
            ),
        )
    )
    files.append(
        _write_csv(
            folder / "fills.csv",
            (
                "time", "client_order_id", "symbol", "side", "qty", "price", "position",
                "slippage_bp",
            ),
            (
                (
                    _time(f.at), f.order.client_order_id, f.symbol, f.side, _plain(f.qty),
                    _plain(f.price), _plain(f.position), f"{f.slippage_bp:.3f}",
                )
                for f in result.fills
            ),
        )
    )  # fmt: skip
    files.append(
        _write_csv(
            folder / "trades.csv",
            ("symbol", "side", "opened", "closed", "qty", "entry", "exit", "profit", "return_pct"),
            (
                (
                    t.symbol, t.side, _time(t.opened_at), _time(t.closed_at), _plain(t.qty),
                    _plain(t.entry_price), _plain(t.exit_price), t.profit, f"{t.return_pct:.4f}",
                )
                for t in result.trades
            ),
        )
    )  # fmt: skip
    files.append(
        _write_csv(
            folder / "refusals.csv",
            ("time", "symbol", "check", "why"),
            ((_time(r.at), r.symbol, r.check, r.why) for r in result.refusals),
        )
    )
    return files


def write_sweep(results: Sequence[Result], folder: Path) -> Path:
    """`sweep.csv`: a row a run, its parameters first. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(results[0].parameters)
    figures = list(results[0].metrics.as_dict())
    return _write_csv(
        folder / "sweep.csv",
        (*names, *figures, "orders", "hash"),
        (
            (
                *(result.parameters[name] for name in names),
                *("" if v is None else v for v in result.metrics.as_dict().values()),
                len(result.orders),
                result.hash,
            )
            for result in results
        ),
    )


def _write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _write_csv(path: Path, head: Sequence[str], table: Iterable[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(table)
    return path


def _time(at: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _day(at: int) -> str:
    # A session ends in the afternoon of its day, in New York and in UTC.
    return datetime.fromtimestamp(at / 1e9, UTC).date().isoformat()


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
