"""Dashboards and alerts ask for what the running system really exposes, by name and by label."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from console.config import Settings
from console.engine.commands import Outcome, SubmitOrder
from console.engine.state import Side
from console.host import Host
from tests.conftest import LIMIT_S, ROOT

BOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = ROOT / "deploy/prometheus/trading-console.rules.yml"
HEALTH = (
    "health", "market_data_health", "execution_engine_health", "risk_manager_health", "exchange",
)  # fmt: skip
_NO_NAMES = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}
_OF_THE_SCRAPE = {"instance", "job", "service"}
"""Labels that Prometheus itself adds, and the metric that it makes."""

Exposed = dict[str, dict[str, set[str]]]
"""By the name of a sample: its labels with their values."""


@pytest.fixture(scope="module")
def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in BOARDS}


@pytest.fixture
async def exposed(
    make_settings: Callable[..., Settings], until_async: Callable[..., Awaitable[Any]]
) -> AsyncIterator[Exposed]:
    """What the whole system exposes after an order that was filled and one that was refused."""
    host = Host(make_settings("demo.speed=60", "demo.partial_fills=false"))
    await host.start()
    try:
        await until_async(lambda: (now := host.engine.view().session) and now.is_open)
        link = host.link()
        order = SubmitOrder(symbol="IBM", side=Side.BUY, qty=Decimal(1))
        ack = await link.request(order, timeout_s=LIMIT_S)
        assert ack.outcome is Outcome.ACCEPTED, ack.message
        large = SubmitOrder(symbol="IBM", side=Side.BUY, qty=Decimal(1_000_000))
        assert (await link.request(large, timeout_s=LIMIT_S)).outcome is Outcome.REFUSED
        await until_async(lambda: host.engine.view().risk is not None, "the risk-manager's word")
        await until_async(lambda: host.engine.view().fills, "the fill")
        found: Exposed = {}
        async with aiohttp.ClientSession() as session:
            for name in HEALTH:

                async def scrape(name: str = name) -> bool:
                    url = f"http://127.0.0.1:{host.ports[name]}/metrics"
                    async with session.get(url) as response:
                        assert response.status == 200, name
                        openly = response.content_type == "application/openmetrics-text"
                        text = await response.text()
                    families = (open_metrics if openly else prometheus_text)(text)
                    for sample in (sample for family in families for sample in family.samples):
                        labels = found.setdefault(sample.name, {})
                        for label, value in sample.labels.items():
                            labels.setdefault(label, set()).add(value)
                    # Its age is told once something came.
                    return name != "market_data_health" or "market_data_newest_age_seconds" in found

                await until_async(scrape, f"all figures of {name}")
        yield found
    finally:
        await host.stop("the test is over")


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def alerts() -> list[str]:
    return re.findall(r"^\s+expr: (.+)$", RULES.read_text(), re.MULTILINE)


def names(expression: str) -> set[str]:
    """The metrics that an expression of PromQL asks for."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w$.])([A-Za-z_:][\w:]*)\b(?!\s*\()", bare)
    return {word for word in words if word not in _NO_NAMES}


def selectors(expression: str) -> Iterator[tuple[str, str, str, str]]:
    """Metric, label, operator and value of each selector."""
    for metric, inside in re.findall(r"([A-Za-z_:][\w:]*)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"", inside):
            yield metric, label, operator, value


def groups(expression: str) -> set[str]:
    found = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
    return {label.strip() for group in found for label in group.split(",")}


def test_the_names_are_found_in_an_expression() -> None:
    """What the others of this file stand on."""
    text = 'histogram_quantile(0.99, sum by (le, instance) (rate(a_bucket{x="b c"}[5m]))) > 0.5'
    assert names(text) == {"a_bucket"}
    assert names('up{job="x"} == 0 and on (instance) b_total > 1e3 * c') == {"up", "b_total", "c"}
    assert list(selectors('a{state="HALTED",instance=~"$instance"} == 1')) == [
        ("a", "state", "=", "HALTED"), ("a", "instance", "=~", "$instance"),
    ]  # fmt: skip
    assert groups(text) == {"le", "instance"}


async def test_every_panel_and_alert_asks_for_what_is_exposed(
    exposed: Exposed, boards: dict[str, dict[str, Any]]
) -> None:
    asked = [
        (f"{name}: {title}", expr, legend)
        for name, board in boards.items()
        for title, expr, legend in queries(board)
    ]
    asked += [("alert", expression, "") for expression in alerts()]
    assert len(asked) > 60
    for where, expression, legend in asked:
        wanted = names(expression)
        assert wanted, f"{where}: {expression} asks for nothing"
        missing = wanted - exposed.keys() - {"up"}
        assert not missing, f"{where}: nobody exposes {missing}"
        labels = {
            label for name in wanted & exposed.keys() for label in exposed[name]
        } | _OF_THE_SCRAPE
        named = groups(expression) | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))
        assert named <= labels, f"{where}: no such labels: {named - labels}"
        for metric, label, operator, value in selectors(expression):
            if label in _OF_THE_SCRAPE:
                continue
            assert label in exposed[metric], f"{where}: {metric} has no label {label}"
            if operator == "=":
                assert value in exposed[metric][label], f"{where}: {label} is never {value}"


async def test_everything_exposed_is_shown(
    exposed: Exposed, boards: dict[str, dict[str, Any]]
) -> None:
    shown = {n for board in boards.values() for _, expr, _ in queries(board) for n in names(expr)}
    shown |= {name for expression in alerts() for name in names(expression)}
    hidden = {
        name
        for name in exposed
        if name not in shown
        and not name.endswith(("_count", "_sum", "_created"))  # of histograms, whose buckets are
    }
    # `up` of Prometheus says the same of the console.
    assert hidden == {"console_up"}, "exposed, and on no dashboard: show it or leave it out"


def test_dashboards_can_be_imported_anywhere(boards: dict[str, dict[str, Any]]) -> None:
    assert set(boards) == {
        "console", "market-data", "execution-engine", "risk-manager", "exchange",
    }  # fmt: skip
    for name, board in boards.items():
        assert board["uid"] == f"trading-console-{name}"
        assert board["id"] is None
        assert board["schemaVersion"] >= 39
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        assert variables["datasource"]["type"] == "datasource"
        assert variables["datasource"]["query"] == "prometheus"
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24, panel["title"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, f"{name}: {panel['title']} lies on another panel"
            taken |= cells
        for panel in panels(board):
            uids = [panel["datasource"]["uid"]] + [t["datasource"]["uid"] for t in panel["targets"]]
            assert set(uids) == {"${datasource}"}, panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs), panel["title"]


def test_every_target_of_prometheus_is_a_port_of_the_settings() -> None:
    from console.config.models import Ports

    scraped = (ROOT / "deploy/prometheus/trading-console.yml").read_text()
    ports = Ports()
    wanted = {str(getattr(ports, name)) for name in HEALTH}
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", scraped)) == wanted
    assert Path(RULES).name in scraped
