"""`trading-console backtest`: options to a run, its outcome to text, JSON and files."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from console.cli.output import Format, print_json, say, table
from console.config import Overrides, Settings, load_settings
from console.engine.risk import limits_json
from console.exits import CONFIG, OK, REFUSED, USAGE, ExitError
from console.services import sample_dir
from console.strategies import Strategy, StrategyError, report
from console.strategies.backtest import Conditions, Result, backtest, combinations
from console.strategies.loading import find_strategy
from console.strategies.parameters import read_assignments, read_sweep
from signal_bridge import Recording

SHOWN_AT_MOST = 20
"""Rows of a sweep on the terminal; all of them are in sweep.csv and in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `backtest` was asked for; None leaves the setting."""

    name: str
    data: str | None = None
    start: str | None = None
    end: str | None = None
    symbols: str | None = None
    cash: str = "100000"
    seed: int | None = None
    params: Sequence[str] = ()
    sweep: Sequence[str] = ()
    native: bool = False
    limits: bool = True
    out: Path | None = None


def run_backtest_command(overrides: Overrides, request: Request, style: Format) -> int:
    """Run it and say what came of it. Raises `ExitError`, `StrategyError` and `ConfigError`."""
    kind = find_strategy(request.name)
    given = read_assignments(kind.title(), kind.parameters, list(request.params))
    swept = read_sweep(kind.title(), kind.parameters, list(request.sweep))
    strategies = list(combinations(kind, given, swept))
    settings = load_settings(_demo(overrides))
    conditions = _conditions(settings, request)
    recording = open_recording(request.data, settings)
    begun = time.monotonic()
    results = [_run(recording, one, conditions, native=request.native) for one in strategies]
    took_s = time.monotonic() - begun
    if swept:
        results.sort(key=_rank, reverse=True)
    files = _write(results, request.out, is_sweep=bool(swept))
    if style is Format.JSON:
        documents = [report.document(result) for result in results]
        print_json(
            {"runs": documents, "files": files} if swept else documents[0] | {"files": files}
        )
        return OK
    bars = sum(result.bars for result in results)
    print(_sweep_text(results, list(swept)) if swept else _text(results[0]))
    say(f"{bars:,} bars in {took_s:.2f} s, {bars / max(took_s, 1e-9):,.0f} a second")
    for path in files:
        say(f"wrote {path}")
    return OK


def _demo(overrides: Overrides) -> Overrides:
    """No keys are needed to look at recorded prices."""
    return Overrides(
        config=overrides.config,
        profile=overrides.profile,
        values=overrides.values,
        state_dir=overrides.state_dir,
        demo=True,
    )


def _conditions(settings: Settings, request: Request) -> Conditions:
    try:
        cash = Decimal(request.cash.replace("_", "").replace(",", ""))
    except InvalidOperation:
        raise ExitError(
            f"--cash {request.cash!r}: dollars are wanted, such as 100000", USAGE
        ) from None
    demo, execution = settings.demo, settings.execution
    return Conditions(
        symbols=symbols_of(request.symbols),
        start=request.start,
        end=request.end,
        cash=cash,
        seed=demo.seed if request.seed is None else request.seed,
        partial_fills=demo.partial_fills,
        slippage_bp=demo.slippage_bp,
        latency_ms=demo.latency_ms,
        notional_per_signal=execution.notional_per_signal,
        min_strength=execution.min_strength,
        limits=json.loads(limits_json(settings)) if request.limits else None,
    )


def symbols_of(text: str | None) -> tuple[str, ...]:
    """`"IBM,SPY"` as symbols; none where nothing was asked for."""
    if text is None:
        return ()
    symbols = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not symbols:
        raise ExitError(f"--symbols {text!r}: name at least one, such as IBM,SPY", USAGE)
    return symbols


def open_recording(data: str | None, settings: Settings) -> Recording:
    """The folder that `--data` or `demo.data` names, or the sample. Raises `ExitError` (78)."""
    named = data or settings.demo.data
    folder = sample_dir() if named in ("", "sample") else Path(named).expanduser()
    try:
        return Recording(folder)
    except ValueError as error:
        raise ExitError(str(error), CONFIG) from None


def _run(
    recording: Recording, strategy: Strategy, conditions: Conditions, *, native: bool
) -> Result:
    try:
        return backtest(recording, strategy, conditions, native=native)
    except StrategyError as error:
        raise StrategyError(told_of(error)) from None
    except Exception as error:
        raise ExitError(
            f"{strategy.title()}: {told_of(error)}; correct it there", REFUSED
        ) from error


def told_of(error: Exception) -> str:
    """What went wrong in a strategy, where, and what it was told then."""
    notes = getattr(error, "__notes__", [])
    if not notes:
        return str(error)
    kind = "" if isinstance(error, StrategyError) else f"{type(error).__name__}: "
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{kind}{error} ({frame.filename}, line {frame.lineno}, {'; '.join(notes)})"


def _rank(result: Result) -> tuple[float, float]:
    sharpe = result.metrics.sharpe
    return (float("-inf") if sharpe is None else sharpe, result.metrics.total_return_pct)


def _write(results: Sequence[Result], out: Path | None, *, is_sweep: bool) -> list[Path]:
    if out is None:
        return []
    try:
        files = [report.write_sweep(results, out)] if is_sweep else []
        return [*files, *report.write(results[0], out)]
    except OSError as error:
        raise ExitError(
            f"--out {out}: {error.strerror}; name a folder that can be written", CONFIG
        ) from None


def _text(result: Result) -> str:
    lines = [report.headline(result), table(report.rows(result))]
    lines += [f"  {remark}" for remark in report.remarks(result)]
    lines.append(f"journal {result.hash}")
    return "\n".join(lines)


def _sweep_text(results: Sequence[Result], names: Sequence[str]) -> str:
    head = [*names, "return %", "Sharpe", "drawdown %", "trades", "journal"]
    body = [
        [
            *(str(result.parameters[name]) for name in names),
            f"{result.metrics.total_return_pct:.2f}",
            "–" if result.metrics.sharpe is None else f"{result.metrics.sharpe:.2f}",
            f"{result.metrics.max_drawdown_pct:.2f}",
            str(result.metrics.trades),
            result.hash[:12],
        ]
        for result in results[:SHOWN_AT_MOST]
    ]
    lines = [report.headline(results[0]), table([head, *body])]
    if len(results) > SHOWN_AT_MOST:
        lines.append(f"  … {len(results) - SHOWN_AT_MOST} more")
    if len(results) > 1:
        lines.append(
            f"  The best of {len(results)} is partly luck: try it on sessions that it hasn't seen."
        )
    return "\n".join(lines)
