"""Requests to an exchange, plain or checked against Alpaca's own description of the answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent


class Api:
    """One key's way to the exchange at `url`."""

    def __init__(self, url: str, key: str = "PKSCHEMA", secret: str = "s") -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret})

    def answer(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.session.request(method, self.url + path, json=body, timeout=30)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The document that a request which must succeed is answered with."""
        answer = self.answer(method, path, body)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def order(self, **fields: Any) -> Any:
        body = {"symbol": "IBM", "qty": "10", "side": "buy", "type": "market"}
        return self.ask("POST", "/v2/orders", {**body, "time_in_force": "day", **fields})


def checker(packed: str) -> Callable[[str, Any], None]:
    """Answers a check of a document against the answer that `packed` describes for a request.

    The request is named by its method and its path as the description has it.
    """
    description = json.loads((HERE / packed).read_text())

    def check(name: str, document: Any) -> None:
        schema = {**description["answers"][name], "components": description["components"]}
        problems = [
            f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(document)
        ]
        assert not problems, f"{name}: {problems}"

    return check


def raw(port: int, request: bytes, limit_s: float = 30.0) -> tuple[int, dict[str, str], Any]:
    """Send bytes as they are; answers status, headers and the body's JSON (or its text)."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit_s) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    try:
        return int(first.split()[1]), headers, json.loads(body)
    except ValueError:
        return int(first.split()[1]), headers, body.decode(errors="replace")
