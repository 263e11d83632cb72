"""Settings: typed, strict, layered, and watched for changes.

`load_settings()` lays the packaged config.toml, the user's own, `--config`, the profile, the
environment and `--set` over each other and answers a frozen `Settings`, or raises a `ConfigError`
that names the value, the rule and the remedy. `ConfigWatcher` does it again when a file changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.config.errors import EXIT_CONFIG as EXIT_CONFIG
from console.config.errors import ConfigError as ConfigError
from console.config.layers import USER_CONFIG_NAME as USER_CONFIG_NAME
from console.config.layers import Overrides as Overrides
from console.config.layers import default_config_path as default_config_path
from console.config.layers import default_state_dir as default_state_dir
from console.config.layers import user_config_path as user_config_path

if TYPE_CHECKING:
    from console.config.loading import load_settings as load_settings
    from console.config.models import Broker as Broker
    from console.config.models import Bus as Bus
    from console.config.models import BusSecurity as BusSecurity
    from console.config.models import Demo as Demo
    from console.config.models import Engine as Engine
    from console.config.models import Execution as Execution
    from console.config.models import Feed as Feed
    from console.config.models import Log as Log
    from console.config.models import Mode as Mode
    from console.config.models import Ports as Ports
    from console.config.models import Risk as Risk
    from console.config.models import Settings as Settings
    from console.config.models import SymbolLimits as SymbolLimits
    from console.config.models import Telemetry as Telemetry
    from console.config.models import Ui as Ui
    from console.config.reload import ConfigWatcher as ConfigWatcher
    from console.config.reload import Reloaded as Reloaded
    from console.config.reload import ReloadRefused as ReloadRefused
    from console.config.reload import loosened_limits as loosened_limits

_HOMES = {
    name: home
    for home, names in {
        "loading": "load_settings",
        "models": "Broker Bus BusSecurity Demo Engine Execution Feed Log Mode Ports Risk Settings "
        "SymbolLimits Telemetry Ui",
        "reload": "ConfigWatcher Reloaded ReloadRefused loosened_limits",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> object:
    """Load the typed half on first use: the face paints before it, and pydantic takes its time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
