"""How numbers become text: the only place where prices, quantities, money, ages and signs do.

Everything takes None and NaN, and shows them as `–`. Nothing here knows of colours or widths.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from math import inf, isfinite

NOTHING = "–"
UP, DOWN, LEVEL = "▲", "▼", " "
FRESH_S = 3.0
"""Up to this age a number counts as of now."""

Number = Decimal | float | int | None


def sign(value: Number) -> int:
    """-1, 0 or 1; 0 for what isn't known."""
    if value is None or not isfinite(value):
        return 0
    return (value > 0) - (value < 0)


def arrow(value: Number) -> str:
    """▲, ▼ or a space, so that a direction can be read without colour."""
    return (LEVEL, UP, DOWN)[sign(value)]


def price(value: Number) -> str:
    """Two decimals from a dollar upwards, four below; finer only where the price itself is."""
    if value is None or not isfinite(value):
        return NOTHING
    if isinstance(value, Decimal):
        exponent = value.normalize().as_tuple().exponent
        places = min(
            4, max(2 if abs(value) >= 1 else 4, -exponent if isinstance(exponent, int) else 0)
        )
        return f"{value:,.{places}f}"
    return f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.4f}"


def quantity(value: Number) -> str:
    """Shares, with as many decimals as they have."""
    if value is None or not isfinite(value):
        return NOTHING
    text = f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def narrow(number: str, width: int) -> str:
    """A formatted number in `width` characters: first the commas leave, then its last digits."""
    if len(number) <= width:
        return number
    plain = number.replace(",", "")
    if len(plain) <= width:
        return plain
    unit = "$" if plain[0] == "$" else ""
    try:
        return unit + compact(float(plain.removeprefix("$")))
    except ValueError:
        return number


def money(value: Number) -> str:
    """Dollars and cents, without a sign of the currency."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:,.2f}"


def signed_money(value: Number) -> str:
    """A gain or a loss: always with its sign."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:+,.2f}" if value else "0.00"


def whole_money(value: Number) -> str:
    """Dollars without cents."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:,.0f}"


def signed_whole(value: Number) -> str:
    """A gain or a loss in whole dollars, with its sign."""
    if value is None or not isfinite(value):
        return NOTHING
    text = f"{value:+,.0f}"
    return "0" if text in ("+0", "-0") else text


def compact(value: Number) -> str:
    """A count in at most five characters: 950, 12.3k, 4.56M."""
    if value is None or not isfinite(value):
        return NOTHING
    size = abs(float(value))
    for limit, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e15, 1e9, "G")):
        if size < limit * 0.9995:
            scaled = float(value) / divisor
            if not unit:
                return f"{scaled:.0f}"
            figure = abs(round(scaled, 2))
            return f"{scaled:.{2 if figure < 10 else 1 if figure < 99.95 else 0}f}{unit}"
    return f"{float(value):.0e}"


def percent(value: Number, places: int = 2) -> str:
    """A value that is in percent already, with its sign."""
    if value is None or not isfinite(value):
        return NOTHING
    text = f"{value:+.{places}f}"
    return (text if float(text) else text[1:]) + "%"


def share(value: Number, places: int = 1) -> str:
    """A part of a whole, in percent, unsigned."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:.{places}f}%"


def basis_points(value: Number) -> str:
    """A ratio's ten-thousandths, given as such."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:.1f}"


def signed(value: Number) -> str:
    """One decimal, with its sign."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:+.1f}"


def change(value: Number) -> str:
    """A change in percent with its arrow instead of a sign: `▲0.62`."""
    if value is None or not isfinite(value):
        return NOTHING
    text = f"{abs(value):.2f}"
    return f"{LEVEL if text == '0.00' else arrow(value)}{text}"


def feature(value: float, name: str = "") -> str:
    """A computed number, in the scale that its name tells."""
    if not isfinite(value):
        return NOTHING
    if name.startswith(("realized_vol", "log_return")):
        return f"{value * 1e4:.1f}"
    size = abs(value)
    if size >= 1e5:
        return compact(value)
    return f"{value:.{1 if size >= 1000 else 2 if size >= 10 else 3 if size < 1 else 2}f}"


def age(seconds: Number) -> str:
    """How old a number is, in at most four characters. Calm: it says `now` up to `FRESH_S`."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    if seconds < FRESH_S:
        return "now"
    return duration(seconds)


def duration(seconds: Number) -> str:
    """A length of time in its largest unit: 14s, 3m, 2h, 5d."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / unit))}{name}"
    return f"{min(999, int(seconds / 86400))}d"


def since(first: datetime, then: datetime) -> str:
    """Real time that passed: `+12ms`, `+3.4s`, `+12m`."""
    seconds = (then - first).total_seconds()
    if seconds < 1:
        return f"+{max(0.0, seconds) * 1e3:.0f}ms"
    return f"+{seconds:.1f}s" if seconds < 60 else f"+{duration(seconds)}"


def milliseconds(value: Number) -> str:
    """A latency."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:.1f}ms" if value < 10 else f"{value:,.0f}ms"


def measured(value: str) -> str:
    """A figure that a service tells of itself, with no more digits than can be read."""
    head, point, decimals = value.partition(".")
    if not (point and head.lstrip("-").isdigit() and decimals.isdigit()):
        return value
    return f"{float(value):,.2f}" if abs(float(value)) >= 1 else f"{float(value):.3g}"


def speed(value: float) -> str:
    """How fast the market's clock runs: `10×`, `paused`."""
    return "paused" if value == 0 else f"{value:g}×"


def eastern(moment: datetime) -> datetime:
    """The market's own time of day.

    Its rule since 2007: summer time from the second Sunday of March, 2 o'clock, to the first Sunday
    of November. (A time zone database costs 10 ms before the first paint.)
    """
    utc = moment.astimezone(UTC)
    march, november = (datetime(utc.year, month, 1, tzinfo=UTC) for month in (3, 11))
    begin = march + timedelta(days=(6 - march.weekday()) % 7 + 7, hours=7)
    end = november + timedelta(days=(6 - november.weekday()) % 7, hours=6)
    summer = begin <= utc < end
    return utc.astimezone(
        timezone(timedelta(hours=-4 if summer else -5), "EDT" if summer else "EST")
    )


def clock(moment: datetime | None) -> str:
    """Time of day in New York, to the second."""
    return NOTHING if moment is None else f"{eastern(moment):%H:%M:%S}"


def minute(moment: datetime | None) -> str:
    """Time of day in New York, to the minute."""
    return NOTHING if moment is None else f"{eastern(moment):%H:%M}"


def day(moment: datetime | None) -> str:
    """The date in New York: `Tue 8 Oct 2013`."""
    if moment is None:
        return NOTHING
    local = eastern(moment)
    return f"{local:%a} {local.day} {local:%b %Y}"


def cut(words: str, width: int) -> str:
    """Words that are longer than `width` with an ellipsis for their end."""
    return words if len(words) <= width else words[: max(0, width - 1)].rstrip() + "…"


def when(moment: datetime, today: str) -> str:
    """The time of day, or for another day than `today` (as `day` writes it) its month and day."""
    local = eastern(moment)
    same = not today or day(moment) == today
    return f"{local:%H:%M}" if same else f"{local:%m/%d}"


_SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: list[float], width: int) -> str:
    """The newest `width` values as bars between their own minimum and maximum."""
    known = [v for v in values if isfinite(v)][-width:]
    if not known:
        return " " * width
    low, high = min(known), max(known)
    scale = 7.999 / (high - low) if high > low else inf
    if not (isfinite(scale) and scale > 0):
        return (_SPARKS[3] * len(known)).rjust(width)
    return "".join(_SPARKS[min(7, int((v - low) * scale))] for v in known).rjust(width)


_EIGHTHS = " ▏▎▍▌▋▊▉"


def gauge(part: float, width: int) -> str:
    """A bar of `width` cells, filled to `part` (0–1)."""
    eighths = round(max(0.0, min(1.0, part)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width, "░")[:width]
