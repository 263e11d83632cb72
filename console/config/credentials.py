"""Whom to trade with and by which keys: the demo, Alpaca's paper account, or an exchange here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from console.config.errors import ConfigError

if TYPE_CHECKING:
    from console.config.layers import Overrides

PAPER_HOST = "paper-api.alpaca.markets"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The mode (a value of `Mode`) and the pair of keys for it."""

    mode: str = "DEMO"
    key_id: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    warnings: tuple[str, ...] = ()


def resolve_credentials(
    tree: Mapping[str, Any],
    origins: Mapping[str, str],
    overrides: Overrides,
    environment: Mapping[str, str],
) -> Credentials:
    """`--demo` and `--live-paper` decide; else a loopback `broker.base_url`, else the keys.

    Raises `ConfigError` for flags that contradict each other and for keys that are missing.
    """
    if overrides.demo and overrides.live_paper:
        raise ConfigError(
            "--demo --live-paper",
            "the demo and Alpaca's paper account can't both be traded on",
            "leave one of them out",
        )
    key_id = environment.get("ALPACA_API_KEY", "").strip()
    secret = environment.get("ALPACA_SECRET_KEY", "").strip()
    base_url = str(tree["broker"]["base_url"])
    demo = Credentials("DEMO", tree["demo"]["key_id"], tree["demo"]["secret_key"])
    if overrides.demo:
        return demo
    if bool(key_id) != bool(secret):
        there, missing = "ALPACA_API_KEY", "ALPACA_SECRET_KEY"
        if secret:
            there, missing = missing, there
        raise ConfigError(
            missing,
            f"is not set although {there} is; keys come in pairs",
            "set both in the environment or in .env, or start with --demo",
        )

    elsewhere = bool(base_url) and urlsplit(base_url).hostname != PAPER_HOST
    if overrides.live_paper:
        if elsewhere:
            raise ConfigError(
                f"broker.base_url = {base_url}",
                "is not Alpaca's paper host, which --live-paper asks for",
                "leave out --live-paper, or the address",
                origin=origins.get("broker.base_url", ""),
            )
        if not key_id:
            raise ConfigError(
                "--live-paper",
                "needs the keys of an Alpaca paper account, and ALPACA_API_KEY and "
                "ALPACA_SECRET_KEY are not set",
                "set both in the environment or in .env (see .env.example), or start with --demo",
            )
    if elsewhere:
        if overrides.speed is not None:
            raise _speed_refused(overrides.speed, "an exchange that runs already")
        if key_id:
            return Credentials("EXCHANGE", key_id, secret)
        note = f"no keys are set: trading at {base_url} as {demo.key_id}, the demo's account"
        return Credentials("EXCHANGE", demo.key_id, demo.secret_key, (note,))
    if key_id:
        if overrides.speed is not None:
            raise _speed_refused(overrides.speed, "Alpaca")
        return Credentials("PAPER", key_id, secret)
    if base_url:
        raise ConfigError(
            f"broker.base_url = {base_url}",
            "is Alpaca's paper host, and ALPACA_API_KEY and ALPACA_SECRET_KEY are not set",
            "set both in the environment or in .env, or start with --demo",
            origin=origins.get("broker.base_url", ""),
        )
    return demo


def _speed_refused(speed: float, who: str) -> ConfigError:
    return ConfigError(
        f"--speed {speed:g}",
        f"sets the time of the demo, and {who} has its own",
        "add --demo, or leave --speed out",
    )
