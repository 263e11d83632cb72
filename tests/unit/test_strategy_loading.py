"""A strategy by its name, its module or its file, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.strategies import Strategy, StrategyError
from console.strategies.loading import find_strategy

MINE = """
from console.strategies import Strategy

class Mine(Strategy):
    pass

class NotOne:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_by_name_module_and_file(file: Path) -> None:
    assert find_strategy("ema_cross").title() == "ema_cross"
    assert find_strategy("console.strategies.opening_range:OpeningRange").title() == "opening_range"
    assert find_strategy(f"{file}:Mine").__name__ == "Mine"
    # The only one of a file needs no name.
    assert issubclass(find_strategy(str(file)), Strategy)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ema_cros", "strategy 'ema_cros' isn't known; did you mean ema_cross?"),
        ("no.such.module:Mine", "there is no module 'no'"),
        ("console.strategies.nothing:Mine", "there is no module 'console.strategies.nothing'"),
        ("console.strategies.ema_cross:Nope", "has no 'Nope'; strategies in it: EmaCross"),
        ("console.strategies.base:Strategy", "is no strategy; derive it"),
        ("{folder}/none.py:Mine", "there is no such file"),
        ("{folder}/mine.py:NotOne", "is no strategy; derive it from console.strategies.Strategy"),
        ("{folder}/mine.py:Nope", "has no 'Nope'; strategies in it: Mine"),
        ("{folder}/two.py", "which class?"),
        ("{folder}/broken.py", "broken.py, line 2: ZeroDivisionError"),
        ("{folder}/syntax.py", "syntax.py, line 1: SyntaxError"),
        ("{folder}/imports.py", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(file: Path, name: str, said: str) -> None:
    folder = file.parent
    (folder / "two.py").write_text(MINE + "\nclass Other(Strategy):\n    pass\n")
    (folder / "broken.py").write_text("x = 1\nx / 0\n")
    (folder / "syntax.py").write_text("def (:\n")
    (folder / "imports.py").write_text("import not_there_at_all\n")
    with pytest.raises(StrategyError) as refused:
        find_strategy(name.format(folder=folder))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2
