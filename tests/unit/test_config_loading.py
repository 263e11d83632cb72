"""Settings: the order of their layers, and what each wrong one is told as."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomli

from console.config import (
    ConfigError,
    Mode,
    Overrides,
    Settings,
    default_config_path,
    load_settings,
    loosened_limits,
)
from console.config.layers import leaves, read_layers
from console.config.models import SECTION_NAMES
from console.config.schema import line_of

KEYS = {"ALPACA_API_KEY": "PKABC", "ALPACA_SECRET_KEY": "a-secret-of-some-length"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config" / "trading-console").mkdir(parents=True)
    return tmp_path


def load(home: Path, *values: str, **given: Any) -> Settings:
    environment = {"XDG_CONFIG_HOME": str(home / "config"), "HOME": str(home)}
    given["environment"] = environment | given.get("environment", {})
    return load_settings(Overrides(values=values, **given))


def user_config(home: Path, text: str) -> Path:
    path = home / "config" / "trading-console" / "config.toml"
    path.write_text(text)
    return path


def test_the_packaged_file_holds_every_setting_and_its_default() -> None:
    packaged = tomli.loads(default_config_path().read_text())
    defaults = Settings().sections()
    packaged.pop("profiles")
    assert set(packaged) == set(SECTION_NAMES)
    limits = {name for name, _ in leaves(defaults)} - {"demo.secret_key"}
    assert {name for name, _ in leaves(packaged)} - {"demo.secret_key"} == limits
    assert {n: v for n, v in leaves(packaged) if n in limits} == {
        n: v for n, v in leaves(defaults) if n in limits
    }


def test_each_layer_lies_over_the_one_before(home: Path) -> None:
    given: dict[str, Any] = {}
    assert load(home).feed.history == 390
    user_config(home, "[feed]\nhistory = 400\n[profiles.prod.feed]\nhistory = 420\n")
    assert load(home, **given).feed.history == 400
    extra = home / "extra.toml"
    extra.write_text("[feed]\nhistory = 410\n")
    given["config"] = extra
    assert load(home, **given).feed.history == 410
    given["profile"] = "prod"
    assert load(home, **given).feed.history == 420
    given["environment"] = {"TRADING_CONSOLE_FEED__HISTORY": "430"}
    assert load(home, **given).feed.history == 430
    assert load(home, "feed.history=440", "feed.history=450", **given).feed.history == 450


@pytest.mark.parametrize(
    ("environment", "flag", "profile"),
    [
        ({}, None, "dev"),
        ({"TRADING_CONSOLE_PROFILE": "staging"}, None, "staging"),
        ({"TRADING_CONSOLE_PROFILE": "staging"}, "prod", "prod"),
    ],
)
def test_the_profile_comes_from_the_flag_before_the_environment(
    home: Path, environment: dict[str, str], flag: str | None, profile: str
) -> None:
    assert load(home, environment=environment, profile=flag).profile == profile


def test_a_profile_changes_what_it_names_and_says_so(home: Path) -> None:
    settings = load(home, profile="prod")
    assert settings.risk.max_order_notional == Decimal(25_000)
    assert settings.risk.max_order_qty == Decimal(10_000)
    assert settings.origins["risk.max_order_notional"].endswith("profile prod")


def test_each_profile_is_as_tight_as_the_one_before_it(home: Path) -> None:
    dev, staging, prod = (load(home, profile=name) for name in ("dev", "staging", "prod"))
    assert not loosened_limits(dev.risk, staging.risk)
    assert not loosened_limits(staging.risk, prod.risk)
    # The other way round each of them would loosen something: they differ.
    assert loosened_limits(staging.risk, dev.risk)
    assert loosened_limits(prod.risk, staging.risk)
    assert (staging.log.format, prod.log.format) == ("json", "json")
    assert not any(settings.demo.control for settings in (dev, staging, prod))


def test_origins_name_file_and_line(home: Path) -> None:
    path = user_config(home, "# mine\n[ui]\ntheme = 'light'\n")
    assert load(home).origins["ui.theme"] == f"{path}:3"


def test_a_price_is_the_decimal_that_was_written(home: Path) -> None:
    user_config(home, "[risk]\nprice_collar_pct = 0.1\n")
    assert load(home).risk.price_collar_pct == Decimal("0.1")


def test_key_bindings_may_be_nested_or_quoted(home: Path) -> None:
    user_config(home, "[ui.keys]\norder.buy = 'B'\n'order.sell' = 'S'\n")
    assert load(home).ui.keys == {"order.buy": "B", "order.sell": "S"}
    assert load(home, "ui.keys.order.buy=x").ui.keys["order.buy"] == "x"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("feed.symbols=IBM,SPY", ("IBM", "SPY")),
        ('feed.symbols=["BRK.B"]', ("BRK.B",)),
    ],
)
def test_a_list_may_be_given_with_commas_or_as_toml(
    home: Path, text: str, wanted: tuple[str, ...]
) -> None:
    assert load(home, text).feed.symbols == wanted


def test_limits_of_a_symbol_with_a_dot_can_be_set(home: Path) -> None:
    settings = load(home, "risk.symbols.BRK.B.max_order_qty=5")
    assert settings.risk.symbols["BRK.B"].max_order_qty == Decimal(5)


def test_any_feature_and_window_can_be_a_column(home: Path) -> None:
    path = home / "mine.toml"
    path.write_text("[feed]\nfeatures = ['macd_signal_5_35_5', 'spread_bp', 'keltner_upper']\n")
    features = load(home, config=path).feed.features
    assert features == ("macd_signal_5_35_5", "spread_bp", "keltner_upper")


# -- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[ports]\nhaelth = 1\n", (":2)", "ports.haelth", "did you mean health")),
        ("[port]\nhealth = 1\n", (":1)", "is no section", "did you mean ports")),
        ("market = 1\n", (":1)", "did you mean ports.market")),
        ("[risk]\n\nmax_order_qty = '5'\n", (":3)", "a number is wanted", "quotes away")),
        ("[ports]\nhealth = 70000\n", (":2)", "ports.health = 70000", "at most 65535")),
        ("[ports]\nhealth = 80.5\n", (":2)", "a whole number")),
        ("[ports]\nmarket = 5556\n", (":2)", "market and signal are both 5556")),
        ("[risk]\nallow_short = 1\n", (":2)", "true or false")),
        ("[demo]\nspeed = 0.5\n", (":2)", "at least 1")),
        ("[feed]\nsymbols = ['ibm']\n", (":2)", "capital letters")),
        ("[feed]\nsymbols = 'IBM'\n", (":2)", "a list is wanted")),
        ("[feed]\nfeatures = ['smaa_50']\n", (":2)", 'did you mean "sma_50"?')),
        ("[feed]\nfeatures = ['spread', 'macrosignal']\n", (":2)", "isn't known", "microprice")),
        ("[feed]\nfeatures = ['rsi_0']\n", (":2)", "not within 2 to 100000")),
        ("[feed]\nfeatures = ['obv', 'obv']\n", (":2)", "asked for twice")),
        ("[broker]\nfeed = 'otc'\n", (":2)", "'iex' or 'sip'")),
        ("[bus]\nbind = '0.0.0.0'\n", (":2)", "bus.security.enabled")),
        ("[risk.symbols]\nIBM = { max_order_qt = 1 }\n", (":2)", "did you mean max_order_qty")),
        ("[risk.symbols.IBM]\nmax_order_qty = -1\n", (":2)", "must be above 0")),
        ("[profiles.prod]\nrisk = { max_ordr_qty = 4 }\n", (":2)", "did you mean max_order_qty")),
        ("profile = 'prd'\n", (":1)", "is no profile", "did you mean prod")),
        ("[ports\n", (":1", "no valid TOML")),
    ],
)
def test_a_wrong_setting_in_a_file_names_line_value_rule_and_remedy(
    home: Path, text: str, parts: tuple[str, ...]
) -> None:
    path = home / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(home, config=path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("ports.helth=1", ("--set ports.helth", "did you mean health")),
        ("ports.health", ("has no value", "--set section.key=value")),
        ("ports.health=x", ("ports.health = x", "a number is wanted")),
        ("ports=1", ("is a section",)),
        ("ports.health.x=1", ("has no parts",)),
        ("risk.allow_short=maybe", ("true or false",)),
        ("risk.symbols.IBM=5", ("risk.symbols.IBM.KEY",)),
        ("demo.secret_key=hunter2hunter2", ()),
    ],
)
def test_a_wrong_set_names_what_was_typed(home: Path, value: str, parts: tuple[str, ...]) -> None:
    if not parts:
        assert "hunter2" not in repr(load(home, value))
        return
    with pytest.raises(ConfigError) as caught:
        load(home, value)
    for part in parts:
        assert part in str(caught.value)


def test_a_wrong_variable_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"TRADING_CONSOLE_PORT__HEALTH.*did you mean ports"):
        load(home, environment={"TRADING_CONSOLE_PORT__HEALTH": "1"})


def test_a_missing_file_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: can't be read.*--config"):
        load(home, config=home / "nowhere.toml")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.alpaca.markets",
        "http://paper-api.alpaca.markets",
        "http://127.0.0.1.evil.com",
        "https://evil.com/?paper-api.alpaca.markets",
        "http://user@127.0.0.1:1",
    ],
)
@pytest.mark.parametrize("by", ["environment", "set"])
def test_a_host_that_is_neither_paper_nor_loopback_is_refused(
    home: Path, url: str, by: str
) -> None:
    given: dict[str, Any] = {"environment": {"ALPACA_BASE_URL": url}, "demo": True}
    values = () if by == "environment" else (f"broker.base_url={url}",)
    with pytest.raises(ConfigError, match=r"broker\.base_url"):
        load(home, *values, **(given if by == "environment" else {}))


# -- whom to trade with ----------------------------------------------------------------------


def test_without_keys_it_is_the_demo_and_with_them_paper(home: Path) -> None:
    assert load(home).mode is Mode.DEMO
    settings = load(home, environment=KEYS)
    assert settings.mode is Mode.PAPER
    assert settings.key_id.get_secret_value() == "PKABC"
    assert load(home, environment=KEYS, demo=True).mode is Mode.DEMO
    assert load(home, environment=KEYS, demo=True).key_id.get_secret_value() == "PKDEMO"


def test_a_loopback_address_is_an_exchange_that_runs_already(home: Path) -> None:
    there = {"ALPACA_BASE_URL": "http://127.0.0.1:9000"}
    settings = load(home, environment=there)
    assert settings.mode is Mode.EXCHANGE
    assert settings.endpoint().trading_url == "http://127.0.0.1:9000"
    assert settings.endpoint().market_stream_url == "ws://127.0.0.1:9000/v2/iex"
    assert any("PKDEMO" in warning for warning in settings.warnings)
    assert load(home, environment=there | KEYS).key_id.get_secret_value() == "PKABC"


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"live_paper": True}, "--live-paper: needs the keys"),
        ({"demo": True, "live_paper": True}, "can't both"),
        ({"environment": {"ALPACA_API_KEY": "PKABC"}}, "ALPACA_SECRET_KEY: is not set"),
        ({"environment": {"ALPACA_SECRET_KEY": "abc"}}, "ALPACA_API_KEY: is not set"),
        ({"environment": KEYS, "speed": 60.0}, "--speed 60"),
        (
            {"environment": KEYS | {"ALPACA_BASE_URL": "http://127.0.0.1:1"}, "live_paper": True},
            "is not Alpaca's paper host",
        ),
    ],
)
def test_flags_and_keys_that_do_not_fit_are_told(
    home: Path, given: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        load(home, **given)
    assert caught.value.exit_code == 78
    assert KEYS["ALPACA_SECRET_KEY"] not in str(caught.value)


def test_keys_show_in_no_text_of_the_settings(home: Path) -> None:
    settings = load(home, environment=KEYS)
    for text in (
        repr(settings),
        str(settings),
        str(settings.sections()),
        repr(settings.endpoint()),
    ):
        assert KEYS["ALPACA_SECRET_KEY"] not in text


def test_dot_env_is_read_under_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".env").write_text("ALPACA_API_KEY=PKFILE\nALPACA_SECRET_KEY=in-the-file\nOTHER=1\n")
    (home / ".env").chmod(0o644)
    monkeypatch.chdir(home)
    settings = load_settings(Overrides())
    assert settings.key_id.get_secret_value() == "PKFILE"
    assert any("chmod 600" in warning for warning in settings.warnings)
    monkeypatch.setenv("ALPACA_API_KEY", "PKENV")
    assert load_settings(Overrides()).key_id.get_secret_value() == "PKENV"


def test_the_state_directory_is_one_for_each_mode_unless_named(home: Path) -> None:
    state = {"XDG_STATE_HOME": str(home / "state")}
    demo, paper = load(home, environment=state), load(home, environment=state | KEYS)
    assert demo.state_dir == home / "state" / "trading-console" / "demo"
    assert paper.state_dir == home / "state" / "trading-console" / "paper"
    assert load(home, environment=state, state_dir=home / "x").state_dir == home / "x"


def test_the_plain_half_needs_no_pydantic(command_python: Any) -> None:
    code = (
        "import sys; from console.config.layers import Overrides, read_layers; "
        "assert read_layers(Overrides()).tree['ui']['theme'] == 'dark'; "
        "print(sorted({'pydantic', 'aiohttp', 'zmq', 'typer', 'textual'} & set(sys.modules)))"
    )
    assert command_python(code) == "[]"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("b", "c"), 4),
        (("b", "d", "e"), 5),
        (("f", "g.h", "i"), 8),
        (("b", "missing"), 3),
        (("nowhere", "x"), None),
    ],
)
def test_line_of_finds_keys_in_tables_and_inline(path: tuple[str, ...], line: int | None) -> None:
    text = 'a = 1 # b.c = 2\n\n[b]\nc = 2\nd = { e = 3 }\n\n[f."g.h"]\ni = 1\n'
    assert line_of(text, path) == line


def test_reading_layers_twice_gives_the_same(home: Path) -> None:
    overrides = Overrides(
        environment={"XDG_CONFIG_HOME": str(home / "config")}, values=("feed.history=400",)
    )
    assert read_layers(overrides).tree == read_layers(overrides).tree
