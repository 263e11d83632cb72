"""The feature computer as Python sees it: names, state, refusals, arrays; batch = streaming."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_bridge import STANDARD_FEATURES, Bar, FeatureComputer
from tests.unit.features_reference import Series, market

ISSUED = (
    "sma_20 ema_12 ema_26 rsi_14 macd macd_signal macd_hist bb_upper bb_middle bb_lower atr_14 "
    "adx_14 plus_di_14 minus_di_14 stoch_k stoch_d obv mfi_14 cci_20 roc_10 willr_14 vwap_20 "
    "stddev_20 donchian_upper donchian_middle donchian_lower keltner_upper keltner_middle "
    "keltner_lower log_return realized_vol_20"
)
FIRST_VALID = {
    "obv": 0, "log_return": 1, "roc_10": 10, "ema_12": 11, "willr_14": 13, "rsi_14": 14,
    "mfi_14": 14, "stoch_d": 17, "sma_20": 19, "keltner_upper": 19, "realized_vol_20": 20,
    "ema_26": 25, "adx_14": 27, "macd": 33,
}  # fmt: skip


def bars(series: Series, symbol: str = "IBM") -> list[Bar]:
    rows = zip(*(column.tolist() for column in series.columns), strict=True)
    return [Bar(symbol, o, h, lo, c, v, at) for at, (o, h, lo, c, v) in enumerate(rows)]


def streamed(computer: FeatureComputer, series: Series, symbol: str = "IBM") -> np.ndarray:
    out = np.empty((len(series), len(computer.names)))
    for bar, row in zip(bars(series, symbol), out, strict=True):
        computer.update_into(bar, row)
    return out


def test_the_full_set_has_its_names_in_their_order() -> None:
    assert " ".join(STANDARD_FEATURES) == ISSUED
    assert FeatureComputer().names == STANDARD_FEATURES


def test_numbers_are_nan_until_there_are_bars_enough() -> None:
    table = dict(zip(STANDARD_FEATURES, streamed(FeatureComputer(), market(60)).T, strict=True))
    for name, first in FIRST_VALID.items():
        assert np.isnan(table[name][:first]).all(), name
        assert not np.isnan(table[name][first:]).any(), name


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["rsi"], "0 windows are given, rsi takes 1"),
        (["rsi_0"], "a window of 0 bars is not within 2"),
        (["rsi_14_3"], "2 windows are given, rsi takes 1"),
        (["sma_999999999"], "not within 1 to"),
        (["smaa_20"], '"smaa_20" isn\'t known'),
        (["macd_26_12_9"], "the fast window 26 must be shorter"),
        (["sma_20", "sma_20"], "asked for twice"),
        ([""], '"" isn\'t known'),
        ([], "no feature is asked for"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(names: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        FeatureComputer(names)


def test_a_chosen_set_gives_the_numbers_of_the_full_one() -> None:
    series = market(400)
    full = dict(zip(STANDARD_FEATURES, streamed(FeatureComputer(), series).T, strict=True))
    chosen = ["macd_hist", "sma_20", "stoch_d", "adx_14"]
    for name, column in zip(chosen, streamed(FeatureComputer(chosen), series).T, strict=True):
        np.testing.assert_array_equal(column, full[name], err_msg=name)


def test_each_symbol_has_a_state_of_its_own() -> None:
    one, two = market(100, seed=1), market(100, seed=2)
    apart = streamed(FeatureComputer(), one), streamed(FeatureComputer(), two)
    computer = FeatureComputer()
    rows = np.empty((200, len(computer.names)))
    turns = [bar for pair in zip(bars(one, "A"), bars(two, "B"), strict=True) for bar in pair]
    computer.update_many(turns, rows)
    np.testing.assert_array_equal(rows[::2], apart[0])
    np.testing.assert_array_equal(rows[1::2], apart[1])
    assert computer.symbols == ("A", "B")
    assert computer.bars_seen("A") == 100
    computer.reset("A")
    assert (computer.bars_seen("A"), computer.bars_seen("B")) == (0, 100)


def test_equal_symbols_from_different_strings_are_one_symbol() -> None:
    computer = FeatureComputer(["sma_2"])
    computer.compute_streaming(Bar(bytes([73, 66, 77]).decode(), 1, 1, 1, 1.0, 1, 0))
    assert computer.compute_streaming(Bar("IBM", 1, 1, 1, 3.0, 1, 1)) == {"sma_2": 2.0}


@pytest.mark.parametrize("names", [None, ["rsi_7", "vwap_100", "macd_5_35_5"]])
def test_a_snapshot_goes_on_where_it_stopped(names: list[str] | None) -> None:
    series = market(300)
    for stop in (0, 1, 13, 20, 33, 34, 150):
        computer = FeatureComputer(names)
        whole = streamed(computer, series)
        first, second = FeatureComputer(names), FeatureComputer(names)
        streamed(first, series.head(stop))
        second.restore(first.snapshot())
        rest = Series(*(column[stop:] for column in series.columns))
        np.testing.assert_array_equal(streamed(second, rest), whole[stop:])


def test_a_foreign_or_damaged_snapshot_is_refused_and_changes_nothing() -> None:
    computer = FeatureComputer(["sma_3", "obv"])
    streamed(computer, market(10))
    good = computer.snapshot()
    for bad, says in (
        (b"", "no snapshot"),
        (b"nonsense" * 9, "no snapshot"),
        (good[:8] + b"\x63" + good[9:], "version 99"),
        (good[:-1], "cut short"),
        (good + b"\0", "cut short"),
        (FeatureComputer(["sma_4"]).snapshot(), "sma_4"),
    ):
        with pytest.raises(ValueError, match=says):
            computer.restore(bad)
        assert computer.snapshot() == good


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_break_restore(noise: bytes) -> None:
    computer = FeatureComputer(["sma_3", "stddev_3"])
    streamed(computer, market(5))
    good = computer.snapshot()
    # Names stay as they are, what follows is noise.
    with pytest.raises(ValueError, match=r"cut short|no snapshot|version|snapshot is of"):
        computer.restore(good[: len(good) - 100] + noise + b"\xff" * 8)
    assert computer.snapshot() == good


@pytest.mark.parametrize("field", ["high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bar_that_is_not_finite_is_refused_and_leaves_no_trace(field: str, value: float) -> None:
    series = market(50)
    computer = FeatureComputer()
    streamed(computer, series)
    before = computer.snapshot()
    row = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0, field: value}
    bar = Bar("IBM", row["open"], row["high"], row["low"], row["close"], row["volume"], 0)
    with pytest.raises(ValueError, match=f"{field} is"):
        computer.compute_streaming(bar)
    with pytest.raises(ValueError, match=f"{field} is"):
        computer.update_many([bars(series)[0], bar], np.empty((2, 31)))
    assert computer.snapshot() == before
    broken = Series(*(column.copy() for column in series.columns))
    getattr(broken, field)[7] = value
    with pytest.raises(ValueError, match=f"bar 7: {field} is"):
        computer.compute_batch(*broken.columns)


def test_an_open_that_is_not_finite_is_nobodys_business() -> None:
    assert FeatureComputer(["obv"]).compute_streaming(Bar("X", np.nan, 1, 1, 1, 5, 0)) == {"obv": 5}


def test_an_array_that_does_not_fit_is_refused() -> None:
    computer, bar = FeatureComputer(), Bar("X", 1, 1, 1, 1, 1, 0)
    frozen = np.empty(31)
    frozen.flags.writeable = False
    for out, says in (
        (np.empty(30), "holds 30 numbers, 31"),
        (np.empty(62)[::2], "isn't contiguous"),
        (frozen, "read-only"),
    ):
        with pytest.raises(ValueError, match=says):
            computer.update_into(bar, out)
    for wrong in (np.empty(31, dtype=np.float32), np.empty((31, 1)), [0.0] * 31):
        with pytest.raises(TypeError):
            computer.update_into(bar, wrong)  # type: ignore[arg-type]
    assert computer.bars_seen("X") == 0


def test_batch_columns_that_do_not_fit_are_refused() -> None:
    computer, s = FeatureComputer(), market(40)
    with pytest.raises(ValueError, match="volume has 39 bars, close has 40"):
        computer.compute_batch(s.open, s.high, s.low, s.close, s.volume[:-1])
    with pytest.raises(ValueError, match="open has 39 bars, close has 40"):
        computer.compute_batch(s.open[:-1], s.high, s.low, s.close, s.volume)
    with pytest.raises(TypeError, match="close: a one-dimensional float64 array is wanted"):
        computer.compute_batch(s.open, s.high, s.low, s.close.astype(np.float32), s.volume)
    every_other = np.repeat(s.close, 2)[::2]
    with pytest.raises(ValueError, match="close isn't contiguous"):
        computer.compute_batch(s.open, s.high, s.low, every_other, s.volume)
    with pytest.raises(ValueError, match="out has the shape"):
        computer.compute_batch(*s.columns, out=np.empty((40, 31)))


def test_batch_writes_into_the_array_it_is_given() -> None:
    computer, s = FeatureComputer(), market(40)
    out = np.empty((31, 40))
    assert computer.compute_batch(*s.columns, out=out) is out
    np.testing.assert_array_equal(out, computer.compute_batch(*s.columns))


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("symbols", [1, 8, 19])
def test_many_symbols_are_each_computed_as_if_alone(symbols: int, threads: int) -> None:
    each = [market(90, seed=seed) for seed in range(symbols)]
    computer = FeatureComputer()
    alone = np.stack([computer.compute_batch(*series.columns) for series in each])
    rows = [np.stack([series.columns[i] for series in each]) for i in range(5)]
    many = computer.compute_many(*rows, threads=threads)
    np.testing.assert_array_equal(many, alone)
    columns = [np.ascontiguousarray(row.T) for row in rows]
    turned = computer.compute_many(*columns, layout="bar_symbol", threads=threads)
    np.testing.assert_array_equal(turned, alone)


def test_many_symbols_that_do_not_fit_are_refused() -> None:
    computer = FeatureComputer()
    rows = [np.ones((3, 40)) for _ in range(5)]
    with pytest.raises(ValueError, match="layout"):
        computer.compute_many(*rows, layout="diagonal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads = 0"):
        computer.compute_many(*rows, threads=0)
    with pytest.raises(ValueError, match="high has the shape"):
        computer.compute_many(rows[0], np.ones((2, 40)), *rows[2:])
    rows[3] = rows[3].copy()
    rows[3][1, 5] = np.nan
    with pytest.raises(ValueError, match="symbol 1, bar 5: close is"):
        computer.compute_many(*rows)


def test_batch_leaves_the_gil_and_the_streaming_state() -> None:
    computer, series = FeatureComputer(), market(200_000)
    beats = 0
    done = threading.Event()

    def work() -> None:
        for _ in range(5):
            computer.compute_batch(*series.columns)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        computer.compute_streaming(Bar("X", 1, 1, 1, 1, 1, beats))
        beats += 1
    thread.join(timeout=30)
    assert computer.bars_seen("X") == beats > 5


prices = st.floats(min_value=1e-3, max_value=1e6)
volumes = st.floats(min_value=0, max_value=1e12)
rows = st.lists(st.tuples(prices, prices, prices, volumes), min_size=0, max_size=120)


def columns(rows: list[tuple[float, float, float, float]]) -> Series:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    a, b, c, v = (np.ascontiguousarray(table[:, i]) for i in range(4))
    return Series(a, np.maximum(np.maximum(a, b), c), np.minimum(np.minimum(a, b), c), c, v)


@settings(max_examples=150, deadline=None)
@given(rows)
def test_streaming_is_batch_to_the_bit(rows: list[tuple[float, float, float, float]]) -> None:
    series = columns(rows)
    computer = FeatureComputer()
    np.testing.assert_array_equal(
        streamed(computer, series).T, computer.compute_batch(*series.columns)
    )


@settings(max_examples=80, deadline=None)
@given(rows, st.integers(0, 120))
def test_a_prefix_has_the_numbers_of_the_whole(
    rows: list[tuple[float, float, float, float]], cut: int
) -> None:
    series, computer = columns(rows), FeatureComputer()
    whole = computer.compute_batch(*series.columns)
    head = computer.compute_batch(*series.head(cut).columns)
    np.testing.assert_array_equal(head, whole[:, : head.shape[1]])


@settings(max_examples=80, deadline=None)
@given(rows, st.integers(-8, 8))
def test_doubling_all_prices_scales_prices_and_leaves_ratios(
    rows: list[tuple[float, float, float, float]], power: int
) -> None:
    series, computer = columns(rows), FeatureComputer()
    factor = 2.0**power
    plain = dict(zip(computer.names, computer.compute_batch(*series.columns), strict=True))
    scaled = computer.compute_batch(*series.scaled(factor).columns)
    in_dollars = (
        "sma", "ema", "macd", "bb", "atr", "vwap", "stddev", "donchian", "keltner",
    )  # fmt: skip
    for name, row in zip(computer.names, scaled, strict=True):
        expected = plain[name] * (factor if name.startswith(in_dollars) else 1.0)
        np.testing.assert_array_equal(row, expected, err_msg=name)


@settings(max_examples=80, deadline=None)
@given(rows, st.integers(-8, 8))
def test_doubling_all_volumes_scales_what_counts_shares_alone(
    rows: list[tuple[float, float, float, float]], power: int
) -> None:
    series, computer = columns(rows), FeatureComputer()
    factor = 2.0**power
    plain = computer.compute_batch(*series.columns)
    scaled = computer.compute_batch(*series.scaled(volume=factor).columns)
    for name, row, before in zip(computer.names, scaled, plain, strict=True):
        expected = before * (factor if name == "obv" else 1.0)
        np.testing.assert_array_equal(row, expected, err_msg=name)


steps = st.integers(64 * 10, 64 * 1000)
stepped = st.lists(st.tuples(steps, steps, steps, st.integers(0, 10_000)), max_size=120)


@settings(max_examples=80, deadline=None)
@given(stepped, st.integers(1, 4096))
def test_raising_all_prices_raises_levels_and_leaves_distances(
    rows: list[tuple[int, int, int, int]], dollars: int
) -> None:
    """In 64ths of a dollar, so that no price is rounded before it comes to us."""
    table = [(a / 64, b / 64, c / 64, float(v)) for a, b, c, v in rows]
    series, computer = columns(table), FeatureComputer()
    raised = Series(*(x + dollars for x in series.columns[:4]), series.volume)
    plain = dict(zip(computer.names, computer.compute_batch(*series.columns), strict=True))
    found = dict(zip(computer.names, computer.compute_batch(*raised.columns), strict=True))
    for name in (
        "rsi_14", "atr_14", "adx_14", "plus_di_14", "minus_di_14", "stoch_k", "stoch_d", "willr_14",
        "stddev_20", "obv",
    ):  # fmt: skip
        np.testing.assert_array_equal(found[name], plain[name], err_msg=name)
    for name in ("donchian_upper", "donchian_middle", "donchian_lower"):
        np.testing.assert_array_equal(found[name], plain[name] + dollars, err_msg=name)
    for name in ("sma_20", "ema_12", "ema_26", "bb_upper", "bb_lower", "keltner_upper", "vwap_20"):
        np.testing.assert_allclose(found[name], plain[name] + dollars, rtol=1e-12, err_msg=name)
    digits = 1e-12 * (1000 + dollars)
    for name in ("macd", "macd_signal", "macd_hist"):
        np.testing.assert_allclose(found[name], plain[name], atol=digits, rtol=0, err_msg=name)
