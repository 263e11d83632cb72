"""The wheel, installed elsewhere: everything it needs is inside, and it starts from any folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FREE_PORTS, LIMIT_S, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("wheel")]

BUILD_LIMIT_S = 800.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from this tree; the compiled crates are those of the last build."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("maturin")), "build", "--release", "--locked",
            "--quiet", "--out", str(out),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment that holds the wheel; its dependencies are this one's."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=LIMIT_S * 2
    )
    python = home / "bin" / "python"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
            "--no-index", "--disable-pip-version-check", str(wheel),
        ],
        check=True,
        timeout=LIMIT_S * 4,
    )  # fmt: skip
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def run(command: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd="/",
        env=environment | {"HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_wheel_holds_themes_settings_samples_and_stubs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "console/config.toml",
        "console/py.typed",
        "console/themes/dark.toml",
        "console/themes/light.toml",
        "console/sample/NOTICE",
        "console/sample/bars_1min.parquet",
        "console/strategies/ema_cross.py",
        "signal_bridge/__init__.pyi",
        "signal_bridge/py.typed",
    ):
        assert wanted in names, wanted
    assert any(name.startswith("signal_bridge/_native") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "themes/", "rust/"))]


def test_it_is_the_installed_package_that_runs(installed: Path, tmp_path: Path) -> None:
    done = run(
        [str(installed / "python"), "-c", "import console; print(console.__file__)"], tmp_path
    )
    assert done.stdout.startswith(str(installed.parent)), done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["config", "check"],
        ["config", "show"],
        ["doctor"],
        ["strategy", "list"],
        ["backtest", "ema_cross", "--symbols", "AIG"],
    ],
)
def test_commands_start_from_the_root_folder(
    installed: Path, tmp_path: Path, arguments: list[str]
) -> None:
    free = [part for value in FREE_PORTS for part in ("--set", value)]
    if arguments[0] == "doctor":
        arguments = [*arguments, *free]
    done = run([str(installed / "trading-console"), *arguments], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(ROOT / "console") not in done.stdout


def test_headless_trades_on_the_packaged_prices(
    installed: Path, tmp_path: Path, until: Callable[..., Any]
) -> None:
    state = tmp_path / "state"
    free = [part for value in FREE_PORTS for part in ("--set", value)]
    program = str(installed / "trading-console")
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [program, "headless", "--demo", "--state-dir", str(state), *free],
            cwd="/",
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        done = run([program, "status", "--state-dir", str(state), "--format", "json"], tmp_path)
        return done.returncode == 0 and '"ready": true' in done.stdout

    try:
        until(ready)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
