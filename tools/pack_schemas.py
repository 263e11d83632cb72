"""Packs what the tests need of Alpaca's OpenAPI description: the schemas of the answers, bare.

python tools/pack_schemas.py trading-api.json tests/conformance/trading_schemas.json
python tools/pack_schemas.py market-data-api.json tests/conformance/data_schemas.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SERVED = (
    "/v2/account", "/v2/assets", "/v2/calendar", "/v2/clock", "/v2/orders", "/v2/positions",
    "/v2/watchlists", "/v2/corporate_actions/announcements", "/v2/stocks", "/v1/corporate-actions",
)  # fmt: skip
WORDS = frozenset({"description", "example", "examples", "title", "x-stoplight", "deprecated"})


def bare(node: Any, names: bool = False) -> Any:
    """The schema without prose; `names` says that the keys are names of properties."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: bare(value, key in {"properties", "schemas"})
        for key, value in node.items()
        if names or key not in WORDS
    }


def referenced(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for item in node for name in referenced(item)}
    if not isinstance(node, dict):
        return set()
    found = {name for value in node.values() for name in referenced(value)}
    if isinstance(node.get("$ref"), str):
        found.add(node["$ref"].rsplit("/", 1)[1])
    return found


def main(source: Path, target: Path) -> None:
    document = json.loads(source.read_text())
    answers: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        if not path.startswith(SERVED):
            continue
        for method, operation in methods.items():
            if method == "parameters":
                continue
            for status, response in (operation.get("responses") or {}).items():
                name = response.get("$ref", "").rsplit("/", 1)[-1]
                stated = document["components"]["responses"][name] if name else response
                content = stated.get("content", {}).get("application/json", {})
                if "schema" in content and status.startswith("2"):
                    answers[f"{method.upper()} {path}"] = bare(content["schema"])
    schemas: dict[str, Any] = {}
    wanted = referenced(answers)
    while missing := wanted - schemas.keys():
        for name in missing:
            schemas[name] = bare(document["components"]["schemas"][name])
        wanted |= referenced(schemas)
    packed = {"answers": answers, "components": {"schemas": dict(sorted(schemas.items()))}}
    target.write_text(json.dumps(packed, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
