"""A strategy by its name: one of ours, `module:Class`, or `path/to/file.py:Class`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, ModuleType

from console.strategies.base import Strategy
from console.strategies.errors import StrategyError

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "bollinger_reversion": "console.strategies.bollinger_reversion:BollingerReversion",
        "ema_cross": "console.strategies.ema_cross:EmaCross",
        "opening_range": "console.strategies.opening_range:OpeningRange",
    }
)
_FORMS = "give a name of `trading-console strategy list`, module:Class or path/to/file.py:Class"


def find_strategy(name: str) -> type[Strategy]:
    """The class that `name` names.

    Raises:
        StrategyError: there is none, or it can't be imported; says what is there.
    """
    place = BUILT_IN.get(name, name)
    head, colon, class_name = place.rpartition(":")
    if not colon:
        head, class_name = place, ""
    if head.endswith(".py"):
        return _class_in(_from_file(Path(head).expanduser()), head, class_name)
    if not colon:
        near = get_close_matches(name, BUILT_IN, n=1)
        question = f"did you mean {near[0]}? " if near else ""
        raise StrategyError(f"strategy {name!r} isn't known; {question}{_FORMS}")
    try:
        module = importlib.import_module(head)
    except ModuleNotFoundError as error:
        if error.name is not None and head.startswith(error.name):
            raise StrategyError(
                f"strategy {name!r}: there is no module {error.name!r} on the path; {_FORMS}"
            ) from None
        raise _broken(head, error) from error
    except Exception as error:
        raise _broken(head, error) from error
    return _class_in(module, head, class_name)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StrategyError(f"strategy file {path}: there is no such file; {_FORMS}")
    spec = importlib.util.spec_from_file_location(f"strategy_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"strategy file {path} can't be read as Python; {_FORMS}")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as an import would: dataclasses and pickling look their module up.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise _broken(str(path), error) from error
    return module


def _broken(where: str, error: Exception) -> StrategyError:
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        line: int | None = error.lineno
    else:
        line = frames[-1].lineno if frames else None
    at = "" if line is None else f", line {line}"
    return StrategyError(f"strategy {where}{at}: {type(error).__name__}: {error}; correct it there")


def _class_in(module: ModuleType, where: str, name: str) -> type[Strategy]:
    found = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Strategy)
        and value is not Strategy
        and value.__module__ == module.__name__
    }
    there = ", ".join(found) or "none"
    if not name:
        if len(found) == 1:
            return next(iter(found.values()))
        raise StrategyError(f"{where}: which class? Write {where}:Class; strategies in it: {there}")
    value = getattr(module, name, None)
    if value is None:
        raise StrategyError(f"{where} has no {name!r}; strategies in it: {there}")
    if not (inspect.isclass(value) and issubclass(value, Strategy) and value is not Strategy):
        raise StrategyError(
            f"{where}:{name} is no strategy; derive it from console.strategies.Strategy"
        )
    return value
