"""From the layers to `Settings`: every rule checked, the first one broken told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from console.config.errors import ConfigError
from console.config.layers import Layers, Overrides, read_layers
from console.config.models import Mode, Settings
from console.config.schema import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def load_settings(overrides: Overrides | None = None) -> Settings:
    """Read every layer and check it. Raises `ConfigError`."""
    return settings_of(read_layers(overrides or Overrides()))


def settings_of(layers: Layers) -> Settings:
    """The settings that `layers` hold. Raises `ConfigError` for the first rule broken."""
    credentials = layers.credentials
    try:
        settings = Settings.model_validate(
            {
                **layers.tree,
                "mode": Mode(credentials.mode),
                "state_dir": layers.state_dir,
                "config_dir": layers.config_dir,
                "key_id": SecretStr(credentials.key_id),
                "secret_key": SecretStr(credentials.secret_key),
                "sources": tuple(layers.sources),
                "origins": {path: at for path, at in layers.origins.items() if at},
                "warnings": tuple(layers.warnings),
            }
        )
    except ValidationError as error:
        raise _told(error.errors(include_url=False)[0], layers) from None
    _check_folders(settings)
    _check_packages(settings)
    return settings


def _check_folders(settings: Settings) -> None:
    data = settings.demo.data
    if data and not Path(data).expanduser().is_dir():
        raise ConfigError(
            f"demo.data = {shown(data)}",
            "is no folder",
            "name a folder of recorded prices (docs/data.md), or leave it empty for the sample",
            origin=settings.origins.get("demo.data", ""),
        )


def _check_packages(settings: Settings) -> None:
    if not settings.telemetry.enabled:
        return
    from importlib.util import find_spec

    try:
        is_there = find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ImportError:
        is_there = False
    if not is_there:
        raise ConfigError(
            "telemetry.enabled = true",
            "needs packages that are not installed",
            "pip install 'trading-console[otel]', or set it to false",
            origin=settings.origins.get("telemetry.enabled", ""),
        )


def _told(error: ErrorDetails, layers: Layers) -> ConfigError:
    loc = [str(part) for part in error["loc"] if part != "[key]"]
    # An index into a list is no key: the list as a whole is what a person wrote.
    while loc and loc[-1].isdigit():
        loc.pop()
    path = ".".join(loc)
    value = _look_up(layers.tree, loc)
    origin = layers.origins.get(path, "")
    if isinstance(value, dict):
        places = [at for leaf, at in layers.origins.items() if leaf.startswith(f"{path}.") and at]
        origin, name = ", ".join(dict.fromkeys(places)), f"[{path}]"
    else:
        name = f"{path} = {'…' if 'secret' in path else shown(value)}"
    return ConfigError(name, _rule(error), _remedy(error), origin=origin)


def _look_up(tree: Any, loc: list[str]) -> Any:
    for key in loc:
        if not isinstance(tree, dict) or key not in tree:
            return ""
        tree = tree[key]
    return tree


_KINDS = {
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "decimal_type": "a number is wanted",
    "string_type": "text in quotes is wanted",
    "bool_type": "true or false is wanted",
    "finite_number": "a finite number is wanted",
    "string_too_short": "must not be empty",
}


def _rule(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "greater_than":
            return f"must be above {context['gt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "less_than":
            return f"must be below {context['lt']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return f"must look like {context['pattern']}"
        case "value_error":
            return str(context["error"])
        case kind:
            return _KINDS.get(kind, error["msg"])


def _remedy(error: ErrorDetails) -> str:
    rule = str(error.get("ctx", {}).get("error", ""))
    if error["loc"][:1] == ("broker",) and error["type"] == "value_error" and "http" in rule:
        return (
            "only paper accounts and this machine are traded on: "
            "leave it empty or name a loopback address"
        )
    return "change it, or leave it out for the default"
