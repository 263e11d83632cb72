"""Every feature against TA-Lib: indicators × series × windows."""

from __future__ import annotations

import numpy as np
import pytest

from signal_bridge import STANDARD_FEATURES, Bar, FeatureComputer
from tests.unit.features_reference import SERIES, Floats, Series, expected, market, offset

RELATIVE = 1e-9
OF_100 = ("stoch_k", "stoch_d", "mfi")
"""TA-Lib's sliding sums leave up to 1e-11 of 100 where the truth is 0: a floor for these."""

OTHER_WINDOWS = (
    "sma_5", "sma_50", "sma_200", "ema_2", "ema_50", "ema_200", "rsi_2", "rsi_7",
    "rsi_21", "macd_5_35_5", "macd_signal_5_35_5", "macd_hist_5_35_5", "macd_3_10_16",
    "macd_signal_3_10_16", "bb_upper_5", "bb_middle_50", "bb_lower_50", "atr_5", "atr_21",
    "adx_5", "adx_21", "plus_di_5", "minus_di_21", "stoch_k_5_3_2", "stoch_d_5_3_2",
    "stoch_k_21_5_5", "stoch_d_21_5_5", "mfi_5", "mfi_31", "cci_5", "cci_50", "roc_1", "roc_30",
    "willr_5", "willr_63", "vwap_5", "vwap_100", "stddev_5", "stddev_100", "donchian_upper_5",
    "donchian_middle_64", "donchian_lower_100", "keltner_upper_10_20", "keltner_middle_10_20",
    "keltner_lower_10_20", "realized_vol_5", "realized_vol_50", "rsi_50", "atr_2", "adx_2",
    "adx_50", "plus_di_2", "plus_di_50", "minus_di_2", "mfi_2", "mfi_64", "cci_2", "cci_14",
    "cci_100", "stoch_k_1_1_1", "stoch_d_14_1_3", "stoch_k_63_7_2", "stoch_d_63_7_2", "willr_2",
    "willr_200", "stddev_2", "bb_upper_2", "roc_200", "macd_9_10_2", "macd_signal_9_10_2",
    "donchian_upper_33", "donchian_lower_2",
)  # fmt: skip


def batch(names: list[str], series: Series) -> dict[str, Floats]:
    return dict(zip(names, FeatureComputer(names).compute_batch(*series.columns), strict=True))


def floor(name: str, series: Series) -> float:
    """How far apart two right answers may be where the true one is all but zero."""
    if name.startswith(OF_100):
        return 1e-9
    if name.startswith("macd"):
        # A difference of two averages: it has the last digits of the price, not its own.
        return 4 * float(np.finfo(np.float64).eps * series.close.max())
    return 0.0


def assert_agrees(name: str, found: Floats, series: Series) -> None:
    wanted = expected(name, series)
    began = f"{name}: where it begins"
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), err_msg=began)
    valid = ~np.isnan(wanted)
    np.testing.assert_allclose(
        found[valid], wanted[valid], rtol=RELATIVE, atol=floor(name, series), err_msg=name
    )


@pytest.mark.parametrize("kind", SERIES)
def test_the_full_set_agrees_with_talib(kind: str) -> None:
    series = SERIES[kind]()
    found = batch(list(STANDARD_FEATURES), series)
    for name in STANDARD_FEATURES:
        if name == "cci_20" and kind == "offset of 1e7":
            continue
        assert_agrees(name, found[name], series)


@pytest.mark.parametrize("kind", SERIES)
def test_other_windows_agree_with_talib(kind: str) -> None:
    series = SERIES[kind]()
    found = batch(list(OTHER_WINDOWS), series)
    for name in OTHER_WINDOWS:
        if name.startswith("cci") and kind == "offset of 1e7":
            continue  # no double has its digits: see below
        assert_agrees(name, found[name], series)


@pytest.mark.parametrize("windows", [(20, 10), (3, 9), (9, 3), (10, 50)])
def test_keltners_bands_agree_with_a_plain_loop(windows: tuple[int, int]) -> None:
    series, (w, r) = market(400), windows
    highs, lows, closes = (x.tolist() for x in (series.high, series.low, series.close))
    ema, atr = sum(closes[:w]) / w, 0.0
    ranges = [
        max(h - lo, abs(h - before), abs(lo - before))
        for h, lo, before in zip(highs[1:], lows[1:], closes[:-1], strict=True)
    ]
    names = [f"keltner_{line}_{w}_{r}" for line in ("upper", "middle", "lower")]
    upper, middle, lower = batch(names, series).values()
    for n in range(len(series)):
        if n >= w:
            ema += (closes[n] - ema) * 2 / (w + 1)
        if n == r:
            atr = sum(ranges[:r]) / r
        elif n > r:
            atr = (atr * (r - 1) + ranges[n - 1]) / r
        wanted = [ema] if n >= w - 1 else [np.nan]
        wanted += [ema + 2 * atr, ema - 2 * atr] if n >= max(r, w - 1) else [np.nan] * 2
        found = [middle[n], upper[n], lower[n]]
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=f"bar {n}")


def test_cci_at_a_huge_offset_is_nearer_to_the_truth_than_talib() -> None:
    series = offset()
    typical = (series.high.astype(np.longdouble) + series.low + series.close) / 3
    windows = np.lib.stride_tricks.sliding_window_view(typical, 20)
    mean = windows.mean(axis=1)
    deviation = np.abs(windows - mean[:, None]).mean(axis=1)
    truth = ((typical[19:] - mean) / (np.longdouble("0.015") * deviation)).astype(np.float64)
    found = batch(["cci_20"], series)["cci_20"][19:]
    ours = np.abs(found - truth)
    theirs = np.abs(expected("cci_20", series)[19:] - truth)
    assert ours.max() < 1e-5
    assert ours.max() <= theirs.max() * 1.5


def test_a_window_of_one_is_the_close_itself() -> None:
    series = market(50)
    np.testing.assert_array_equal(batch(["sma_1"], series)["sma_1"], series.close)


def test_a_million_bars_leave_no_drift() -> None:
    series = market(1_000_000, seed=5)
    found = batch(
        ["sma_20", "stddev_20", "vwap_20", "mfi_14", "realized_vol_20", "donchian_upper"], series
    )
    # A multiple of 16 from the beginning: its windows have the anchors that they have there.
    tail = Series(*(column[-400:].copy() for column in series.columns))
    fresh = batch(list(found), tail)
    for name, values in found.items():
        np.testing.assert_array_equal(values[-100:], fresh[name][-100:], err_msg=name)


def test_after_a_million_bars_recursions_are_where_talibs_are() -> None:
    series = market(1_000_000, seed=6)
    names = ["ema_26", "macd_hist", "rsi_14", "atr_14", "adx_14", "plus_di_14", "obv"]
    found = batch(names, series)
    for name in names:
        wanted = expected(name, series)[-1000:]
        at_most = floor(name, series)
        np.testing.assert_allclose(
            found[name][-1000:], wanted, rtol=RELATIVE, atol=at_most, err_msg=name
        )


def test_a_flat_market_has_no_deviation_at_all() -> None:
    series = SERIES["constant"]()
    found = batch(["stddev_20", "bb_upper", "bb_middle", "realized_vol_20"], series)
    assert (found["stddev_20"][19:] == 0).all()
    assert (found["realized_vol_20"][20:] == 0).all()
    np.testing.assert_array_equal(found["bb_upper"][19:], series.close[19:])


def test_prices_of_zero_are_survived_and_forgotten() -> None:
    series = market(200)
    for column in series.columns[:4]:
        column[50:53] = 0.0
    found = batch(list(STANDARD_FEATURES), series)
    assert found["log_return"][50] == -np.inf
    assert np.isnan(found["log_return"][51])
    assert found["roc_10"][60] == 0.0
    assert np.isfinite(found["realized_vol_20"][75:]).all()
    for name in ("sma_20", "stddev_20", "cci_20", "vwap_20", "mfi_14"):
        assert np.isfinite(found[name][75:]).all(), name


def test_streaming_gives_the_numbers_of_batch_from_the_first_bar_on() -> None:
    series = market(600)
    computer = FeatureComputer()
    found = computer.compute_batch(*series.columns)
    rows = zip(*(column.tolist() for column in series.columns), strict=True)
    for at, (o, h, lo, c, v) in enumerate(rows):
        numbers = computer.compute_streaming(Bar("X", o, h, lo, c, v, at))
        assert tuple(numbers) == STANDARD_FEATURES
        np.testing.assert_array_equal(list(numbers.values()), found[:, at])
